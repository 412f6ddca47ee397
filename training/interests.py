"""Interest evolution: what a user's interests by top-level category are, were a month ago, and whether they changed at once.

Interests at a time are half what the encoder expects next from the mean of its states, half the user's own events by category, both with
weights that halve every `HALF_LIFE_DAYS`. The expectation knows tastes that were never acted on and ranks today's categories better, the
events are the user's own and follow changes better (`benchmarks/interests.py` compares both with the simulated shop's true tastes).
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from training.encoder import TrainedEncoder
from training.layers import RESERVED
from training.raw_history import DAY_US, ReadHistory, unit

MONTH_US = 30 * DAY_US
HALF_LIFE_DAYS = 20.0
SMOOTHING = 2.0  # events of the average user that are added to one's own
CONCENTRATION = 4.0  # of the prior over a taste, in events


class Interests(tf.Module):
    """Shares by top-level category from a history that was read; `categories` are the catalogue's, sorted."""

    def __init__(self, encoder: TrainedEncoder) -> None:
        super().__init__()
        self.item_vectors = tf.Variable(encoder.vectors_of_items / encoder.config.temperature, trainable=False)
        self.bias = tf.Variable(encoder.item_bias, trainable=False)
        top = encoder.catalogue.top_category
        self.categories = sorted({category for category in top if category})
        belongs = (top[:, None] == np.array(self.categories, object)[None]).astype(np.float32)  # (items, categories)
        self.is_in_category = tf.Variable(
            np.concatenate([np.zeros((RESERVED, len(self.categories)), np.float32), belongs]), trainable=False
        )
        usual = encoder.counts.astype(np.float64) @ belongs + 1.0 / max(1, len(self.categories))
        self.usual = tf.Variable((usual / max(usual.sum(), 1e-9)).astype(np.float32), trainable=False)  # (categories,)
        self.alarm_from = tf.Variable(np.inf, trainable=False, dtype=tf.float32)  # set by `calibrate`

    def expected(self, vectors: tf.Tensor) -> tf.Tensor:
        """Share of the next event that the encoder gives to each category, among items that have one, `(batch, categories)`; zeros give
        the usual shares."""
        chances = tf.nn.softmax(tf.matmul(vectors, self.item_vectors, transpose_b=True) + self.bias)
        shares = tf.matmul(chances, self.is_in_category[RESERVED:])
        shares = tf.math.divide_no_nan(shares, tf.reduce_sum(shares, axis=1, keepdims=True))
        return tf.where(tf.reduce_any(vectors != 0.0, axis=1, keepdims=True), shares, self.usual)

    def at(self, history: ReadHistory, states: tf.Tensor, until_us: tf.Tensor) -> tf.Tensor:
        """Interests from the read events before `until_us` `(batch,)`, `(batch, categories)`; NaN where there are none.

        `states` are the `HistoryReader.states_of` the history.
        """
        is_before = (history.inputs["segments"] > 0) & (history.times < until_us[:, None])
        age = tf.cast(until_us[:, None] - history.times, tf.float32) / DAY_US
        weights = tf.where(is_before, tf.pow(2.0, -age / HALF_LIFE_DAYS), 0.0)[..., None]  # (batch, length, 1)
        expected = self.expected(unit(tf.reduce_sum(states * weights, axis=1)))
        own = tf.gather(self.is_in_category, history.places)  # (batch, length, categories)
        counts = tf.reduce_sum(own * weights, axis=1) + SMOOTHING * self.usual
        shares = 0.5 * expected + 0.5 * counts / tf.reduce_sum(counts, axis=1, keepdims=True)
        return tf.where(tf.reduce_any(is_before, axis=1, keepdims=True), shares, np.nan)

    def evidence(self, history: ReadHistory, as_of_us: tf.Tensor) -> tf.Tensor:
        """Log Bayes factor that the taste changed at one moment of the last 30 days against that it never did, `(batch,)`; 0 where nothing
        can be said.

        Events by category are Dirichlet-multinomial around the usual shares, before and after the moment apart; of a category on one day
        one event counts, since a visit is one wish. The factor is averaged over the moments between events (cf. Barry & Hartigan 1993).
        """
        own = tf.gather(self.is_in_category, history.places)  # (batch, length, categories)
        day = history.times // DAY_US
        same = (day[:, :, None] == day[:, None, :]) & (tf.matmul(own, own, transpose_b=True) > 0)
        length = own.shape[1]
        is_repeat = tf.reduce_any(same & np.tril(np.ones((length, length), bool), -1), axis=2)
        counted = tf.cumsum(own * tf.cast(~is_repeat, tf.float32)[..., None], axis=1)  # (batch, length, categories)
        total = counted[:, -1:]
        factor = self._likelihood(counted) + self._likelihood(total - counted) - self._likelihood(total)  # (batch, length)
        next_time = tf.pad(history.times[:, 1:], [[0, 0], [0, 1]])
        is_moment = (next_time > as_of_us[:, None] - MONTH_US) & (tf.reduce_sum(counted, axis=2) >= 3.0)
        moments = tf.reduce_sum(tf.cast(is_moment, tf.float32), axis=1)
        summed = tf.reduce_logsumexp(tf.where(is_moment, factor, -1e9), axis=1) - tf.math.log(tf.maximum(moments, 1.0))
        return tf.where(moments > 0, summed, 0.0)

    def _likelihood(self, counts: tf.Tensor) -> tf.Tensor:
        """Log probability of `counts` `(..., categories)` in a given order, for a taste drawn around the usual one."""
        prior = CONCENTRATION * self.usual
        whole = tf.math.lgamma(CONCENTRATION) - tf.math.lgamma(CONCENTRATION + tf.reduce_sum(counts, axis=-1))
        return whole + tf.reduce_sum(tf.math.lgamma(prior + counts) - tf.math.lgamma(prior), axis=-1)

    def outputs(self, history: ReadHistory, states: tf.Tensor, as_of_us: tf.Tensor) -> dict[str, tf.Tensor]:
        """The interest outputs of the signature, categories by falling interest; a user without events has the usual ones."""
        now = self.at(history, states, as_of_us)
        now = tf.where(tf.math.is_nan(now), self.usual, now)
        before = self.at(history, states, as_of_us - MONTH_US)
        order = tf.argsort(now, axis=1, direction="DESCENDING", stable=True)
        expected = self.expected(history.vectors)
        names = tf.constant([*self.categories, ""], tf.string)
        evidence = self.evidence(history, as_of_us)
        likeliest = tf.argmax(tf.pad(expected, [[0, 0], [0, 1]], constant_values=-1.0), axis=1)
        return {
            "interest_categories": tf.gather(names, order),
            "interest_shares": tf.gather(now, order, batch_dims=1),
            "interest_shares_30d_ago": tf.gather(before, order, batch_dims=1),
            "interest_changes": tf.gather(now - before, order, batch_dims=1),
            "interest_break_evidence": evidence,
            "interest_alarm": tf.cast(evidence > self.alarm_from, tf.int32),
            "next_category": tf.gather(names, likeliest),
        }
