"""The served recommender: raw history in, the best `k` items out, exactly ranked over the whole catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from training import explanations
from training.encoder import TrainedEncoder
from training.layers import RESERVED
from training.raw_history import HistoryReader
from training.recall import Recall
from training.signatures import EXACT_ITEMS, ITEM_IDS_FILE, ITEM_VECTORS_FILE

RECALLED = 500  # items named of those that the history recalls


class Recommender(tf.Module):
    """Scores of all items from the portrait vector and what the history recalls; the log-popularity of the items without events."""

    def __init__(self, encoder: TrainedEncoder) -> None:
        super().__init__()
        self.reader = HistoryReader(encoder)
        self.item_vectors = tf.Variable(encoder.vectors_of_items / encoder.config.temperature, trainable=False)
        self.bias = tf.Variable(encoder.item_bias, trainable=False)
        self.popularity = tf.Variable(encoder.popularity, trainable=False)
        self.recall = Recall(encoder.memory) if encoder.memory else None
        self.item_ids = tf.constant([*encoder.catalogue.item_ids, ""], tf.string)  # the last stands where no item is left

    def serve(
        self,
        event_item_ids: tf.Tensor,
        event_types: tf.Tensor,
        event_times_us: tf.Tensor,
        as_of_us: tf.Tensor,
        exclude_item_ids: tf.Tensor,
        k: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """`item_ids` and `scores`, `(batch, k)` by falling score, equal scores by catalogue order; '' and -inf where fewer are left."""
        history = self.reader.read(event_item_ids, event_types, event_times_us, as_of_us)
        scores = tf.matmul(history.vectors, self.item_vectors, transpose_b=True) + self.bias  # (batch, items)
        if self.recall:
            scores += self.recall.all_items(history.all_places)
        scores = tf.where(history.counts[:, None] > 0, scores, self.popularity)
        batch, items = tf.shape(scores)[0], scores.shape[1]

        excluded = self.reader.places_of(exclude_item_ids)  # (batch, excluded), below RESERVED are no items
        rows = tf.broadcast_to(tf.range(batch)[:, None], tf.shape(excluded))
        places = tf.reshape(tf.stack([rows, excluded], axis=-1), [-1, 2])
        by_place = tf.pad(scores, [[0, 0], [RESERVED, 0]])
        by_place = tf.tensor_scatter_nd_update(by_place, places, tf.fill(tf.shape(places)[:1], -np.inf))

        wanted = tf.maximum(tf.reduce_max(tf.concat([k, [0]], axis=0)), 0)
        best, index = tf.math.top_k(by_place[:, RESERVED:], tf.minimum(wanted, items))
        best = tf.pad(best, [[0, 0], [0, wanted - tf.shape(best)[1]]], constant_values=-np.inf)
        index = tf.pad(index, [[0, 0], [0, wanted - tf.shape(index)[1]]])
        index = tf.where(tf.math.is_inf(best), items, index)
        return {"item_ids": tf.gather(self.item_ids, index), "scores": best}

    def explain(
        self,
        event_item_ids: tf.Tensor,
        event_types: tf.Tensor,
        event_times_us: tf.Tensor,
        as_of_us: tf.Tensor,
        item_ids: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """For each of the items its score and the past events that raise it most: see `explanations.drivers`."""
        history = self.reader.read(event_item_ids, event_types, event_times_us, as_of_us)
        places = tf.maximum(self.reader.places_of(item_ids) - RESERVED, -1)  # (batch, items)
        wanted = tf.gather(self.item_vectors, tf.maximum(places, 0))  # (batch, items, dim)
        bias, usual = (tf.gather(values, tf.maximum(places, 0)) for values in (self.bias, self.popularity))

        def answer(vectors: tf.Tensor, rows: tf.Tensor, left_out: tf.Tensor) -> tf.Tensor:
            scores = tf.einsum("nd,nid->ni", vectors, tf.gather(wanted, rows)) + tf.gather(bias, rows)
            if self.recall:
                scores += self.recall.wanted_items(history.places_without(rows, left_out), tf.gather(places, rows))
            return tf.where(tf.reduce_any(vectors != 0.0, axis=1, keepdims=True), scores, tf.gather(usual, rows))

        recalled = tf.reduce_sum(self.recall.by_event(history.places, places), axis=2) if self.recall else 0.0
        scores, drivers, effects = explanations.drivers(self.reader, history, answer, recalled)
        is_known = (places >= 0)[..., None]
        drivers = tf.where(is_known, drivers, -1)
        return {
            "scores": tf.where(places >= 0, scores, -np.inf),
            "driver_item_ids": explanations.named(event_item_ids, drivers, tf.constant("")),
            "driver_types": explanations.named(event_types, drivers, tf.constant("")),
            "driver_times_us": explanations.named(event_times_us, drivers, tf.constant(0, tf.int64)),
            "driver_effects": tf.where(is_known, effects, 0.0),
        }

    def retrieve(
        self, event_item_ids: tf.Tensor, event_types: tf.Tensor, event_times_us: tf.Tensor, as_of_us: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """What scores items outside the model: `vector` times a row of `write_item_vectors`, plus what is `recalled` of an item.

        A history without events has no vector: it is asked about with `serve`.
        """
        history = self.reader.read(event_item_ids, event_types, event_times_us, as_of_us)
        batch, items = tf.shape(history.counts)[0], self.item_vectors.shape[0]
        places, added = self.recall.recalled_items(history.all_places) if self.recall else (tf.fill([batch, 1], -1), tf.zeros([batch, 1]))
        best, index = tf.math.top_k(added, tf.minimum(RECALLED, tf.shape(added)[1]))
        places = tf.gather(places, index, batch_dims=1)
        return {
            "vector": tf.pad(history.vectors, [[0, 0], [0, 1]], constant_values=1.0),
            "recalled_item_ids": tf.gather(self.item_ids, tf.where(best > 0, places, items)),
            "recalled": tf.maximum(best, 0.0),
        }

    def write_item_vectors(self, saved_model: Path, above: int = EXACT_ITEMS) -> None:
        """Puts the rows that `retrieve` multiplies, the items' bias their last column, beside a SavedModel of more than `above` items."""
        item_ids = self.item_ids.numpy()[:-1]
        if len(item_ids) <= above:
            return
        rows = np.concatenate([self.item_vectors.numpy(), self.bias.numpy()[:, None]], axis=1)
        np.save(saved_model / ITEM_VECTORS_FILE, np.ascontiguousarray(rows, np.float32))
        (saved_model / ITEM_IDS_FILE).write_text(json.dumps([item.decode() for item in item_ids]), encoding="utf-8")
