"""The loss of the encoder: softmax over the true next item and sampled others, corrected for how likely each was drawn."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from training.layers import RESERVED, unit


class NegativeSampler(keras.layers.Layer):
    """Places of items to tell the true one from, `(negatives,)`: drawn by popularity to a power, or all items of a small catalogue.

    `counts` `(items,)` are events per item. The call takes any tensor and ignores it: functional models need an input.
    """

    def __init__(self, counts: np.ndarray, negatives: int, power: float, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        weights = np.maximum(counts, 1.0) ** power
        self.is_all = len(counts) <= 2 * negatives
        self.log_q = np.zeros(len(counts) + RESERVED, np.float32)
        if not self.is_all:
            self.log_q[RESERVED:] = np.log(weights / weights.sum())
        self._cumulative = np.cumsum(weights / weights.sum()).astype(np.float32)
        self._negatives = negatives
        self._random = keras.random.SeedGenerator(seed)

    def call(self, _any: Any) -> Any:
        if self.is_all:
            return ops.arange(RESERVED, len(self.log_q), dtype="int32")
        drawn = keras.random.uniform((self._negatives,), seed=self._random)
        places = ops.searchsorted(ops.convert_to_tensor(self._cumulative), drawn, side="right")
        return ops.minimum(ops.cast(places, "int32"), len(self._cumulative) - 1) + RESERVED


def sampled_softmax_loss(
    states: Any, true_vectors: Any, other_vectors: Any, targets: Any, others: Any, log_q: Any, temperature: float
) -> Any:
    """Negative log-likelihood of the true item, `(batch, steps)`.

    `states` and `true_vectors` `(batch, steps, dim)`, `other_vectors` `(negatives, dim)`, places `targets` `(batch, steps)` and `others`
    `(negatives,)`, `log_q` `(places,)`. Logits are cosines over `temperature` less log q (Bengio & Senecal 2008); a sampled item that
    is the true one is left out.
    """
    states = unit(states) / temperature
    true = ops.sum(states * unit(true_vectors), axis=-1) - ops.take(log_q, targets, axis=0)  # (batch, steps)
    other = ops.matmul(states, ops.transpose(unit(other_vectors))) - ops.take(log_q, others, axis=0)  # (batch, steps, negatives)
    other = ops.where(targets[..., None] == others, -1e9, other)
    return ops.logsumexp(ops.concatenate([true[..., None], other], axis=-1), axis=-1) - true
