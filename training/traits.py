"""Declared traits inferred from behaviour: one calibrated softmax head per trait on the frozen encoder."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
from scipy.special import softmax

from training.calibration import temperature
from training.encoder import TrainedEncoder
from training.histories import Histories
from training.layers import RESERVED
from training.portrait_config import PortraitConfig
from training.windows import newest_steps, steps_of


@dataclass(frozen=True)
class TraitHead:
    """The head of one trait: `values` `(classes,)` in sorted order, the network that gives logits, the temperature that divides them."""

    values: list[str]
    network: keras.Model
    temperature: float


@dataclass(frozen=True)
class Traits:
    """Heads by trait, and in words why a declared trait has none."""

    encoder: TrainedEncoder
    heads: dict[str, TraitHead]
    skipped: dict[str, str]

    def predict_proba(self, histories: Histories) -> dict[str, tuple[list[str], np.ndarray]]:
        """For each trait its values and their probabilities, `(users, classes)`."""
        inputs = trait_inputs(self.encoder, histories)
        return {
            trait: (head.values, softmax(_logits(head.network, inputs) / head.temperature, axis=1)) for trait, head in self.heads.items()
        }


def trait_inputs(encoder: TrainedEncoder, histories: Histories) -> dict[str, np.ndarray]:
    """What the heads read: portrait `vector` and mean item vector `pooled` `(users, dim)`, `places` `(users, steps)`."""
    places = newest_steps(steps_of(histories, encoder.catalogue), encoder.config.sequence_length)["items"]
    return {"vector": encoder.vectors(histories), "pooled": encoder.pooled(histories), "places": places}


def build_trait_head(encoder: TrainedEncoder, classes: int, config: PortraitConfig, seed: int) -> keras.Model:
    """Logits `(batch, classes)`: a small network on vector and pooled items, plus the evidence of each item by itself.

    The evidence starts at zero and is averaged over the distinct steps; padding and unknown items carry none.
    """
    dim, steps = encoder.config.dim, encoder.config.sequence_length
    inputs = {
        "vector": keras.Input((dim,), name="vector"),
        "pooled": keras.Input((dim,), name="pooled"),
        "places": keras.Input((steps,), dtype="int32", name="places"),
    }

    def start(offset: int) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=seed + offset)

    both = keras.layers.Concatenate()([inputs["vector"], inputs["pooled"] * 4.0])
    hidden = keras.layers.Dense(config.hidden, activation="gelu", kernel_initializer=start(0))(
        keras.layers.Dropout(config.dropout, seed=seed)(both)
    )
    logits = keras.layers.Dense(classes, kernel_initializer=start(1))(keras.layers.Dropout(config.dropout, seed=seed + 1)(hidden))
    evidence = keras.layers.Embedding(len(encoder.catalogue) + RESERVED, classes, embeddings_initializer="zeros", name="evidence")
    is_item = keras.ops.cast(inputs["places"] >= RESERVED, "float32")[..., None]  # (batch, steps, 1)
    total = keras.ops.sum(evidence(inputs["places"]) * is_item, axis=1)
    return keras.Model(inputs, logits + total / keras.ops.sqrt(keras.ops.sum(is_item, axis=1) + 1.0))


def fit_traits(encoder: TrainedEncoder, histories: Histories, labels: pd.DataFrame, config: PortraitConfig, seed: int) -> Traits:
    """Heads for every trait of `labels` (`user_id`, `trait`, `value`) that has enough labels among the users of `histories`."""
    heads: dict[str, TraitHead] = {}
    skipped: dict[str, str] = {}
    users = pd.Index(histories.user_ids)
    inputs = trait_inputs(encoder, histories) if len(labels) else {}
    for number, (trait, rows) in enumerate(labels.dropna(subset=["user_id", "trait", "value"]).groupby("trait", sort=True)):
        rows = rows.drop_duplicates("user_id", keep="last")
        place = users.get_indexer(rows["user_id"])
        value = rows["value"].to_numpy(object)[place >= 0]
        place = place[place >= 0]
        values, counts = np.unique(value.astype(str), return_counts=True)
        values = values[counts >= config.min_value_labels]
        is_kept = np.isin(value, values)
        if len(values) < 2 or is_kept.sum() < config.min_labels:
            skipped[str(trait)] = (
                f"{int(is_kept.sum())} labels of {len(values)} values with at least {config.min_value_labels} labels each; "
                f"a head needs {config.min_labels} labels of two values"
            )
            continue
        truth = np.searchsorted(values, value[is_kept].astype(str))
        heads[str(trait)] = _fit_head(
            encoder, {name: rows[place[is_kept]] for name, rows in inputs.items()}, truth, list(values), config, seed + number
        )
    return Traits(encoder, heads, skipped)


def _fit_head(
    encoder: TrainedEncoder, inputs: dict[str, np.ndarray], truth: np.ndarray, values: list[str], config: PortraitConfig, seed: int
) -> TraitHead:
    """Fits until the log-loss of the calibration part stops falling, and takes the temperature from there."""
    keras.utils.set_random_seed(seed)
    network = build_trait_head(encoder, len(values), config, seed)
    order = np.random.default_rng(seed).permutation(len(truth))
    held = order[: int(config.calibration_share * len(truth))]
    fitted = order[len(held) :]
    network.compile(
        optimizer=keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
        steps_per_execution=max(1, min(16, len(fitted) // config.batch)),
    )

    def part(rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values[rows] for name, values in inputs.items()}

    stop = keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    network.fit(
        part(fitted),
        truth[fitted],
        validation_data=(part(held), truth[held]),
        batch_size=config.batch,
        epochs=config.trait_epochs,
        callbacks=[stop],
        verbose=0,
    )
    return TraitHead(values, network, temperature(_logits(network, part(held)), truth[held]))


def _logits(network: keras.Model, inputs: dict[str, np.ndarray]) -> np.ndarray:
    size = 4096
    blocks = [
        keras.ops.convert_to_numpy(network({name: values[start : start + size] for name, values in inputs.items()}, training=False))
        for start in range(0, len(inputs["vector"]), size)
    ]
    return np.concatenate(blocks) if blocks else np.zeros((0, network.output.shape[-1]), np.float32)
