"""The served portrait: vector, traits, interests, propensities, expected spend and segment of a user, from raw history and numbers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from training import explanations
from training.encoder import TrainedEncoder
from training.interests import Interests
from training.layers import RESERVED
from training.propensities import OUTCOMES, Propensities
from training.raw_history import DAY_US, HistoryReader, ReadHistory
from training.segments import Segments
from training.signatures import USER_FEATURES
from training.spend import PACE_DAYS, PACE_UNIT, Spend
from training.traits import Traits

UNKNOWN = "unknown"


class Portrait(tf.Module):
    """Heads on the frozen encoder. Without propensity or spend heads (no labels yet) their outputs are NaN; without segments, ''."""

    def __init__(
        self,
        encoder: TrainedEncoder,
        traits: Traits,
        propensities: Propensities | None,
        segments: Segments | None = None,
        spend: Spend | None = None,
    ) -> None:
        super().__init__()
        self.reader = HistoryReader(encoder)
        self.interests = Interests(encoder)
        self.rarity = tf.Variable(np.append(np.zeros(RESERVED, np.float32), traits.rarity), trainable=False)  # by item place
        self.traits = dict(traits.heads)
        self.trait_networks = [head.networks for head in self.traits.values()]  # tracked, so that their variables are exported
        self.propensities = propensities
        self.propensity_networks = [propensities.network] if propensities else []
        self.segments = segments
        self.spend = spend
        self.spend_networks = spend.networks if spend else []

    def serve(
        self, event_item_ids: tf.Tensor, event_types: tf.Tensor, event_times_us: tf.Tensor, as_of_us: tf.Tensor, **numbers: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Every output of the signature, batch first."""
        history = self.reader.read(event_item_ids, event_types, event_times_us, as_of_us)
        features = tf.stack([numbers[name] for name in USER_FEATURES], axis=1)  # (batch, USER_FEATURES)
        chances = self._trait_chances(self._bag(history.all_places), history.vectors)
        propensities = self._propensities(history.vectors, features, history.days_since_last)
        return {
            "vector": history.vectors,
            **self._trait_outputs(chances, tf.shape(history.counts)[0]),
            **self.interests.outputs(history, self.reader.states_of(history), as_of_us),
            **{name: propensities[:, place] for place, name in enumerate(OUTCOMES)},
            "expected_spend_90d": self._expected_spend(history, features),
            "segment": self.segments.name_of(features) if self.segments else tf.fill(tf.shape(history.counts), ""),
        }

    def explain(
        self, event_item_ids: tf.Tensor, event_types: tf.Tensor, event_times_us: tf.Tensor, as_of_us: tf.Tensor, **numbers: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """For the most probable value of each trait and each propensity: the features that raise it most, and which of the events that the
        encoder reads."""
        history = self.reader.read(event_item_ids, event_types, event_times_us, as_of_us)
        features = tf.stack([numbers[name] for name in USER_FEATURES], axis=1)
        whole = self._trait_chances(self._bag(history.all_places), history.vectors)
        likeliest = [tf.argmax(chances, axis=1) for chances in whole]  # (batch,) each

        def answer(vectors: tf.Tensor, rows: tf.Tensor, left_out: tf.Tensor) -> tf.Tensor:
            chances = self._trait_chances(self._bag(history.places_without(rows, left_out)), vectors)
            best = [tf.gather(own, tf.gather(place, rows), batch_dims=1)[:, None] for own, place in zip(chances, likeliest, strict=True)]
            asked = self._propensities(vectors, tf.gather(features, rows), tf.gather(history.days_since_last, rows))
            return tf.concat([*best, asked], axis=1)

        chances, drivers, effects = explanations.drivers(self.reader, history, answer)
        feature_drivers, feature_effects = self._feature_drivers(history.vectors, features, history.days_since_last)
        blank = tf.zeros([tf.shape(chances)[0], len(self.traits), explanations.DRIVERS])
        said = [
            tf.strings.join([trait, tf.gather(tf.constant(self.traits[trait].values), place)], separator="=")[:, None]
            for trait, place in zip(self.traits, likeliest, strict=True)
        ]
        names = tf.tile(tf.constant(OUTCOMES)[None], [tf.shape(chances)[0], 1])
        return {
            "answers": tf.concat([*said, names], axis=1),
            "probabilities": chances,
            "driver_item_ids": explanations.named(event_item_ids, drivers, tf.constant("")),
            "driver_types": explanations.named(event_types, drivers, tf.constant("")),
            "driver_times_us": explanations.named(event_times_us, drivers, tf.constant(0, tf.int64)),
            "driver_effects": effects,
            "driver_features": tf.concat([tf.fill(tf.shape(blank), ""), feature_drivers], axis=1),
            "feature_effects": tf.concat([blank, feature_effects], axis=1),
        }

    def _feature_drivers(self, vectors: tf.Tensor, features: tf.Tensor, days: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Names and effects `(batch, outcomes, DRIVERS)` of the features without which, made unknown, an outcome falls most."""
        count = len(USER_FEATURES)
        whole = self._propensities(vectors, features, days)  # (batch, outcomes)
        hidden = tf.where(tf.eye(count, dtype=tf.bool)[None], np.nan, features[:, None])  # (batch, features, features)
        batch = tf.shape(features)[0]
        left = self._propensities(tf.repeat(vectors, count, axis=0), tf.reshape(hidden, [-1, count]), tf.repeat(days, count))
        effects = whole[:, None] - tf.reshape(left, [batch, count, len(OUTCOMES)])  # (batch, features, outcomes)
        best = tf.math.top_k(tf.transpose(effects, [0, 2, 1]), explanations.DRIVERS)
        is_driver = best.values > 0
        names = tf.where(is_driver, tf.gather(tf.constant(USER_FEATURES), best.indices), "")
        return names, tf.where(is_driver, best.values, 0.0)

    def _bag(self, places: tf.Tensor) -> tf.Tensor:
        """Distinct items weighted by rarity, rows of unit length, `(batch, items)`, from places `(batch, steps)`."""
        batch, width = tf.shape(places)[0], self.rarity.shape[0]
        rows = tf.broadcast_to(tf.range(batch)[:, None], tf.shape(places))
        at = tf.reshape(tf.stack([rows, places], axis=-1), [-1, 2])
        seen = tf.tensor_scatter_nd_max(tf.zeros([batch, width]), at, tf.ones(tf.shape(at)[:1]))
        weighted = (seen * self.rarity)[:, RESERVED:]
        return tf.math.divide_no_nan(weighted, tf.norm(weighted, axis=1, keepdims=True))

    def _trait_chances(self, bag: tf.Tensor, vectors: tf.Tensor) -> list[tf.Tensor]:
        """Calibrated probabilities, `(batch, classes)` a trait."""
        both, found = {"bag": bag, "vector": vectors}, []
        for head in self.traits.values():
            logits = [network({i.name: both[i.name] for i in network.inputs}, training=False) for network in head.networks]
            found.append(tf.nn.softmax(head.scale / len(logits) * tf.add_n(logits) + head.shifts.astype(np.float32)))
        return found

    def _trait_outputs(self, chances: list[tf.Tensor], batch: tf.Tensor) -> dict[str, tf.Tensor]:
        heads = self.traits.values()
        widest = max((len(head.values) for head in heads), default=0)
        names = tf.constant(list(self.traits), tf.string, shape=(len(self.traits),))
        values = tf.constant([[*head.values, *[""] * (widest - len(head.values))] for head in heads], tf.string, shape=(len(heads), widest))
        rows = [tf.pad(own, [[0, 0], [0, widest - len(head.values)]]) for own, head in zip(chances, heads, strict=True)]
        certain = [
            tf.where(tf.reduce_max(own, axis=1) >= head.certain_from, tf.gather(tf.constant(head.values), tf.argmax(own, axis=1)), UNKNOWN)
            for own, head in zip(chances, heads, strict=True)
        ]
        return {
            "trait_names": tf.tile(names[None], [batch, 1]),
            "trait_values": tf.tile(values[None], [batch, 1, 1]),
            "trait_probabilities": tf.stack(rows, axis=1) if rows else tf.zeros([batch, 0, 0]),
            "trait_choices": tf.stack(certain, axis=1) if rows else tf.fill([batch, 0], ""),
        }

    def _propensities(self, vectors: tf.Tensor, features: tf.Tensor, days_since_last: tf.Tensor) -> tf.Tensor:
        """Probabilities in the order of OUTCOMES, `(batch, outcomes)`."""
        if self.propensities is None:
            return tf.fill([tf.shape(features)[0], len(OUTCOMES)], np.float32(np.nan))
        numbers = tf.concat([features, days_since_last[:, None]], axis=1)
        logits = self.propensities.network({"vector": vectors, "numbers": numbers}, training=False)
        return tf.sigmoid(logits * self.propensities.slopes.astype(np.float32) + self.propensities.shifts.astype(np.float32))

    def _expected_spend(self, history: ReadHistory, features: tf.Tensor) -> tf.Tensor:
        """Money `(batch,)`."""
        if self.spend is None:
            return tf.fill(tf.shape(history.counts), np.float32(np.nan))
        days = tf.cast((history.as_of_us - history.times[:, 0]) / DAY_US, tf.float32)
        pace = tf.where(history.counts > 0, PACE_UNIT * tf.cast(history.counts, tf.float32) / (days + PACE_DAYS), np.nan)
        return self.spend.expected(
            {"vector": history.vectors, "numbers": tf.concat([features, history.days_since_last[:, None], pace[:, None]], axis=1)}
        )
