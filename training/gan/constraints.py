"""Rules between columns that every real row keeps, so that every written row keeps them too: by construction, never by luck.

A table is *reduced* before it is learned: what a rule gives is taken out, and put back into the rows that are drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from training.gan.columns import FEWEST_ROWS

#: Values of a column that a dependency is looked for in; an id determines everything and means nothing.
MOST_DETERMINING = 200


class Constraint(Protocol):
    """A rule: `reduce` takes out of a table what the rule gives, `restore` puts it back, `broken` counts the rows that break it."""

    def reduce(self, table: pd.DataFrame) -> pd.DataFrame: ...

    def restore(self, table: pd.DataFrame) -> pd.DataFrame: ...

    def broken(self, table: pd.DataFrame) -> int: ...

    def words(self) -> str: ...


@dataclass(frozen=True)
class Dependency:
    """`determined` has one value for each value of `by`, as a level of education has one number; `pairs` are those of the real rows."""

    by: str
    determined: str
    pairs: dict[object, object]

    def reduce(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.drop(columns=self.determined)

    def restore(self, table: pd.DataFrame) -> pd.DataFrame:
        values = [self.pairs.get(_key(value)) for value in table[self.by].tolist()]
        found = pd.Series(values, index=table.index, name=self.determined)
        return table.assign(**{self.determined: found})

    def broken(self, table: pd.DataFrame) -> int:
        wanted = [self.pairs.get(_key(value)) for value in table[self.by].tolist()]
        return sum(_key(is_) != _key(should) for is_, should in zip(table[self.determined].tolist(), wanted, strict=True))

    def words(self) -> str:
        return f"{self.determined} follows from {self.by}"


@dataclass(frozen=True)
class Total:
    """`total` is the sum of `parts`, to half a unit of its last digit."""

    total: str
    parts: tuple[str, ...]

    def reduce(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.drop(columns=self.total)

    def restore(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(**{self.total: table[list(self.parts)].sum(axis=1, skipna=False)})

    def broken(self, table: pd.DataFrame) -> int:
        added = table[list(self.parts)].sum(axis=1, skipna=False)
        known = added.notna() & table[self.total].notna()
        return int((~np.isclose(added[known], table[self.total][known], rtol=1e-9, atol=1e-6)).sum())

    def words(self) -> str:
        return f"{self.total} = {' + '.join(self.parts)}"


@dataclass(frozen=True)
class Ordering:
    """`low` is never above `high` where both are known: `high` is learned as the gap between them, never below 0."""

    low: str
    high: str

    def reduce(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(**{self.high: table[self.high] - table[self.low]})

    def restore(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(**{self.high: table[self.low] + table[self.high].clip(lower=0)})

    def broken(self, table: pd.DataFrame) -> int:
        return int((table[self.low] > table[self.high]).sum())

    def words(self) -> str:
        return f"{self.low} <= {self.high}"


class BrokenConstraint(ValueError):
    """A rule was declared that the real rows break."""

    exit_code = 2


def dependencies(table: pd.DataFrame, keep: Sequence[str] = ()) -> list[Dependency]:
    """Every column that another one determines, in all rows; a column of `keep` is never taken out.

    Both have more than one value and every value of `by` stands in `FEWEST_ROWS` rows on average: less is chance, or an id.
    """
    codes = {name: pd.factorize(table[name], use_na_sentinel=False)[0] for name in table.columns}
    sizes = {name: int(code.max(initial=-1)) + 1 for name, code in codes.items()}
    usable = [name for name, size in sizes.items() if 1 < size <= min(MOST_DETERMINING, len(table) // FEWEST_ROWS)]
    found: list[Dependency] = []
    gone: set[str] = set()
    for by, determined in itertools.permutations(usable, 2):
        if by in gone or determined in gone or determined in keep or sizes[by] < sizes[determined]:
            continue
        pairs = len(np.unique(codes[by].astype(np.int64) * sizes[determined] + codes[determined]))
        if pairs == sizes[by] and not _is_chance(codes[by], codes[determined]):
            first = table.drop_duplicates(by)
            mapped = {_key(one): other for one, other in zip(first[by].tolist(), first[determined].tolist(), strict=True)}
            found.append(Dependency(by, determined, mapped))
            gone.add(determined)
    return found


def _is_chance(by: np.ndarray, determined: np.ndarray) -> bool:
    """Whether all but a handful of rows have one value of `determined`: nothing follows from anything there."""
    counts = np.bincount(determined)
    return bool(counts.sum() - counts.max() < FEWEST_ROWS * 4)


def check(constraints: Sequence[Constraint], table: pd.DataFrame) -> None:
    """Raises BrokenConstraint where a real row breaks a rule: no table can keep a rule that its model breaks."""
    for constraint in constraints:
        if broken := constraint.broken(table):
            raise BrokenConstraint(
                f"A constraint must hold in every real row. `{constraint.words()}` is broken by {broken} of {len(table)}. "
                "Clean these rows, or leave the constraint out."
            )


def _key(value: object) -> object:
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value  # type: ignore[call-overload]
