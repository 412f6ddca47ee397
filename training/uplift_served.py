"""The uplift model as it is served: raw inputs in, every offer's effects and their intervals out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from training.effect_calibration import Z
from training.effect_forest import EffectForest
from training.encoder import TrainedEncoder
from training.raw_history import HistoryReader, lookup
from training.signatures import USER_FEATURES, Tensor
from training.uplift import OUTPUTS, Uplift


class ServedForest(tf.Module):
    """`EffectForest.predict` in the graph."""

    def __init__(self, forest: EffectForest) -> None:
        super().__init__()
        trees, nodes = forest.column.shape
        self.depth, self.shape = forest.depth, (-1, forest.members, trees // forest.members, forest.value.shape[-1])
        self.roots = tf.constant(np.arange(trees) * nodes, tf.int32)  # of each tree, among the nodes of all
        self.column, self.left, self.right = (
            tf.constant(values.reshape(-1), tf.int32)
            for values in (forest.column, forest.left + np.arange(trees)[:, None] * nodes, forest.right + np.arange(trees)[:, None] * nodes)
        )
        self.threshold = tf.constant(forest.threshold.reshape(-1), tf.float32)
        self.unknown_goes_left = tf.constant(forest.unknown_goes_left.reshape(-1))
        self.value = tf.constant(forest.value.reshape(-1, self.shape[-1]), tf.float32)

    def said(self, table: tf.Tensor) -> tf.Tensor:
        """`(batch, members, outcomes)` of `table` `(batch, columns)`."""
        node = tf.tile(self.roots[None], [tf.shape(table)[0], 1])  # (batch, trees)
        for _ in range(self.depth):
            asked = tf.gather(table, tf.gather(self.column, node), batch_dims=1)
            goes_left = tf.where(tf.math.is_nan(asked), tf.gather(self.unknown_goes_left, node), asked <= tf.gather(self.threshold, node))
            node = tf.where(goes_left, tf.gather(self.left, node), tf.gather(self.right, node))
        return tf.reduce_mean(tf.reshape(tf.gather(self.value, node), self.shape), axis=2)


class ServedUplift(tf.Module):
    """Uplift from raw inputs; the shop's own covariates are inputs beside those of the signature. An unknown outcome is NaN."""

    def __init__(self, uplift: Uplift, encoder: TrainedEncoder | None) -> None:
        super().__init__()
        self.uplift = uplift
        self.network, self.forest = uplift.network, ServedForest(uplift.forest)
        self.reader = HistoryReader(encoder) if encoder else None
        self.words = [lookup(np.array(values), np.arange(1, len(values) + 1), 0) for values in uplift.covariates.words.values()]

    @property
    def extra_inputs(self) -> tuple[Tensor, ...]:
        """The inputs that the shop's own covariates add to the signature."""
        numbers = self.uplift.covariates.numbers[len(USER_FEATURES) :]
        return (
            *(Tensor(name, "float32", ("batch",), "the shop's own covariate; NaN is unknown") for name in numbers),
            *(Tensor(name, "string", ("batch",), "the shop's own covariate; '' is unknown") for name in self.uplift.covariates.words),
        )

    def serve(
        self, event_item_ids: tf.Tensor, event_types: tf.Tensor, event_times_us: tf.Tensor, as_of_us: tf.Tensor, **covariates: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Every output of the signature, batch first."""
        known = self.uplift.covariates
        inputs = {"numbers": tf.stack([covariates[name] for name in known.numbers], axis=1)}
        if known.words:
            inputs["words"] = tf.stack(
                [table.lookup(covariates[name]) for name, table in zip(known.words, self.words, strict=True)], axis=1
            )
        if self.reader:
            inputs["vector"] = self.reader.read(event_item_ids, event_types, event_times_us, as_of_us).vectors
        effects = self.network(inputs, training=False)["effects"]  # (batch, members, treatments, outcomes)
        trees = self.forest.said(self._table(inputs))  # (batch, members, outcomes)
        shape = tf.concat([tf.shape(trees), tf.shape(effects)[2:]], axis=0)
        parts = tf.concat([effects[:, :, None], tf.broadcast_to(trees[:, :, :, None, None], shape)], axis=2)
        parts = (parts - self.uplift.centers.astype(np.float32)) * self.uplift.scales.astype(np.float32)
        fixed = {name: tf.constant(values, tf.float32) for name, values in vars(self.uplift.calibration).items()}
        spread = tf.math.reduce_std(tf.reduce_sum(parts * fixed["slope"], axis=2), axis=1)  # (batch, treatments, outcomes)
        away = tf.clip_by_value(tf.reduce_mean(parts, axis=1), fixed["low"], fixed["high"]) - fixed["center"]
        added = fixed["average"] + tf.reduce_sum(fixed["slope"] * away, axis=1)
        unsure = tf.einsum("ekto,bkto->beto", fixed["slope_error"], away)
        width = Z * tf.sqrt(spread**2 + fixed["average_error"] ** 2 + tf.reduce_sum(unsure**2, axis=1))
        batch = tf.shape(as_of_us)[0]
        unknown = tf.fill([batch, len(self.uplift.treatments)], np.nan)
        answer = {"treatments": tf.tile(tf.constant([self.uplift.treatments], tf.string), [batch, 1])}
        for outcome, output in OUTPUTS.items():
            place = self.uplift.outcomes.index(outcome) if outcome in self.uplift.outcomes else None
            for name, values in ((output, added), (f"{output}_low", added - width), (f"{output}_high", added + width)):
                answer[name] = unknown if place is None else values[:, :, place]
        return answer

    def _table(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """As `Covariates.table`."""
        words = [tf.one_hot(inputs["words"][:, at] - 1, len(values)) for at, values in enumerate(self.uplift.covariates.words.values())]
        return tf.concat([inputs["numbers"], *words], axis=1)
