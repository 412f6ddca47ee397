"""How a credit model did on applications it never saw: order, calibration, fairness by trait, and how stable its reasons are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from training import metrics
from training.credit_columns import CreditColumns
from training.credit_explain import LogOdds, attributions, directions, reasons

#: A value of a trait with fewer rows is not compared: its rates are noise.
LEAST_ROWS = 30
BANDS = 3  # of a trait that is a number, at its quantiles
SURE = 1.96  # standard errors of a 95 % range


def figures(truth: np.ndarray, chances: np.ndarray) -> dict[str, float]:
    """`auc`, `ece` (10 bins of equal count), `brier`, `logloss` of the probability of default."""
    return {
        "auc": metrics.auc(truth > 0, chances),
        "ece": metrics.ece(truth > 0, chances),
        "brier": float(np.mean((chances - truth) ** 2)),
        "logloss": float(np.mean(metrics.row_logloss(truth.astype(int), np.column_stack([1 - chances, chances])))),
    }


def calibrated_ece(chances: np.ndarray, seed: int, samples: int = 200) -> dict[str, float]:
    """What the ECE of these probabilities is when every one of them is exactly right: mean and 95 % range over drawn outcomes."""
    draw = np.random.default_rng(seed)
    drawn = np.array([metrics.ece(draw.random(len(chances)) < chances, chances) for _ in range(samples)])
    return metrics.interval(float(drawn.mean()), drawn)


def traits_of(frame: pd.DataFrame, names: list[str]) -> dict[str, np.ndarray]:
    """Each of the columns `names` as words, `(rows,)` str objects: a number by its band, '' where unknown."""
    found = {}
    for name in (name for name in names if name in frame):
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column) and column.nunique() > BANDS:
            edges = np.unique(np.nanquantile(column.to_numpy(float), np.linspace(0, 1, BANDS + 1)[1:-1]))
            band = np.digitize(column.to_numpy(float), edges)
            names_of = [f"under {edges[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(edges)), f"from {edges[-1]:g}"]
            found[name] = np.where(column.isna(), "", np.array(names_of, object)[band])
        else:
            found[name] = column.fillna("").astype(str).to_numpy(object)
    return found


def fairness(traits: Mapping[str, np.ndarray], truth: np.ndarray, chances: np.ndarray, approve_below: float) -> list[dict[str, Any]]:
    """One row a value of a trait with LEAST_ROWS rows or more, against all other rows.

    `approved_of_good` is the true-positive rate: the share of those who paid back that would be approved (equal opportunity, Hardt et al.
    2016). `approved_gap` is it less that of the others, `calibration_gap` predicted less seen defaults; each with its 95 % range.
    """
    is_good, is_approved, found = truth == 0, chances < approve_below, []
    for trait, values in traits.items():
        for value in sorted(set(values) - {""}):
            own, others = values == value, (values != value) & (values != "")
            if min(own.sum(), others.sum(), (own & is_good).sum(), (others & is_good).sum()) < LEAST_ROWS:
                continue
            rate, count = float(is_approved[own & is_good].mean()), int((own & is_good).sum())
            rest, rest_count = float(is_approved[others & is_good].mean()), int((others & is_good).sum())
            gap, width = rate - rest, SURE * float(np.sqrt(_variance(rate, count) + _variance(rest, rest_count)))
            off = float(chances[own].mean() - truth[own].mean())
            off_width = SURE * float(np.sqrt((chances[own] * (1 - chances[own])).sum())) / int(own.sum())
            found.append(
                {
                    "trait": trait,
                    "value": value,
                    "rows": int(own.sum()),
                    "approved": float(is_approved[own].mean()),
                    "approved_of_good": rate,
                    "approved_gap": {"mean": gap, "low": gap - width, "high": gap + width},
                    "predicted": float(chances[own].mean()),
                    "seen": float(truth[own].mean()),
                    "calibration_gap": {"mean": off, "low": off - off_width, "high": off + off_width},
                }
            )
    return found


def unmeasured(traits: Mapping[str, np.ndarray], truth: np.ndarray, protected: Sequence[str]) -> str:
    """Why `fairness` has no row, in a sentence, whatever the probabilities are; '' where it has one."""
    if fairness(traits, truth, np.zeros(len(truth)), 1.0):
        return ""
    if known := [name for name, values in traits.items() if (values != "").any()]:
        return f"Fairness not measured: by {', '.join(known)} no two groups have {LEAST_ROWS} applicants who paid back."
    return f"Fairness not measured: neither applications nor declared traits tell a protected column ({', '.join(protected)})."


def surely(gap: metrics.Interval) -> float:
    """The least size of a gap that its range leaves possible; 0 where the range holds 0."""
    return max(0.0, gap["low"], -gap["high"])


def reason_stability(
    inputs: dict[str, np.ndarray],
    reference: dict[str, np.ndarray],
    columns: CreditColumns,
    log_odds: LogOdds,
    least: float,
    seed: int,
    spread: float = 0.01,
) -> dict[str, float]:
    """Shares of rows whose reasons stay when every number but codes moves by `spread` of its size (normal noise, 1 % where not told).

    `first`: the strongest reason is the same; `set`: all reasons are the same, whatever their order; `direction`: of the reasons told both
    times, all lie on the same side of the good payer's; `same_input`: asked twice.
    """
    draw = np.random.default_rng(seed)
    numbers = inputs["numbers"]
    shaken = numbers * (1 + spread * draw.standard_normal(numbers.shape)).astype(np.float32)
    with np.errstate(invalid="ignore"):
        is_code = np.all((numbers == np.round(numbers)) & (np.abs(numbers) < 25) | ~np.isfinite(numbers), axis=0)
    moved = {"numbers": np.where(is_code, numbers, shaken).astype(np.float32), "words": inputs["words"]}
    before, again, after = (reasons(attributions(given, reference, columns, log_odds), least) for given in (inputs, inputs, moved))
    side, moved_side = directions(inputs, reference, columns), directions(moved, reference, columns)
    kept = [all(a[group] == b[group] for group in set(x) & set(y)) for a, b, x, y in zip(side, moved_side, before, after, strict=True)]
    return {
        "same_input": float(np.mean([a == b for a, b in zip(before, again, strict=True)])),
        "first": float(np.mean([a[:1] == b[:1] for a, b in zip(before, after, strict=True)])),
        "set": float(np.mean([set(a) == set(b) for a, b in zip(before, after, strict=True)])),
        "direction": float(np.mean(kept)),
    }


def _variance(rate: float, count: int) -> float:
    """Of a share, Laplace-smoothed, so that a rate of 0 or 1 is not taken for certain."""
    smooth = (rate * count + 1) / (count + 2)
    return smooth * (1 - smooth) / count
