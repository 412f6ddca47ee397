"""Scores into probabilities that mean what they say, fitted on rows that the scores were not fitted on."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax


def scale_and_shifts(logits: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale and shifts `(classes,)` of least log-loss for `softmax(scale * logits + shifts)`, from `logits` `(rows, classes)` and class
    numbers `(rows,)`; without rows 1 and zeros.

    Bias-corrected temperature scaling (Guo et al. 2017; Alexandari et al. 2020); the shifts' squares weigh as one row in all.
    """
    rows, classes = logits.shape
    if not rows:
        return 1.0, np.zeros(classes)
    is_true = np.eye(classes)[truth]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, shifts = np.exp(parameters[0]), parameters[1:]
        likely = log_softmax(scale * logits + shifts, axis=1)
        error = np.exp(likely) - is_true  # (rows, classes)
        gradient = np.append(scale * (error * logits).sum(), error.sum(axis=0) + shifts)
        return (0.5 * float(shifts @ shifts) - float(likely[is_true > 0].sum())) / rows, gradient / rows

    found = minimize(loss, np.zeros(classes + 1), jac=True, method="L-BFGS-B", bounds=[(-3.0, 3.0), *[(None, None)] * classes]).x
    return float(np.exp(found[0])), found[1:]


def certain_from(probabilities: np.ndarray, truth: np.ndarray, precision: float) -> float:
    """The least probability from which the best value was right in at least `precision` of the rows `(rows, classes)` at or above it.

    Above 1 where no such probability exists among 20 rows or more: then nothing is certain enough to be said.
    """
    best = probabilities.max(axis=1)
    order = np.argsort(-best, kind="stable")
    right = np.cumsum(probabilities.argmax(axis=1)[order] == truth[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero((right >= precision) & (np.arange(1, len(order) + 1) >= min(20, len(order))))
    return float(best[order[enough[-1]]]) if len(enough) else 1.1


def platt(logits: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Slope and shift of least log-loss for `sigmoid(slope * logit + shift)` (Platt 1999, with his smoothed targets); (1, 0) for one class.

    All arguments have shape `(rows,)`; truth is 0 or 1, and every row weighs 1 where no weights are given.
    """
    weights = np.ones(len(truth)) if weights is None else weights
    positives, negatives = float(weights[truth == 1].sum()), float(weights[truth == 0].sum())
    if not positives or not negatives:
        return 1.0, 0.0
    smooth = np.where(truth == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(parameters: np.ndarray) -> float:
        scaled = parameters[0] * logits + parameters[1]
        return float(np.average(np.logaddexp(0, scaled) - smooth * scaled, weights=weights))

    slope, shift = minimize(loss, x0=np.array([1.0, 0.0]), method="BFGS").x
    return (float(slope), float(shift)) if slope > 0 else (0.0, float(np.log(positives + 1) - np.log(negatives + 1)))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return expit(logits)
