"""Effects as large as a randomised campaign shows them to be: predicted differences, shrunk to what held-out outcomes confirm.

A network per arm orders people better than it knows the size of an effect: the difference of two fitted functions carries the noise of
both. The best linear predictor of the effect (Chernozhukov, Demirer, Duflo and Fernandez-Val 2018, Generic machine learning inference on
heterogeneous treatment effects) is the measured average effect plus a slope times the centred prediction. The slope is shrunk by its own
noise (positive-part James-Stein) and kept between `LEAST_SLOPE`, which keeps the order of people, and 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_SLOPE = 0.01


@dataclass(frozen=True)
class EffectCalibration:
    """`average + slope * (clip(predicted, low, high) - center)`; each of shape `(treatments, outcomes)`."""

    average: np.ndarray
    slope: np.ndarray
    center: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def apply(self, predicted: np.ndarray) -> np.ndarray:
        """Calibrated effects of the shape `(rows, treatments, outcomes)` of `predicted`."""
        return self.average + self.slope * (np.clip(predicted, self.low, self.high) - self.center)


def calibrate_effects(predicted: np.ndarray, arm: np.ndarray, outcomes: np.ndarray) -> EffectCalibration:
    """From out-of-sample predictions `(rows, treatments, outcomes)`, the assigned `arm` `(rows,)` (0 is control, -1 none of these) and
    the `outcomes` `(rows, outcomes)`, NaN where unknown. The arms are taken as randomised with their observed shares."""
    shape = predicted.shape[1:]
    average, slope = np.zeros(shape), np.full(shape, LEAST_SLOPE)
    center, low, high = predicted.mean(axis=0), predicted.min(axis=0), predicted.max(axis=0)
    for treatment in range(shape[0]):
        for outcome in range(shape[1]):
            known = np.isfinite(outcomes[:, outcome]) & np.isin(arm, (0, treatment + 1))
            treated, y = arm[known] == treatment + 1, outcomes[known, outcome]
            if not 0 < treated.sum() < len(y):
                continue
            share = treated.mean()
            average[treatment, outcome] = y[treated].mean() - y[~treated].mean()
            effect = np.where(treated, (y - y[treated].mean()) / share, -(y - y[~treated].mean()) / (1 - share))
            slope[treatment, outcome] = _shrunk_slope(predicted[known, treatment, outcome], effect)
    return EffectCalibration(average, slope, center, low, high)


def _shrunk_slope(predicted: np.ndarray, effect: np.ndarray) -> float:
    """Slope of `effect` on `predicted`, less what its noise explains."""
    x = predicted - predicted.mean()
    spread = float(x @ x)
    if spread <= 0:
        return LEAST_SLOPE
    found = float(x @ effect) / spread
    noise = float(np.square(x * (effect - effect.mean() - found * x)).sum()) / spread**2  # heteroscedastic variance of the slope
    kept = found * max(0.0, 1 - noise / found**2) if found > 0 else 0.0
    return float(np.clip(kept, LEAST_SLOPE, 1.0))
