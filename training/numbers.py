"""Raw numbers into network inputs, the same layer while fitting and inside the served graph."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


class NumberEncoder(keras.layers.Layer):
    """Standardised `sign(x) log(1 + |x|)` beside whether the number is known: `(batch, numbers)` gives `(batch, 2 * numbers)`.

    NaN is unknown and becomes 0; values beyond five standard deviations are clipped there. `adapt` learns mean and spread.
    """

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count

    def build(self, _shape: Any) -> None:
        self.mean = self.add_weight(shape=(self.count,), initializer="zeros", trainable=False, name="mean")
        self.spread = self.add_weight(shape=(self.count,), initializer="ones", trainable=False, name="spread")

    def adapt(self, numbers: np.ndarray) -> None:
        """Learns from `(rows, numbers)`; a number that is never known, or always the same, is only shifted."""
        self.build(numbers.shape)
        self.built = True
        logs = np.sign(numbers) * np.log1p(np.abs(numbers.astype(np.float64)))
        known = np.isfinite(logs)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, logs, 0).sum(0) / count
        spread = np.sqrt((np.where(known, logs - mean, 0) ** 2).sum(0) / count)
        self.mean.assign(mean.astype(np.float32))
        self.spread.assign(np.where(spread > 1e-6, spread, 1.0).astype(np.float32))

    def call(self, numbers: Any) -> Any:
        is_known = ops.isfinite(numbers)
        safe = ops.where(is_known, numbers, 0.0)
        scaled = (ops.sign(safe) * ops.log1p(ops.abs(safe)) - self.mean) / self.spread
        known = ops.cast(is_known, "float32")
        return ops.concatenate([ops.clip(scaled, -5.0, 5.0) * known, known], axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}
