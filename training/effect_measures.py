"""How right predicted effects are: against what was measured in tenths of the users, against a known truth, and as a choice of arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from training.metrics import Interval

Z = 1.96
TENTHS = 10


@dataclass(frozen=True)
class Tenth:
    """Users of one tenth by predicted effect, the highest first: what was predicted on average, and what was measured, 95 %."""

    users: int
    predicted: float
    measured: Interval


def tenths_of(predicted: np.ndarray, effects: np.ndarray) -> list[Tenth]:
    """From predicted and doubly robust effects of held-out rows, `(rows,)` each (see `effect_calibration.robust_effects`)."""
    found = []
    for rows in np.array_split(np.argsort(-predicted, kind="stable"), TENTHS):
        if len(rows) > 1:
            mean, error = float(effects[rows].mean()), float(effects[rows].std(ddof=1) / np.sqrt(len(rows)))
            found.append(Tenth(len(rows), float(predicted[rows].mean()), {"mean": mean, "low": mean - Z * error, "high": mean + Z * error}))
    return found


def effect_error(tenths: list[Tenth]) -> dict[str, float]:
    """`effect_error`, the mean gap between predicted and measured effects over the tenths, and `effect_error_by_chance`, the gap that the
    measurement's own noise makes on average where every prediction is right (`sqrt(2 / pi)` standard errors)."""
    gaps = [abs(one.predicted - one.measured["mean"]) for one in tenths]
    errors = [(one.measured["high"] - one.measured["low"]) / (2 * Z) for one in tenths]
    return {"effect_error": float(np.mean(gaps)), "effect_error_by_chance": float(np.sqrt(2 / np.pi) * np.mean(errors))}


def recovery(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Of effects whose truth is known, `(rows,)` each: rank correlation, `pehe` (root mean squared error; Hill 2011, Bayesian nonparametric
    modeling for causal inference), and `pehe_of_average`, that of the true average effect for everybody."""
    ranks, own = rankdata(predicted), rankdata(truth)
    spread = ranks.std() * own.std()
    return {
        "rank correlation": float(((ranks - ranks.mean()) * (own - own.mean())).mean() / spread) if spread else float("nan"),
        "pehe": float(np.sqrt(np.mean((predicted - truth) ** 2))),
        "pehe_of_average": float(truth.std()),
    }


def policy_value(
    chosen: np.ndarray, arm: np.ndarray, chances: np.ndarray, outcome: np.ndarray, expected: np.ndarray | None = None
) -> Interval:
    """Mean outcome if every row got its `chosen` arm, from rows that got `arm` with `chances` `(rows, arms)`; 95 % by the rows' spread.

    By inverse propensities, normalised; with `expected` `(rows, arms)` of a model that never saw the rows, doubly robust (Dudik, Langford
    and Li 2011). Rows whose chosen arm had no chance are left out.
    """
    rows = np.arange(len(arm))
    chance = chances[rows, chosen]
    asked = chance > 0
    weight = np.where(asked & (chosen == arm), 1.0 / np.where(asked, chance, 1.0), 0.0)[asked]
    if expected is None:
        mean = float((weight * outcome[asked]).sum() / weight.sum()) if weight.sum() else float("nan")
        error = float(np.sqrt(np.square(weight * (outcome[asked] - mean)).sum()) / weight.sum()) if weight.sum() else float("nan")
    else:
        said = expected[rows, chosen][asked]
        values = said + weight * (outcome[asked] - said)
        mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    return {"mean": mean, "low": mean - Z * error, "high": mean + Z * error}
