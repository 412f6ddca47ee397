"""The served portrait: vector, calibrated traits, interests and propensities of a user, from raw history and numbers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from training.encoder import TrainedEncoder
from training.layers import RESERVED
from training.propensities import OUTCOMES, Propensities
from training.raw_history import HistoryReader, ReadHistory
from training.signatures import USER_FEATURES
from training.traits import Traits


class Portrait(tf.Module):
    """Heads on the frozen encoder. Without propensity heads (no labels yet) those outputs are NaN: unknown."""

    def __init__(self, encoder: TrainedEncoder, traits: Traits, propensities: Propensities | None) -> None:
        super().__init__()
        self.reader = HistoryReader(encoder)
        padded = np.concatenate([np.zeros((RESERVED, encoder.config.dim), np.float32), encoder.vectors_of_items])
        self.item_vectors = tf.Variable(padded, trainable=False)
        self.temperature = encoder.config.temperature
        self.popularity = tf.Variable(encoder.popularity, trainable=False)
        top = encoder.catalogue.top_category
        self.categories = sorted({category for category in top if category})
        self.is_in_category = tf.Variable(top[:, None] == np.array(self.categories, object)[None], trainable=False, dtype=tf.float32)
        self.traits = dict(traits.heads)
        self.trait_networks = [head.network for head in self.traits.values()]  # tracked, so that their variables are exported
        self.propensities = propensities
        self.propensity_networks = [propensities.network] if propensities else []

    def serve(
        self, event_item_ids: tf.Tensor, event_types: tf.Tensor, event_times_us: tf.Tensor, as_of_us: tf.Tensor, **numbers: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Every output of the signature, batch first."""
        history = self.reader.read(event_item_ids, event_types, event_times_us, as_of_us)
        return {
            "vector": history.vectors,
            **self._traits(history),
            **self._interests(history),
            **self._propensities(history, tf.stack([*(numbers[name] for name in USER_FEATURES), history.days_since_last], axis=1)),
        }

    def _traits(self, history: ReadHistory) -> dict[str, tf.Tensor]:
        batch = tf.shape(history.counts)[0]
        widest = max((len(head.values) for head in self.traits.values()), default=0)
        names = tf.constant(list(self.traits), tf.string, shape=(len(self.traits),))
        values = [[*head.values, *[""] * (widest - len(head.values))] for head in self.traits.values()]
        counts = tf.maximum(tf.cast(history.counts, tf.float32), 1.0)[:, None]
        pooled = tf.reduce_sum(tf.gather(self.item_vectors, history.places), axis=1) / counts  # (batch, dim)
        inputs = {"vector": history.vectors, "pooled": pooled, "places": history.places}
        rows = [
            tf.pad(tf.nn.softmax(head.network(inputs, training=False) / head.temperature), [[0, 0], [0, widest - len(head.values)]])
            for head in self.traits.values()
        ]
        return {
            "trait_names": tf.tile(names[None], [batch, 1]),
            "trait_values": tf.tile(tf.constant(values, tf.string, shape=(1, len(rows), widest)), [batch, 1, 1]),
            "trait_probabilities": tf.stack(rows, axis=1) if rows else tf.zeros([batch, 0, 0]),
        }

    def _interests(self, history: ReadHistory) -> dict[str, tf.Tensor]:
        """Share of the next event that the encoder's softmax gives to each top-level category, among items that have one."""
        scores = tf.matmul(history.vectors, self.item_vectors[RESERVED:], transpose_b=True) / self.temperature
        chances = tf.nn.softmax(tf.where(history.counts[:, None] > 0, scores, self.popularity))
        shares = tf.matmul(chances, self.is_in_category)  # (batch, categories)
        shares = tf.math.divide_no_nan(shares, tf.reduce_sum(shares, axis=1, keepdims=True))
        order = tf.argsort(shares, axis=1, direction="DESCENDING", stable=True)
        names = tf.constant([*self.categories, ""], tf.string)
        return {"interest_categories": tf.gather(names, order), "interest_shares": tf.gather(shares, order, batch_dims=1)}

    def _propensities(self, history: ReadHistory, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        if self.propensities is None:
            return dict.fromkeys(OUTCOMES, tf.fill(tf.shape(history.counts), np.nan))
        logits = self.propensities.network({"vector": history.vectors, "numbers": numbers}, training=False)
        scaled = logits * self.propensities.slopes.astype(np.float32) + self.propensities.shifts.astype(np.float32)
        return {name: tf.sigmoid(scaled[:, place]) for place, name in enumerate(OUTCOMES)}
