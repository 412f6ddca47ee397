"""Purchase and churn propensities: four calibrated probabilities from the frozen encoder and the user's numbers."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from training.calibration import platt, sigmoid
from training.numbers import NumberEncoder
from training.portrait_config import PortraitConfig

OUTCOMES = ("purchase_probability_7d", "purchase_probability_30d", "churn_probability_7d", "churn_probability_30d")


@dataclass(frozen=True)
class Propensities:
    """The network that gives logits `(batch, outcomes)` from `vector` and `numbers`, and slope and shift per outcome `(outcomes,)`."""

    network: keras.Model
    slopes: np.ndarray
    shifts: np.ndarray
    curves: dict[str, list[float]]

    def predict(self, vectors: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Probabilities in the order of `OUTCOMES`, `(rows, outcomes)`."""
        return sigmoid(_logits(self.network, vectors, numbers) * self.slopes + self.shifts)


def build_propensity_network(dim: int, encoder: NumberEncoder, outcomes: int, config: PortraitConfig, seed: int) -> keras.Model:
    """Logits `(batch, outcomes)` from the portrait vector `(batch, dim)` and raw numbers `(batch, numbers)`, NaN where unknown."""
    inputs = {"vector": keras.Input((dim,), name="vector"), "numbers": keras.Input((encoder.count,), name="numbers")}

    def dense(units: int, activation: str | None, offset: int) -> keras.layers.Dense:
        return keras.layers.Dense(units, activation=activation, kernel_initializer=keras.initializers.GlorotUniform(seed=seed + offset))

    both = keras.layers.Concatenate()([inputs["vector"], encoder(inputs["numbers"])])
    hidden = keras.layers.Dropout(config.dropout, seed=seed)(dense(config.hidden, "gelu", 0)(both))
    return keras.Model(inputs, dense(outcomes, None, 1)(hidden))


def fit_propensities(
    vectors: np.ndarray, numbers: np.ndarray, truth: np.ndarray, is_held: np.ndarray, config: PortraitConfig, seed: int
) -> Propensities:
    """Heads fitted on `truth` `(rows, outcomes)` of 0 and 1; the rows where `is_held` `(rows,)` calibrate them.

    `vectors` `(rows, dim)` and `numbers` `(rows, numbers)` must be as of the time of the question. An outcome of one class only gets
    its smoothed base rate.
    """
    keras.utils.set_random_seed(seed)
    encoder = NumberEncoder(numbers.shape[1], name="numbers_encoder")
    encoder.adapt(numbers[~is_held])
    network = build_propensity_network(vectors.shape[1], encoder, truth.shape[1], config, seed)
    network.compile(
        optimizer=keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False,
        steps_per_execution=max(1, min(16, int((~is_held).sum()) // config.batch)),
    )
    fitted = network.fit(
        {"vector": vectors[~is_held], "numbers": numbers[~is_held]},
        truth[~is_held].astype(np.float32),
        batch_size=config.batch,
        epochs=config.propensity_epochs,
        verbose=0,
    )
    logits = _logits(network, vectors[is_held], numbers[is_held])
    scaled = [_calibrated(logits[:, outcome], truth[is_held, outcome], truth[:, outcome]) for outcome in range(truth.shape[1])]
    curves = {name: [float(value) for value in values] for name, values in fitted.history.items()}
    return Propensities(network, np.array([slope for slope, _ in scaled]), np.array([shift for _, shift in scaled]), curves)


def _calibrated(logits: np.ndarray, held: np.ndarray, everything: np.ndarray) -> tuple[float, float]:
    if len(np.unique(everything)) < 2:
        rate = (everything.sum() + 1) / (len(everything) + 2)
        return 0.0, float(np.log(rate / (1 - rate)))
    return platt(logits, held)


def _logits(network: keras.Model, vectors: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    size = 8192
    blocks = [
        keras.ops.convert_to_numpy(network({"vector": vectors[at : at + size], "numbers": numbers[at : at + size]}, training=False))
        for at in range(0, len(vectors), size)
    ]
    return np.concatenate(blocks) if blocks else np.zeros((0, network.output.shape[-1]), np.float32)
