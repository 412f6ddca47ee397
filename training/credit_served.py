"""The served form of the credit model: raw columns in, probability and reasons out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from training.credit import LEAST_CHANCE, Credit
from training.credit_explain import DIRECTIONS, ONE_SIDED, coalitions, groups_of, is_consented, masks, members
from training.raw_history import lookup
from training.signatures import RISK, Tensor


class ServedCredit(tf.Module):
    """`score` and `explain` of raw inputs; the shop's own columns are inputs beside those of the signature."""

    def __init__(self, credit: Credit, warnings: list[str]) -> None:
        super().__init__()
        self.credit, self.network, self.warnings = credit, credit.network, warnings or [""]
        self.codes = [lookup(np.array(values, object), np.arange(1, len(values) + 1), 0) for values in credit.columns.words.values()]
        self.groups = groups_of(credit.columns)
        is_own, self.weights = coalitions(len(self.groups))
        self.is_own = masks(credit.columns, self.groups, is_own)
        self.members = members(credit.columns, self.groups)

    @property
    def extra_inputs(self) -> tuple[Tensor, ...]:
        """The inputs that the shop's own columns add to the signature."""
        own = {tensor.name for tensor in RISK.inputs}
        numbers = (name for name in self.credit.columns.numbers if name not in own)
        return (
            *(Tensor(name, "float32", ("batch",), "the shop's own column; NaN is unknown") for name in numbers),
            *(Tensor(name, "string", ("batch",), "the shop's own column; '' is unknown") for name in self.credit.columns.words),
        )

    def score(self, **columns: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every output of the signature `score`."""
        log_odds = self._log_odds(*self._inputs(columns))
        return {"default_probability": tf.sigmoid(log_odds), "log_odds": log_odds}

    def explain(self, **columns: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every output of the signature `explain`: see `credit_explain.py`."""
        numbers, words = self._inputs(columns)
        reference = self.credit.reference
        batch, size = tf.shape(numbers)[0], len(self.weights)

        def mixed(own: tf.Tensor, other: tf.Tensor, kind: str) -> tf.Tensor:
            """`(batch * coalitions, columns)`"""
            return tf.reshape(tf.where(self.is_own[kind][None], own[:, None], other[:, None]), [batch * size, own.shape[1]])

        is_kept_back = tf.logical_and(is_consented(self.credit.columns), tf.math.is_nan(numbers))
        typical = tf.where(is_kept_back, np.float32(np.nan), reference["numbers"]), tf.tile(reference["words"], [batch, 1])
        log_odds = self._log_odds(mixed(numbers, typical[0], "numbers"), mixed(words, typical[1], "words"))
        effects = tf.matmul(tf.reshape(log_odds, [batch, size]), tf.constant(self.weights, tf.float32))
        own = self._log_odds(numbers, words)
        return {
            "default_probability": tf.sigmoid(own),
            "log_odds": own,
            "reference_log_odds": self._log_odds(*typical),
            "groups": tf.tile(tf.constant([list(self.groups)], tf.string), [batch, 1]),
            "effects": effects,
            "directions": self._directions(numbers, words, typical[0]),
            "warnings": tf.tile(tf.constant([self.warnings], tf.string), [batch, 1]),
        }

    def _directions(self, numbers: tf.Tensor, words: tf.Tensor, typical: tf.Tensor) -> tf.Tensor:
        """`credit_explain.directions` as a graph: `(batch, groups)`."""

        def by_group(values: tf.Tensor, kind: str) -> tf.Tensor:
            return tf.matmul(tf.cast(values, tf.float64), tf.constant(self.members[kind], tf.float64))

        is_known, is_typical_known = tf.math.is_finite(numbers), tf.math.is_finite(typical)
        step = tf.where(is_known & is_typical_known, tf.cast(numbers, tf.float64) - tf.cast(typical, tf.float64), 0)
        up, down = by_group(tf.maximum(step, 0), "numbers"), by_group(tf.maximum(-step, 0), "numbers")
        whole = up + down
        is_other = by_group(is_known & ~is_typical_known, "numbers") + by_group(words != self.credit.reference["words"], "words") > 0
        is_unknown = by_group(~is_known & is_typical_known, "numbers") > 0
        cases = [(whole > 0) & (up >= ONE_SIDED * whole), (whole > 0) & (down >= ONE_SIDED * whole), whole > 0, is_other, is_unknown]
        found = tf.fill(tf.shape(whole), "")
        for name, is_so in reversed(list(zip(DIRECTIONS, cases, strict=True))):
            found = tf.where(is_so, name, found)
        return found

    def _inputs(self, columns: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        known, batch = self.credit.columns, tf.shape(next(iter(columns.values())))[0]
        numbers = tf.stack([columns[name] for name in known.numbers], axis=1) if known.numbers else tf.zeros([batch, 0])
        codes = [table.lookup(columns[name]) for name, table in zip(known.words, self.codes, strict=True)]
        return numbers, tf.stack(codes, axis=1) if codes else tf.zeros([batch, 0], tf.int32)

    def _log_odds(self, numbers: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
        logits = self.network({"numbers": numbers, "words": words}, training=False)  # (rows, groups, members)
        chance = tf.clip_by_value(tf.reduce_mean(tf.sigmoid(logits), axis=[1, 2]), LEAST_CHANCE, 1 - LEAST_CHANCE)
        return self.credit.slope * (tf.math.log(chance) - tf.math.log1p(-chance)) + self.credit.shift
