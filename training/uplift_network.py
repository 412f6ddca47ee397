"""The networks of the T-learner: one per arm, fitted together, each on the rows of its own arm alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from training.numbers import NumberEncoder
from training.signatures import USER_FEATURES
from training.uplift_config import UpliftConfig


@dataclass(frozen=True)
class Covariates:
    """Names and types of what the networks read, frozen when they were fitted.

    `numbers` are USER_FEATURES and then the shop's own numeric covariates; `words` maps its string covariates to the values known, whose
    numbers start at 1; 0 is any other value.
    """

    numbers: tuple[str, ...]
    words: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, frame: pd.DataFrame, covariates: list[str], max_values: int) -> Covariates:
        """The covariates as typed in `frame`: what pandas holds as a number (or truth value) is a number, the rest are strings."""
        numeric = [name for name in covariates if pd.api.types.is_numeric_dtype(frame[name])]
        strings = [name for name in covariates if name not in numeric]
        words = {}
        for name in strings:
            counts = frame[name].dropna().astype(str).value_counts()
            words[name] = tuple(sorted(sorted(counts.index, key=lambda value: (-counts[value], value))[:max_values]))
        return cls((*USER_FEATURES, *numeric), words)

    def inputs(self, frame: pd.DataFrame, vectors: np.ndarray | None) -> dict[str, np.ndarray]:
        """The networks' inputs; a column that `frame` lacks is unknown."""
        found = frame.reindex(columns=list(self.numbers)).astype(np.float32)
        inputs: dict[str, np.ndarray] = {"numbers": found.to_numpy(np.float32)}
        if self.words:
            columns = [
                frame[name].astype(str).map({value: place for place, value in enumerate(values, start=1)}).fillna(0)
                for name, values in self.words.items()
            ]
            inputs["words"] = np.stack([column.to_numpy(np.int32) for column in columns], axis=1)
        if vectors is not None:
            inputs["vector"] = vectors
        return inputs


def build_uplift_network(
    covariates: Covariates, dim: int, arms: int, outcomes: int, number_encoder: NumberEncoder, config: UpliftConfig, seed: int
) -> keras.Model:
    """Logits `(batch, arms, outcomes)`; `dim` is the portrait vector's, 0 without one."""
    inputs = {"numbers": keras.Input((len(covariates.numbers),), name="numbers")}
    parts = [number_encoder(inputs["numbers"])]
    if covariates.words:
        inputs["words"] = keras.Input((len(covariates.words),), dtype="int32", name="words")
        parts += [ops.one_hot(inputs["words"][:, place], len(values) + 1) for place, values in enumerate(covariates.words.values())]
    if dim:
        inputs["vector"] = keras.Input((dim,), name="vector")
        parts.append(inputs["vector"])
    both = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]

    def arm(number: int) -> Any:
        def start(offset: int) -> keras.initializers.Initializer:
            return keras.initializers.GlorotUniform(seed=seed + 10 * number + offset)

        hidden = keras.layers.Dense(config.hidden, activation="gelu", kernel_initializer=start(0), name=f"arm_{number}_hidden")(both)
        hidden = keras.layers.Dropout(config.dropout, seed=seed + 10 * number + 2)(hidden)
        return keras.layers.Dense(outcomes, kernel_initializer=start(1), name=f"arm_{number}_out")(hidden)[:, None]

    return keras.Model(inputs, keras.layers.Concatenate(axis=1)([arm(number) for number in range(arms)]))


def outcome_loss(is_binary: np.ndarray) -> Any:
    """Cross-entropy of 0/1 outcomes and half the squared error of amounts, over the known outcomes of a row's own arm.

    `y_true` `(batch, arms, outcomes, 2)` holds the outcome and whether it counts, `y_pred` `(batch, arms, outcomes)` the logits.
    """

    def loss(y_true: Any, y_pred: Any) -> Any:
        truth, counts = y_true[..., 0], y_true[..., 1]
        entropy = ops.softplus(y_pred) - truth * y_pred
        losses = ops.where(ops.convert_to_tensor(is_binary), entropy, 0.5 * ops.square(y_pred - truth))
        return ops.sum(losses * counts, axis=(1, 2))

    return loss
