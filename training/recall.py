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

    def recalled_items(self, events: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The items to which anything is added, as places in the catalogue `(batch, recalled)`, -1 for none, and what is added, 0 for none.

        In no certain order, and without a number for every item: what it costs does not grow with the catalogue.
        """
        batch, steps = tf.shape(events)[0], tf.shape(events)[1]
        width = steps * (self.neighbours.shape[1] + 1)
        company = self.weight * tf.gather(self.cosines, events) * _shares(events)[..., None]
        is_same = events[:, :, None] == events[:, None]  # (batch, steps, steps)
        is_first = tf.argmax(tf.cast(is_same, tf.int32), axis=2, output_type=tf.int32) == tf.range(steps)
        own = self.own_weight * tf.math.log1p(tf.reduce_sum(tf.cast(is_same, tf.float32), axis=2))
        own_places = tf.where(is_first, events - RESERVED, -1)
        places = tf.reshape(tf.concat([tf.gather(self.neighbours, events), own_places[..., None]], axis=2), [batch, width])
        values = tf.reshape(tf.concat([company, own[..., None]], axis=2), [batch, width])

        order = tf.argsort(places, axis=1)
        places, values = (tf.gather(table, order, batch_dims=1) for table in (places, values))
        is_new = tf.pad(places[:, 1:] != places[:, :-1], [[0, 0], [1, 0]])
        runs = tf.cumsum(tf.cast(is_new, tf.int32), axis=1) + tf.range(batch)[:, None] * width  # numbered within a row, one a place
        flat = tf.reshape(runs, [-1])
        added = tf.math.unsorted_segment_sum(tf.reshape(values, [-1]), flat, batch * width)
        named = tf.maximum(tf.math.unsorted_segment_max(tf.reshape(places, [-1]), flat, batch * width), -1)
        return tf.reshape(named, [batch, width]), tf.reshape(tf.where(named >= 0, added, 0.0), [batch, width])

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
