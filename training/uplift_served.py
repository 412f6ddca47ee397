"""The uplift model as it is served: raw inputs in, every offer's effects and their intervals out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from training.effect_calibration import Z
from training.encoder import TrainedEncoder
from training.raw_history import HistoryReader, lookup
from training.signatures import USER_FEATURES, Tensor
from training.uplift import OUTPUTS, Uplift


class ServedUplift(tf.Module):
    """Uplift from raw inputs; the shop's own covariates are inputs beside those of the signature. An unknown outcome is NaN."""

    def __init__(self, uplift: Uplift, encoder: TrainedEncoder | None) -> None:
        super().__init__()
        self.uplift = uplift
        self.network = uplift.network
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
        effects = (effects - self.uplift.centers.astype(np.float32)) * self.uplift.scales.astype(np.float32)
        mean, spread = tf.reduce_mean(effects, axis=1), tf.math.reduce_std(effects, axis=1)
        fixed = {name: tf.constant(values, tf.float32) for name, values in vars(self.uplift.calibration).items()}
        away = tf.clip_by_value(mean, fixed["low"], fixed["high"]) - fixed["center"]
        added = fixed["average"] + fixed["slope"] * away  # (batch, treatments, outcomes)
        noise = (fixed["slope"] * spread) ** 2 + fixed["average_error"] ** 2 + (fixed["slope_error"] * away) ** 2
        width = Z * tf.sqrt(noise)
        batch = tf.shape(as_of_us)[0]
        unknown = tf.fill([batch, len(self.uplift.treatments)], np.nan)
        answer = {"treatments": tf.tile(tf.constant([self.uplift.treatments], tf.string), [batch, 1])}
        for outcome, output in OUTPUTS.items():
            place = self.uplift.outcomes.index(outcome) if outcome in self.uplift.outcomes else None
            for name, values in ((output, added), (f"{output}_low", added - width), (f"{output}_high", added + width)):
                answer[name] = unknown if place is None else values[:, :, place]
        return answer
