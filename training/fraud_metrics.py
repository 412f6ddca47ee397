"""What a review team would get: precision at its daily capacity, money, and how soon a ring or a stolen account is found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.fraud_costs import VERDICTS, FraudCosts
from training.metrics import Interval, interval, resample


def average_precision(is_fraud: np.ndarray, score: np.ndarray) -> float:
    """The area under precision over recall, without interpolation; NaN without a fraud."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(is_fraud, score)) if is_fraud.any() else float("nan")


def reviewed(day: np.ndarray, score: np.ndarray, capacity: int) -> np.ndarray:
    """Whether each order is among the `capacity` of its day with the highest score, `(rows,)`; of equals those that stand first."""
    order = np.lexsort((np.arange(len(score)), -score, day))
    _, first = np.unique(day[order], return_index=True)
    rank = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
    is_reviewed = np.zeros(len(score), bool)
    is_reviewed[order] = rank < capacity
    return is_reviewed


def at_capacity(day: np.ndarray, score: np.ndarray, is_fraud: np.ndarray, capacity: int, seed: int) -> dict[str, Interval]:
    """Means over days, days resampled: `precision at capacity` (frauds of the reviews), and `recall at capacity` (of all frauds, those
    reviewed); `best precision` is what knowing every fraud would give."""
    looked = reviewed(day, score, capacity)
    days, of_day = np.unique(day, return_inverse=True)
    reviews, found, frauds = (np.bincount(of_day, rows, len(days)) for rows in (looked, looked & is_fraud, is_fraud))
    best = np.minimum(frauds, capacity) / np.maximum(reviews, 1)

    def figures(rows: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.array([np.mean(found[rows] / reviews[rows]), found[rows].sum() / frauds[rows].sum(), best[rows].mean()])

    values, drawn = resample(figures, len(days), seed, samples=500)
    names = ("precision at capacity", "recall at capacity", "best precision")
    return {name: interval(value, drawn[:, place]) for place, (name, value) in enumerate(zip(names, values, strict=True))}


def cost_of(verdicts: Sequence[str], is_fraud: np.ndarray, amount: np.ndarray, costs: FraudCosts) -> float:
    """What these verdicts cost a hundred orders, by what the orders turned out to be."""
    spent = [costs.of(float(fraud), float(money))[verdict] for verdict, fraud, money in zip(verdicts, is_fraud, amount, strict=True)]
    return 100 * float(np.mean(spent)) if spent else float("nan")


def money(probability: np.ndarray, is_fraud: np.ndarray, amount: np.ndarray, costs: FraudCosts) -> dict[str, float]:
    """Costs of a hundred orders: by the verdicts of least expected cost, and where everything is approved; shares of each verdict."""
    verdicts = [costs.verdict(float(chance), float(total)) for chance, total in zip(probability, amount, strict=True)]
    shares = {f"share {name}": verdicts.count(name) / max(len(verdicts), 1) for name in VERDICTS}
    own, nothing = cost_of(verdicts, is_fraud, amount, costs), cost_of(["approve"] * len(verdicts), is_fraud, amount, costs)
    return {"cost a hundred orders": own, "cost with no check": nothing, **shares}


def detection_delay(group: np.ndarray, at_us: np.ndarray, is_fraud: np.ndarray, is_flagged: np.ndarray) -> dict[str, float]:
    """Of the groups (a ring, an account) with a fraudulent order: the share with a flagged one, the median hours from the first fraudulent
    order to the first flagged one, and how many fraudulent orders went through before it (all, where none is flagged), on average."""
    hours, missed, frauds = [], [], np.flatnonzero(is_fraud)
    for name in np.unique(group[frauds]):
        own = frauds[group[frauds] == name]
        own = own[np.argsort(at_us[own], kind="stable")]
        flagged = np.flatnonzero(is_flagged[own])
        missed.append(int(flagged[0]) if len(flagged) else len(own))
        if len(flagged):
            hours.append((at_us[own[flagged[0]]] - at_us[own[0]]) / 3_600_000_000)
    return {
        "groups": float(len(missed)),
        "groups found": len(hours) / len(missed) if missed else float("nan"),
        "median hours to the first flag": float(np.median(hours)) if hours else float("nan"),
        "frauds before it": float(np.mean(missed)) if missed else float("nan"),
    }
