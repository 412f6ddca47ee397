"""How steady segments are: who moved to another one since an earlier time, and who moved although nothing about them had changed."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from feature_repo.contract import mart
from serving.errors import NotServed
from serving.segment_members import Kind, People, labels, people
from serving.segment_rules import FEATURES


@dataclass(frozen=True)
class Churn:
    """Of the `users` told at both times: the share that `moved`; of the `unchanged`, whose numbers are all the same, the share that moved
    all the same; and the adjusted Rand index of the two divisions (Hubert and Arabie 1985)."""

    since: datetime
    users: int
    moved: float
    unchanged: int
    unchanged_moved: float | None
    agreement: float


def churn_between(kind: Kind, now: People, since: datetime) -> Churn | None:
    """Between `since` and now; None for rules, which are what they say, and where nobody was told then."""
    if kind == "rules":
        return None
    try:
        then = people(since)
        before, after = labels(kind, then), labels(kind, now)
    except NotServed:
        return None
    both = before.index.intersection(after.index)
    if both.empty:
        return None
    numbers = [column.name for column in mart(FEATURES).features if column.kind in ("int", "float")]
    old, new = (one.features.reindex(both)[numbers].astype(float) for one in (then, now))
    is_unchanged = ((old == new) | (old.isna() & new.isna())).all(axis=1).to_numpy()
    has_moved = (before[both] != after[both]).to_numpy()
    return Churn(
        since,
        len(both),
        float(has_moved.mean()),
        int(is_unchanged.sum()),
        float(has_moved[is_unchanged].mean()) if is_unchanged.any() else None,
        adjusted_rand(before[both], after[both]),
    )


def adjusted_rand(before: pd.Series, after: pd.Series) -> float:
    """1 where two divisions of the same users are the same, about 0 where they have nothing to do with each other."""
    counts = pd.crosstab(before.to_numpy(), after.to_numpy()).to_numpy()

    def pairs(of: np.ndarray) -> float:
        return float((of * (of - 1.0) / 2).sum())

    joint, rows, columns, everyone = (pairs(one) for one in (counts, counts.sum(1), counts.sum(0), np.array([counts.sum()])))
    expected = rows * columns / everyone if everyone else 0.0
    return (joint - expected) / ((rows + columns) / 2 - expected) if rows + columns > 2 * expected else 1.0
