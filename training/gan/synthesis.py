"""From a generator's draws to a table that may be handed on: likelier rows kept, copies of people dropped, the target drawn anew.

Both steps after the generator can be left out, and the report shows what each of them adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from training.gan.columns import FEWEST_ROWS, as_written
from training.gan.features import TableFeatures, boosted
from training.gan.fit import TrainedGan

#: Rows are drawn in so many rounds at most; where copies leave too few, there is no such table.
ROUNDS = 60
#: Weights above this quantile count as it: a row is kept with its weight over this one.
HIGHEST_WEIGHT = 0.9


class CannotDraw(RuntimeError):
    """Too many draws were copies of real rows."""


@dataclass(frozen=True)
class Judge:
    """Tells real rows from drawn ones, to keep drawn rows as often as they are real (rejection sampling, Azadi et al. 2019)."""

    features: TableFeatures
    model: Any
    limit: float

    def kept(self, table: pd.DataFrame, random: np.random.Generator) -> np.ndarray:
        """Whether each drawn row is kept, `(rows,)`."""
        return random.random(len(table)) < _odds(self.model, self.features.matrix(table)) / self.limit


def fit_judge(real: pd.DataFrame, drawn: pd.DataFrame, seed: int) -> Judge:
    """Boosted trees, stopped early on a tenth and of large leaves, so that they learn regions and not people."""
    features = TableFeatures.of(real)
    rows, is_real = pd.concat([real, drawn], ignore_index=True), np.arange(len(real) + len(drawn)) < len(real)
    model = boosted(
        features, seed, max_iter=200, learning_rate=0.1, max_leaf_nodes=31, min_samples_leaf=40, l2_regularization=1.0, early_stopping=True
    )
    model.fit(features.matrix(rows), is_real)
    return Judge(features, model, float(np.quantile(_odds(model, features.matrix(drawn)), HIGHEST_WEIGHT)))


def _odds(model: Any, matrix: np.ndarray) -> np.ndarray:
    chance = np.clip(model.predict_proba(matrix)[:, 1], 1e-6, 1 - 1e-6)
    return chance / (1 - chance)


@dataclass(frozen=True)
class Head:
    """The target given the other columns, an auxiliary classifier fitted on the real rows: values are drawn, not the likeliest taken."""

    features: TableFeatures
    model: Any
    target: str

    def drawn(self, table: pd.DataFrame, random: np.random.Generator) -> pd.Series:
        chances = self.model.predict_proba(self.features.matrix(table))
        places = (random.random((len(table), 1)) > np.cumsum(chances, axis=1)[:, :-1]).sum(1)
        return pd.Series(self.model.classes_[places], index=table.index, name=self.target)


def fit_head(real: pd.DataFrame, target: str, seed: int) -> Head:
    """Boosted trees, stopped early on a tenth of the rows."""
    features = TableFeatures.of(real, target)
    model = boosted(features, seed, max_iter=400, learning_rate=0.05, max_leaf_nodes=15, min_samples_leaf=40, early_stopping=True)
    return Head(features, model.fit(features.matrix(real), real[target]), target)


@dataclass(frozen=True)
class Synthesis:
    """A generator with what stands behind it. `judge` and `head` are None where they are left out."""

    gan: TrainedGan
    copied: frozenset[tuple[object, ...]]  # rows that fewer than FEWEST_ROWS people share
    judge: Judge | None = None
    head: Head | None = None

    def draw(self, rows: int, seed: int, where: dict[str, object] | None = None) -> Drawn:
        """`rows` rows by `seed` alone; `where` keeps only rows with these values. Raises CannotDraw where there are too few."""
        random = np.random.default_rng(seed)
        found: list[pd.DataFrame] = []
        have, counts = 0, {"drawn": 0, "copies_dropped": 0}
        for round_ in range(ROUNDS):
            table = self.gan.sample_table(max(2000, 2 * (rows - have)), seed * ROUNDS + round_)
            counts["drawn"] += len(table)
            if self.judge:
                table = table[self.judge.kept(table, random)]
            if self.head:
                table = table.assign(**{self.head.target: self.head.drawn(table, random)})
            for name, value in (where or {}).items():
                table = table[table[name] == value]
            is_copy = copies(table, self.copied)
            counts["copies_dropped"] += int(is_copy.sum())
            found.append(table[~is_copy])
            have += len(found[-1])
            if have >= rows:
                return Drawn(pd.concat(found, ignore_index=True).iloc[:rows], counts)
        raise CannotDraw(
            f"A table of {rows} rows was asked for. {counts['drawn']} draws gave {have}, {counts['copies_dropped']} were copies of real "
            "rows. "
            "Ask for fewer, or train on more rows."
        )


@dataclass(frozen=True)
class Drawn:
    """A synthetic table, and how many draws and dropped copies it took."""

    table: pd.DataFrame
    counts: dict[str, int] = field(default_factory=dict)


def synthesis_of(
    gan: TrainedGan, real: pd.DataFrame, seed: int, target: str | None = None, *, judged: bool = True, headed: bool = True
) -> Synthesis:
    """What stands behind `gan`, fitted on the `real` rows that it learned from."""
    real = as_written(real)
    copied = rare_rows(real)
    judge = fit_judge(real, gan.sample_table(len(real), seed + 1), seed) if judged else None
    return Synthesis(gan, copied, judge, fit_head(real, target, seed) if target and headed else None)


def rare_rows(real: pd.DataFrame) -> frozenset[tuple[object, ...]]:
    """The real rows that fewer than `FEWEST_ROWS` people share: a copy of one points at somebody, a copy of another does not."""
    keys = row_keys(real)
    counts: dict[tuple[object, ...], int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return frozenset(key for key, count in counts.items() if count < FEWEST_ROWS)


def copies(table: pd.DataFrame, rows: frozenset[tuple[object, ...]]) -> np.ndarray:
    """Whether each row of `table` is one of `rows`, `(rows,)`."""
    return np.fromiter((key in rows for key in row_keys(table)), bool, len(table))


def row_keys(table: pd.DataFrame) -> Sequence[tuple[object, ...]]:
    """Rows as tuples: equal where all values are, whatever their type was."""
    columns = []
    for name in table.columns:
        values = table[name]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            numbers = values.to_numpy(np.float64, na_value=np.nan)
            columns.append([None if np.isnan(number) else number for number in numbers.tolist()])
        else:
            columns.append(values.astype(object).where(values.notna(), None).tolist())
    return list(zip(*columns, strict=True))
