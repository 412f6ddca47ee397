"""Effects as large as a campaign shows them to be: the network's and the trees' effects, stacked by what held-out outcomes confirm.

A model orders people better than it knows the size of an effect. Effects are stacked as the best linear predictor (Chernozhukov, Demirer,
Duflo and Fernandez-Val 2018, Generic machine learning inference on heterogeneous treatment effects) with several predictors: the average
effect plus weights of zero or more (Breiman 1996, Stacked regressions) times the centred predictions, which are of models that never saw
the row. Averages and weights are read off the doubly robust effects of the rows (Robins, Rotnitzky and Zhao 1994), which are right on
average where the chances are known. One set of weights holds for all offers, and each offer may have more or less of it; both are shrunk by
their own noise (positive-part James-Stein), towards the average effect for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

LEAST_SLOPE, MOST_SLOPE = 0.01, 2.0
Z = 1.96


@dataclass(frozen=True)
class EffectCalibration:
    """`average + sum over the parts of slope * (clip(part, low, high) - center)`; `average` `(treatments, outcomes)`, the others `(parts,
    treatments, outcomes)`.

    `average_error` is a standard error; `slope_error` `(errors, parts, treatments, outcomes)` the slopes' root covariance: they err as
    independent standard normal numbers, one an error, times these.
    """

    average: np.ndarray
    slope: np.ndarray
    center: np.ndarray
    low: np.ndarray
    high: np.ndarray
    average_error: np.ndarray
    slope_error: np.ndarray

    def apply(self, parts: np.ndarray) -> np.ndarray:
        """Calibrated effects `(rows, treatments, outcomes)` of `parts` `(rows, parts, treatments, outcomes)`."""
        return self.average + (self.slope * (np.clip(parts, self.low, self.high) - self.center)).sum(axis=1)

    def width(self, parts: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Half of the 95 % interval of calibrated effects `(rows, treatments, outcomes)`; `spread`, of the same shape, is the deviation of
        the members' stacked effects.

        The spread of members fitted on random halves is the standard error of one fitted on all rows (half-sampling; Politis and Romano
        1994).
        """
        away = np.einsum("ekto,rkto->reto", self.slope_error, np.clip(parts, self.low, self.high) - self.center)
        return Z * np.sqrt(spread**2 + self.average_error**2 + np.square(away).sum(axis=1))


def robust_effects(expected: np.ndarray, arm: np.ndarray, chances: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Doubly robust effects against control `(rows, arms - 1, outcomes)`, NaN where the outcome is unknown or an arm had no chance.

    `expected` `(rows, arms, outcomes)` is the outcome expected under each arm by a model that never saw the row, `arm` `(rows,)` the arm
    taken, `chances` `(rows, arms)` its chances, `outcomes` `(rows, outcomes)`.
    """
    taken = arm[:, None] == np.arange(chances.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(taken, 1.0 / chances, np.where(chances > 0, 0.0, np.nan))  # (rows, arms)
    value = expected + weight[:, :, None] * (outcomes[:, None] - expected)
    return value[:, 1:] - value[:, :1]


def calibrate_effects(parts: np.ndarray, effects: np.ndarray) -> EffectCalibration:
    """From out-of-sample `parts` `(rows, parts, treatments, outcomes)` and the doubly robust effects of the same rows `(rows, treatments,
    outcomes)`."""
    count, treatments, outcomes = parts.shape[1:]
    known = np.isfinite(effects)  # (rows, treatments, outcomes)
    total = np.maximum(known.sum(axis=0), 1)
    average = np.where(known, effects, 0).sum(axis=0) / total
    away = np.where(known, effects - average, 0)
    average_error = np.sqrt(np.square(away).sum(axis=0) / np.maximum(total - 1, 1) / total) * (known.sum(axis=0) > 1)
    shown = np.where(known.any(axis=0), known, True)  # an offer that nobody's effect is known of is centred on everybody
    center = np.where(shown[:, None], parts, 0).sum(axis=0) / np.maximum(shown.sum(axis=0), 1)
    x = np.where(known[:, None], parts - center, 0)
    slope = np.full((count, treatments, outcomes), LEAST_SLOPE)
    slope_error = np.zeros((count + 1, count, treatments, outcomes))
    for one in range(outcomes):
        weight, root = stacked(x[..., one], away[..., one])
        slope[..., one], slope_error[:count, ..., one] = weight[:, None], root[..., None]
        for offer in range(treatments):
            own = x[:, :, offer, one] @ weight
            more, error = _more_or_less(own, away[:, offer, one] - own)
            slope[:, offer, one] = np.clip(weight * (1 + more), 0.0, MOST_SLOPE)
            slope_error[count, :, offer, one] = error * weight
    slope = np.where(slope.max(axis=0) < LEAST_SLOPE, LEAST_SLOPE, slope)
    return EffectCalibration(average, slope, center, parts.min(axis=0), parts.max(axis=0), average_error, slope_error)


def stacked(x: np.ndarray, effect: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights `(parts,)` of zero or more of centred predictions `x` `(rows, parts, treatments)` for centred effects `(rows, treatments)`,
    less what their noise explains, and the root of their covariance `(parts, parts)`: errors first, and independent."""
    count = x.shape[1]
    gram = np.einsum("rkt,rlt->kl", x, x)
    scale = np.sqrt(np.diag(gram))
    usable = scale > 0
    weight, root = np.zeros(count), np.zeros((count, count))
    if not usable.any():
        return weight, root
    both = np.einsum("rkt,rt->k", x, effect)
    values, vectors = np.linalg.eigh(gram[np.ix_(usable, usable)] / np.outer(scale[usable], scale[usable]))
    values = np.maximum(values, 1e-6)
    half = (vectors * np.sqrt(values)).T
    found, _ = nnls(half, (vectors / np.sqrt(values)).T @ (both[usable] / scale[usable]))
    weight[usable] = found / scale[usable]
    active = np.flatnonzero(weight > 0)
    if not len(active):
        return weight, root
    inverse = np.linalg.pinv(gram[np.ix_(active, active)])
    score = np.einsum(
        "rkt,rt->rk", x[:, active], effect - np.einsum("rkt,k->rt", x, weight)
    )  # an offer's noise and another's are one row's
    covariance = inverse @ (score.T @ score) @ inverse
    signal = float(weight @ gram @ weight)
    noise = float(np.trace(gram[np.ix_(active, active)] @ covariance))
    weight = weight * max(0.0, 1 - noise / signal)
    own, axes = np.linalg.eigh(covariance)
    root[np.ix_(active, active)] = (axes * np.sqrt(np.maximum(own, 0))).T
    return weight, root


def _more_or_less(predicted: np.ndarray, rest: np.ndarray) -> tuple[float, float]:
    """How much more of the centred `predicted` an offer has, by what is left of its effects, shrunk by its noise; and that noise."""
    spread = float(predicted @ predicted)
    if spread <= 0:
        return 0.0, 0.0
    found = float(predicted @ rest) / spread
    noise = float(np.square(predicted * (rest - found * predicted)).sum()) / spread**2
    kept = max(0.0, 1 - noise / found**2) if found else 0.0
    return found * kept, float(np.sqrt(noise * kept))
