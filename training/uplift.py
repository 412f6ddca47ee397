"""What an offer changes: a T-learner, one small network per arm, calibrated to the effects that were measured, and its served form."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from training.calibration import sigmoid
from training.effect_calibration import EffectCalibration, calibrate_effects
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
    calibration: EffectCalibration
    curves: dict[str, list[float]]

    def predict(self, frame: pd.DataFrame, vectors: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """By outcome, what each offer adds compared with control, `(rows, treatments)`: probability, or spend in the shop's currency."""
        inputs = self.covariates.inputs(frame, vectors)
        raw = _added(self.networks, inputs, len(frame), self.outcomes, self.scales, self.shifts)
        added = self.calibration.apply(raw)  # (rows, treatments, outcomes)
        return {outcome: added[:, :, place] for place, outcome in enumerate(self.outcomes)}


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

    def networks_of(part: np.ndarray) -> tuple[list[keras.Model], dict[str, list[float]]]:
        networks, curves = [], {}
        for member in range(config.members):
            encoder = NumberEncoder(len(known.numbers), name="numbers_encoder")
            encoder.adapt(inputs["numbers"][part])
            dim = 0 if vectors is None else vectors.shape[1]
            network = build_uplift_network(known, dim, len(arms), len(outcomes), encoder, config, seed + 100 * member)
            network.compile(
                optimizer=keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay),
                loss=outcome_loss(is_binary),
                jit_compile=False,
                steps_per_execution=max(1, min(16, len(part) // config.batch)),
            )
            learned = {name: values[part] for name, values in inputs.items()}
            fitted = network.fit(learned, truth[part], batch_size=config.batch, epochs=config.epochs, verbose=0)
            networks.append(network)
            curves[f"loss of network {member + 1}"] = [float(value) for value in fitted.history["loss"]]
        return networks, curves

    # What the calibration is fitted on, every row's effect is said by networks that never saw the row.
    unseen = np.zeros((len(frame), len(treatments), len(outcomes)))
    halves = np.random.default_rng(seed).permutation(len(frame)) % 2
    for half in (0, 1):
        asked = np.flatnonzero(halves == half)
        networks, _ = networks_of(np.flatnonzero(halves != half))
        unseen[asked] = _added(networks, {n: v[asked] for n, v in inputs.items()}, len(asked), outcomes, scales, shifts)
    calibration = calibrate_effects(unseen, arm, values)
    networks, curves = networks_of(np.arange(len(frame)))
    return Uplift(list(treatments), list(outcomes), known, networks, scales, shifts, calibration, curves)


def _added(
    networks: list[keras.Model], inputs: dict[str, np.ndarray], rows: int, outcomes: list[str], scales: np.ndarray, shifts: np.ndarray
) -> np.ndarray:
    """What each offer adds by the networks alone, `(rows, treatments, outcomes)`."""
    is_binary = np.array([outcome in BINARY_OUTCOMES for outcome in outcomes])
    size, blocks = 8192, []
    for at in range(0, rows, size):
        block = {name: values[at : at + size] for name, values in inputs.items()}
        logits = [keras.ops.convert_to_numpy(network(block, training=False)) for network in networks]
        expected = np.mean([np.where(is_binary, sigmoid(one), one * scales + shifts) for one in logits], axis=0)  # (rows, arms, outcomes)
        blocks.append(expected[:, 1:] - expected[:, :1])
    return np.concatenate(blocks) if blocks else np.zeros((0, networks[0].output_shape[1] - 1, len(outcomes)))


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
        fixed = {name: tf.constant(values, tf.float32) for name, values in vars(self.uplift.calibration).items()}
        inside = tf.clip_by_value(mean[:, 1:] - mean[:, :1], fixed["low"], fixed["high"])
        added = fixed["average"] + fixed["slope"] * (inside - fixed["center"])  # (batch, treatments, outcomes)
        batch = tf.shape(as_of_us)[0]
        unknown = tf.fill([batch, len(self.uplift.treatments)], np.nan)
        uplifts = {
            output: added[:, :, self.uplift.outcomes.index(outcome)] if outcome in self.uplift.outcomes else unknown
            for outcome, output in OUTPUTS.items()
        }
        return {"treatments": tf.tile(tf.constant([self.uplift.treatments], tf.string), [batch, 1]), **uplifts}
