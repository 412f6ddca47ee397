"""What an offer changes: a T-learner, one small network per arm, and its served form."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from training.calibration import sigmoid
from training.encoder import TrainedEncoder
from training.numbers import NumberEncoder
from training.raw_history import HistoryReader, lookup
from training.signatures import USER_FEATURES, Tensor
from training.uplift_config import UpliftConfig
from training.uplift_network import Covariates, build_uplift_network, outcome_loss

CONTROL = "control"
BINARY_OUTCOMES = ("visited", "converted")
OUTPUTS = {"visited": "visit_uplift", "converted": "conversion_uplift", "spend": "spend_uplift"}


@dataclass(frozen=True)
class Uplift:
    """Fitted networks: arms are control and then `treatments`; amounts are `logit * scale + shift` per outcome."""

    treatments: list[str]
    outcomes: list[str]
    covariates: Covariates
    networks: list[keras.Model]
    scales: np.ndarray
    shifts: np.ndarray
    curves: dict[str, list[float]]

    def predict(self, frame: pd.DataFrame, vectors: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """By outcome, what each offer adds compared with control, `(rows, treatments)`: probability, or spend in the shop's currency."""
        expected = self.expected(frame, vectors)  # (rows, arms, outcomes)
        return {outcome: expected[:, 1:, place] - expected[:, :1, place] for place, outcome in enumerate(self.outcomes)}

    def expected(self, frame: pd.DataFrame, vectors: np.ndarray | None = None) -> np.ndarray:
        """Expected outcome under each arm, control first, `(rows, arms, outcomes)`."""
        inputs = self.covariates.inputs(frame, vectors)
        size, blocks = 8192, []
        for at in range(0, len(frame), size):
            block = {name: values[at : at + size] for name, values in inputs.items()}
            blocks.append(np.mean([self._amounts(keras.ops.convert_to_numpy(net(block, training=False))) for net in self.networks], axis=0))
        return np.concatenate(blocks) if blocks else np.zeros((0, len(self.treatments) + 1, len(self.outcomes)))

    def _amounts(self, logits: np.ndarray) -> np.ndarray:
        is_binary = np.array([outcome in BINARY_OUTCOMES for outcome in self.outcomes])
        return np.where(is_binary, sigmoid(logits), logits * self.scales + self.shifts)


def fit_uplift(
    frame: pd.DataFrame,
    treatments: list[str],
    outcomes: list[str],
    covariates: list[str],
    config: UpliftConfig,
    seed: int,
    vectors: np.ndarray | None = None,
) -> Uplift:
    """Networks fitted on `frame`: columns `treatment`, the `outcomes` (NaN is unknown), USER_FEATURES as far as known, and `covariates`.

    `vectors` `(rows, dim)` are the portrait vectors at assignment. Raises ValueError where an arm, control included, has no row.
    """
    keras.utils.set_random_seed(seed)
    arms = [CONTROL, *treatments]
    arm = pd.Index(arms).get_indexer(pd.Index(frame["treatment"].to_numpy(object)))
    if missing := [name for number, name in enumerate(arms) if not (arm == number).any()]:
        raise ValueError(f"Every arm must have rows. Received none for {missing}; `treatment` holds {sorted(set(frame['treatment']))}.")
    known = Covariates.of(frame, covariates, config.max_values)
    values = frame[outcomes].to_numpy(np.float64)  # (rows, outcomes)
    is_binary = np.array([outcome in BINARY_OUTCOMES for outcome in outcomes])
    shifts = np.where(is_binary, 0.0, np.nan_to_num(np.nanmean(values, axis=0)))
    spread = np.nan_to_num(np.nanstd(values, axis=0))
    scales = np.where(is_binary | (spread == 0), 1.0, spread)
    inputs = known.inputs(frame, vectors)
    truth = np.zeros((len(frame), len(arms), len(outcomes), 2), np.float32)
    rows = np.flatnonzero(arm >= 0)
    truth[rows, arm[rows], :, 0] = np.nan_to_num((values - shifts) / scales)[rows]
    truth[rows, arm[rows], :, 1] = np.isfinite(values)[rows]

    networks, curves = [], {}
    for member in range(config.members):
        encoder = NumberEncoder(len(known.numbers), name="numbers_encoder")
        encoder.adapt(inputs["numbers"])
        dim = 0 if vectors is None else vectors.shape[1]
        network = build_uplift_network(known, dim, len(arms), len(outcomes), encoder, config, seed + 100 * member)
        network.compile(
            optimizer=keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay),
            loss=outcome_loss(is_binary),
            jit_compile=False,
            steps_per_execution=max(1, min(16, len(frame) // config.batch)),
        )
        fitted = network.fit(inputs, truth, batch_size=config.batch, epochs=config.epochs, verbose=0)
        networks.append(network)
        curves[f"loss of network {member + 1}"] = [float(value) for value in fitted.history["loss"]]
    return Uplift(list(treatments), list(outcomes), known, networks, scales, shifts, curves)


class ServedUplift(tf.Module):
    """Uplift from raw inputs; the shop's own covariates are inputs beside those of the signature. An unknown outcome is NaN."""

    def __init__(self, uplift: Uplift, encoder: TrainedEncoder | None) -> None:
        super().__init__()
        self.uplift = uplift
        self.networks = uplift.networks
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
        is_binary = np.array([outcome in BINARY_OUTCOMES for outcome in self.uplift.outcomes])
        expected = []
        for network in self.networks:
            logits = network(inputs, training=False)  # (batch, arms, outcomes)
            amounts = logits * self.uplift.scales.astype(np.float32) + self.uplift.shifts.astype(np.float32)
            expected.append(tf.where(is_binary, tf.sigmoid(logits), amounts))
        mean = tf.add_n(expected) / len(expected)
        added = mean[:, 1:] - mean[:, :1]
        batch = tf.shape(as_of_us)[0]
        unknown = tf.fill([batch, len(self.uplift.treatments)], np.nan)
        uplifts = {
            output: added[:, :, self.uplift.outcomes.index(outcome)] if outcome in self.uplift.outcomes else unknown
            for outcome, output in OUTPUTS.items()
        }
        return {"treatments": tf.tile(tf.constant([self.uplift.treatments], tf.string), [batch, 1]), **uplifts}
