"""The memory of `training.memory` inside the exported graph: the same sums."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from training.layers import RESERVED
from training.memory import HALF_LIFE, Memory


class Recall(tf.Module):
    """What a history recalls, added to logits. A history is the places of its events `(batch, steps)`, oldest first; 0 is no event."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        places, cosines = memory.table()
        nobody = np.full((RESERVED, places.shape[1]), -1, np.int32)
        self.items = len(places)
        self.neighbours = tf.Variable(np.concatenate([nobody, places]), trainable=False)
        self.cosines = tf.Variable(np.concatenate([0.0 * nobody, cosines]).astype(np.float32), trainable=False)
        self.weight, self.own_weight = memory.weight, memory.own_weight

    def all_items(self, events: tf.Tensor) -> tf.Tensor:
        """For every item of the catalogue, `(batch, items)`."""
        batch = tf.shape(events)[0]
        values = self.weight * tf.gather(self.cosines, events) * _shares(events)[..., None]
        company = self._added(tf.gather(self.neighbours, events), values, batch)
        if not self.own_weight:
            return company
        own = self._added(events[..., None] - RESERVED, tf.ones_like(events, tf.float32)[..., None], batch)
        return company + self.own_weight * tf.math.log1p(own)

    def wanted_items(self, events: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        """For some items, their places in the catalogue `(batch, wanted)`, same shape."""
        company = tf.reduce_sum(self.by_event(events, wanted), axis=1)
        is_own = events[..., None] - RESERVED == wanted[:, None]  # (batch, steps, wanted)
        return company + self.own_weight * tf.math.log1p(tf.reduce_sum(tf.cast(is_own, tf.float32), axis=1))

    def by_event(self, events: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        """What each event adds as company, `(batch, steps, wanted)`."""
        neighbours = tf.gather(self.neighbours, events)[..., None]  # (batch, steps, neighbours, 1)
        is_wanted = tf.cast((neighbours == wanted[:, None, None]) & (neighbours >= 0), tf.float32)
        cosines = tf.einsum("bsk,bskw->bsw", tf.gather(self.cosines, events), is_wanted)
        return self.weight * cosines * _shares(events)[..., None]

    def _added(self, places: tf.Tensor, values: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        """The `values` `(batch, ...)` summed by their `places` in the catalogue, `(batch, items)`; negative places are nobody's."""
        rows = tf.reshape(tf.range(batch), [-1, 1, 1]) * (self.items + 1)
        flat = tf.reshape(rows + tf.where(places < 0, self.items, places), [-1])
        summed = tf.math.unsorted_segment_sum(tf.reshape(values, [-1]), flat, batch * (self.items + 1))
        return tf.reshape(summed, [batch, self.items + 1])[:, : self.items]


def _shares(events: tf.Tensor) -> tf.Tensor:
    """How much each event counts, `(batch, steps)`."""
    is_event = tf.cast(events > 0, tf.float32)
    after = tf.cumsum(is_event, axis=1, reverse=True, exclusive=True)
    recency = is_event * 0.5 ** (after / HALF_LIFE)
    return recency / tf.sqrt(tf.maximum(tf.reduce_sum(recency, axis=1, keepdims=True), 1e-9))
