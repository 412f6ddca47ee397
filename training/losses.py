"""The losses of the encoder: the true next item against all others, or against sampled ones corrected for how they were drawn."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from training.encoder_config import EncoderConfig
from training.layers import RESERVED, unit


class NegativeSampler(keras.layers.Layer):
    """Places of items to tell the true one from, `(negatives,)`: drawn by popularity to a power, or all items of a small catalogue.

    `counts` `(items,)` are events per item; `negatives` None means all items. The call takes any tensor and ignores it: functional models
    need an input.
    """

    def __init__(self, counts: np.ndarray, negatives: int | None, power: float, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        weights = np.maximum(counts, 1.0) ** power
        self.is_all = negatives is None or len(counts) <= 2 * negatives
        self.log_q = np.zeros(len(counts) + RESERVED, np.float32)
        if not self.is_all:
            self.log_q[RESERVED:] = np.log(weights / weights.sum())
        self._cumulative = np.cumsum(weights / weights.sum()).astype(np.float32)
        self._negatives = negatives
        logs, is_seen = np.log(counts + 1.0), np.asarray(counts) > 0
        centred = np.where(is_seen, logs - (logs[is_seen].mean() if is_seen.any() else 0.0), 0.0)  # nobody knows how popular a new item is
        self.log_popularity = np.concatenate([np.zeros(RESERVED), centred]).astype(np.float32)
        self._random = keras.random.SeedGenerator(seed)

    def call(self, _any: Any) -> Any:
        if self.is_all:
            return ops.arange(RESERVED, len(self.log_q), dtype="int32")
        drawn = keras.random.uniform((self._negatives,), seed=self._random)
        places = ops.searchsorted(ops.convert_to_tensor(self._cumulative), drawn, side="right")
        return ops.minimum(ops.cast(places, "int32"), len(self._cumulative) - 1) + RESERVED


class NextItemLoss(keras.layers.Layer):
    """The loss per step, `(batch, steps)`, of `states` against the true item's vector and those of others: `loss` of `config`."""

    def __init__(self, sampler: NegativeSampler, config: EncoderConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sampler, self._config = sampler, config

    def build(self, *_shapes: Any) -> None:
        self.popularity = self.add_weight(shape=(), initializer="zeros", name="popularity", autocast=False)

    def bias(self) -> Any:
        """What is added to each place's logit, `(places,)`: centred log-popularity times one learned number; 0 for one never seen."""
        return self.popularity * ops.convert_to_tensor(self._sampler.log_popularity)

    def call(self, states: Any, true_vectors: Any, other_vectors: Any, targets: Any, others: Any) -> Any:
        # Under a half-precision policy only the large product is of that precision: lengths, sums and logarithms are float32.
        states, true_vectors, other_vectors = (unit(ops.cast(given, "float32")) for given in (states, true_vectors, other_vectors))
        bias = self.bias()
        true = ops.sum(states * true_vectors, axis=-1) / self._config.temperature + ops.take(bias, targets, axis=0)  # (batch, steps)
        product = ops.matmul(ops.cast(states, self.compute_dtype), ops.cast(ops.transpose(other_vectors), self.compute_dtype))
        other = ops.cast(product, "float32") / self._config.temperature + ops.take(bias, others, axis=0)  # (batch, steps, negatives)
        is_true = targets[..., None] == others
        if self._config.loss == "gbce":
            items = len(self._sampler.log_q) - RESERVED
            return gbce(true, other, is_true, share=min(1.0, other.shape[-1] / max(1, items - 1)), trust=self._config.gbce_trust)
        log_q = ops.convert_to_tensor(self._sampler.log_q)
        return softmax_loss(true - ops.take(log_q, targets, axis=0), other - ops.take(log_q, others, axis=0), is_true)


def softmax_loss(true: Any, other: Any, is_true: Any) -> Any:
    """Negative log-likelihood of the true item; `true` `(...)`, `other` and `is_true` `(..., negatives)`: it is left out where drawn.

    Logits less log q make a sampled softmax unbiased in the limit (Bengio & Senecal 2008).
    """
    return ops.logaddexp(true, ops.logsumexp(ops.where(is_true, -1e9, other), axis=-1)) - true


def gbce(true: Any, other: Any, is_true: Any, share: float, trust: float) -> Any:
    """Generalised binary cross-entropy (Petrov & Macdonald 2023): the true item's probability to the power beta; mean over the items.

    `share` alpha of all items is sampled; `trust` t from 0 (plain BCE) to 1 (probabilities as if all items were negatives).
    """
    beta = share * (trust * (1 - 1 / share) + 1 / share)
    negative = ops.sum(ops.where(is_true, 0.0, ops.softplus(other)), axis=-1)
    return (beta * ops.softplus(-true) + negative) / (1 + other.shape[-1])
