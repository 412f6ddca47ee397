"""Effects as large as a campaign shows them to be: predicted differences, shrunk to what held-out outcomes confirm, and their intervals.

A network orders people better than it knows the size of an effect. The best linear predictor of the effect (Chernozhukov, Demirer, Duflo
and Fernandez-Val 2018, Generic machine learning inference on heterogeneous treatment effects) is the average effect plus a slope times the
centred prediction. Both are read off the doubly robust effects of the rows (Robins, Rotnitzky and Zhao 1994), which are right on average
where the chances are known. The slope is shrunk by its own noise (positive-part James-Stein) and kept between `LEAST_SLOPE`, which keeps
the order of people, and `MOST_SLOPE`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_SLOPE, MOST_SLOPE = 0.01, 2.0
Z = 1.96


@dataclass(frozen=True)
class EffectCalibration:
    """`average + slope * (clip(predicted, low, high) - center)`; each of shape `(treatments, outcomes)`.

    `average_error` and `slope_error` are standard errors.
    """

    average: np.ndarray
    slope: np.ndarray
    center: np.ndarray
    low: np.ndarray
    high: np.ndarray
    average_error: np.ndarray
    slope_error: np.ndarray

    def apply(self, predicted: np.ndarray) -> np.ndarray:
        """Calibrated effects of the shape `(rows, treatments, outcomes)` of `predicted`."""
        return self.average + self.slope * (np.clip(predicted, self.low, self.high) - self.center)

    def width(self, predicted: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Half of the 95 % interval of calibrated effects; `spread` is the members' deviation, `(rows, treatments, outcomes)` each.

        The spread of members fitted on random halves is the standard error of one fitted on all rows (half-sampling; Politis and Romano
        1994).
        """
        away = self.slope_error * (np.clip(predicted, self.low, self.high) - self.center)
        return Z * np.sqrt((self.slope * spread) ** 2 + self.average_error**2 + away**2)


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


def calibrate_effects(predicted: np.ndarray, effects: np.ndarray) -> EffectCalibration:
    """From out-of-sample predictions and the doubly robust effects of the same rows, `(rows, treatments, outcomes)` each."""
    shape = predicted.shape[1:]
    average, slope, average_error, slope_error = np.zeros(shape), np.full(shape, LEAST_SLOPE), np.zeros(shape), np.zeros(shape)
    center = np.zeros(shape)
    for place in np.ndindex(shape):
        effect = effects[(slice(None), *place)]
        known = np.isfinite(effect)
        if known.sum() < 2:
            center[place] = predicted[(slice(None), *place)].mean() if len(predicted) else 0.0
            continue
        x, effect = predicted[(known, *place)], effect[known]
        center[place], average[place] = x.mean(), effect.mean()
        average_error[place] = effect.std(ddof=1) / np.sqrt(known.sum())
        slope[place], slope_error[place] = _shrunk_slope(x, effect)
    return EffectCalibration(average, slope, center, predicted.min(axis=0), predicted.max(axis=0), average_error, slope_error)


def _shrunk_slope(predicted: np.ndarray, effect: np.ndarray) -> tuple[float, float]:
    """Slope of `effect` on `predicted`, less what its noise explains, and the standard error of the slope itself."""
    x = predicted - predicted.mean()
    spread = float(x @ x)
    if spread <= 0:
        return LEAST_SLOPE, 0.0
    found = float(x @ effect) / spread
    noise = float(np.square(x * (effect - effect.mean() - found * x)).sum()) / spread**2  # heteroscedastic variance of the slope
    kept = found * max(0.0, 1 - noise / found**2) if found > 0 else 0.0
    return float(np.clip(kept, LEAST_SLOPE, MOST_SLOPE)), float(np.sqrt(noise))
