"""Whether a synthetic table gives away the rows it was learned from, measured against real rows that it never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.gan.features import TableFeatures, as_text
from training.gan.synthesis import copies, rare_rows, row_keys
from training.metrics import Interval, auc, interval

#: What a table may lose: an attack that surely tells who was learned from by more than MARGIN above a coin's .5 is a leak, and one that may
#: reach HIGHEST, by the upper end of its interval, is not known to be none. With fewer unseen rows no interval is believed.
MARGIN, HIGHEST = 0.02, 0.55
LEAST_UNSEEN = 200
MOST_ROWS = 6000


@dataclass(frozen=True)
class Metric:
    """Distances of mixed rows: a differing category is 1 apart, numbers by how far their ranks are, 0 to 1; Euclid over the columns."""

    features: TableFeatures
    sorted_values: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, real: pd.DataFrame) -> Metric:
        features = TableFeatures.of(real)
        return cls(features, tuple(np.sort(real[name].dropna().to_numpy(np.float64)) for name in features.numbers))

    def vectors(self, table: pd.DataFrame) -> np.ndarray:
        """`(rows, width)` float32 whose Euclidean distances are the metric's."""
        parts: list[np.ndarray] = []
        for name, values in zip(self.features.numbers, self.sorted_values, strict=True):
            numbers = table[name].to_numpy(np.float64, na_value=np.nan)
            rank = (np.searchsorted(values, numbers, "left") + np.searchsorted(values, numbers, "right")) / 2 / max(len(values), 1)
            missing = np.isnan(numbers)
            parts.append(np.column_stack([np.where(missing, 0.5, rank), missing]))
        for name, codes in self.features.categories.items():
            code = as_text(table[name]).map(codes).fillna(len(codes)).to_numpy(np.int64)
            parts.append(np.eye(len(codes) + 1, dtype=np.float32)[code] / np.sqrt(2))
        return np.concatenate(parts, axis=1).astype(np.float32)


def nearest(rows: np.ndarray, others: np.ndarray, block: int = 500) -> np.ndarray:
    """The distance of each of `rows` to the nearest of `others`, `(rows,)`."""
    squares = (others**2).sum(1)
    found = []
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        found.append((squares - 2 * part @ others.T).min(1) + (part**2).sum(1))
    return np.sqrt(np.maximum(np.concatenate(found), 0))


def privacy(learned: pd.DataFrame, unseen: pd.DataFrame, made: pd.DataFrame, seed: int, samples: int = 300) -> dict[str, object]:
    """How near `made` comes to the rows `learned` from, beside the same for real rows `unseen`.

    `closer_to_learned`: share of made rows nearer to a learned row than to any of as many unseen ones; .5 where nothing leaks.
    `distance_5%` of made rows to learned ones, and of unseen rows to them (`..._of_real`). `membership_auc`: an attack that takes rows near
    to a made row for learned ones. `copies` of rows that fewer than five people share; `all_copies` of any row.
    """
    random = np.random.default_rng(seed)
    size = min(len(learned), len(unseen), MOST_ROWS)
    metric = Metric.of(learned)
    members = metric.vectors(learned.iloc[random.choice(len(learned), min(len(learned), MOST_ROWS), replace=False)])
    others = metric.vectors(unseen.iloc[random.choice(len(unseen), size, replace=False)])
    shown = metric.vectors(made.iloc[random.choice(len(made), min(len(made), MOST_ROWS), replace=False)])
    whole = metric.vectors(learned)
    to_learned, to_unseen = nearest(shown, members[:size]), nearest(shown, others)
    closer = (to_learned < to_unseen) + (to_learned == to_unseen) / 2
    made_all = metric.vectors(made.iloc[: 4 * MOST_ROWS])
    hidden = np.concatenate([nearest(members, made_all), nearest(others, made_all)])
    is_member = np.arange(len(hidden)) < len(members)
    made_near, real_near = nearest(shown, whole), nearest(others, whole)

    def again(rows: int, figure: object) -> np.ndarray:
        return np.array([figure(random.integers(0, rows, rows)) for _ in range(samples)])  # type: ignore[operator]

    def attack(rows: np.ndarray) -> float:
        return auc(is_member[rows], -hidden[rows])

    gap = np.quantile(made_near, 0.05) - np.quantile(real_near, 0.05)
    gaps = again(size, lambda rows: np.quantile(made_near[rows % len(made_near)], 0.05) - np.quantile(real_near[rows], 0.05))
    return {
        "closer_to_learned": interval(float(closer.mean()), again(len(closer), lambda rows: closer[rows].mean())),
        "membership_auc": interval(attack(np.arange(len(hidden))), again(len(hidden), attack)),
        "distance_5%": float(np.quantile(made_near, 0.05)),
        "distance_5%_of_real": float(np.quantile(real_near, 0.05)),
        "distance_5%_above_real": interval(float(gap), gaps),
        "distance_median": float(np.median(made_near)),
        "distance_median_of_real": float(np.median(real_near)),
        "copies": int(copies(made, rare_rows(learned)).sum()),
        "all_copies": int(copies(made, frozenset(row_keys(learned))).sum()),
        "rows": size,
    }


def leaks(found: dict[str, object]) -> list[str]:
    """Why the table must not be shared, in words; empty where it may be. What is not known to be no leak counts as one."""
    closer: Interval = found["closer_to_learned"]  # type: ignore[assignment]
    attacked: Interval = found["membership_auc"]  # type: ignore[assignment]
    gap: Interval = found["distance_5%_above_real"]  # type: ignore[assignment]
    rows: int = found["rows"]  # type: ignore[assignment]
    said = []
    if found["copies"]:
        said.append(f"{found['copies']} rows are copies of rows that fewer than five people share")
    if closer["low"] > 0.5 + MARGIN:
        said.append(f"{closer['mean']:.3f} of its rows are nearer to a row it learned from than to a row it never saw; .5 is no leak")
    if attacked["low"] > 0.5 + MARGIN:
        said.append(f"an attack tells who was learned from with AUC {attacked['mean']:.3f}; .5 is no leak")
    if gap["high"] < 0:
        said.append("its nearest rows lie nearer to the rows it learned from than other real rows do")
    if rows < LEAST_UNSEEN:
        said.append(f"not enough to tell: {rows} rows were never seen, {LEAST_UNSEEN} are needed")
    unsure = {"the share of rows nearer to a row it learned from": closer, "the AUC of an attack that tells who was learned from": attacked}
    for name, one in unsure.items():
        if not one["low"] > 0.5 + MARGIN and not one["high"] < HIGHEST:
            said.append(f"not enough to tell: {name} may be {one['high']:.3f}, and must be below {HIGHEST} with its whole interval")
    return said
