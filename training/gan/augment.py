"""Rows of a rare class beside the real ones: what they are worth on rows that nobody learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from training.gan.synthesis import Synthesis
from training.gan.utility import predicted
from training.metrics import Interval, interval

DRAWS = 3  # tables that the lift is averaged over: one table may be lucky


def rare_value(values: pd.Series) -> object:
    """The value that fewest rows have."""
    return values.value_counts().index[-1]


def lift(
    learn: pd.DataFrame,
    held: pd.DataFrame,
    target: str,
    synthesis: Synthesis,
    choice: dict[str, Any],
    seed: int,
    samples: int = 300,
) -> dict[str, Interval]:
    """What as many drawn rows of the rarest class as there are real ones add on `held`, beside learning from `learn` alone.

    `average_precision` and `auc` of that class, `alone`, `augmented`, and their difference, `lift`, paired over the same resampled rows and
    averaged over `DRAWS` tables. `held` are real rows that neither the generator nor the model saw.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    rare = rare_value(learn[target])
    is_rare = (held[target] == rare).to_numpy()
    rows = int((learn[target] == rare).sum())

    def chances(table: pd.DataFrame) -> np.ndarray:
        found, classes = predicted(table, held, target, choice, seed)
        return found[:, list(classes).index(rare)]

    alone = chances(learn)
    tables = [synthesis.draw(rows, seed + draw, {target: rare}).table for draw in range(DRAWS)]
    augmented = [chances(pd.concat([learn, table], ignore_index=True)) for table in tables]
    random = np.random.default_rng(seed)
    resamples = [np.arange(len(held)), *(random.integers(0, len(held), len(held)) for _ in range(samples))]
    resamples = [chosen for chosen in resamples if 0 < is_rare[chosen].sum() < len(chosen)]
    found: dict[str, Interval] = {}
    for name, figure in (("average_precision", average_precision_score), ("auc", roc_auc_score)):
        before = np.array([figure(is_rare[chosen], alone[chosen]) for chosen in resamples])
        after = np.array([np.mean([figure(is_rare[chosen], one[chosen]) for one in augmented]) for chosen in resamples])
        found[f"{name}_alone"] = interval(float(before[0]), before[1:])
        found[f"{name}_augmented"] = interval(float(after[0]), after[1:])
        found[f"{name}_lift"] = interval(float(after[0] - before[0]), after[1:] - before[1:])
    return found
