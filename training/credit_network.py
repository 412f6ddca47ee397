"""The credit network: many small networks that share matrices (TabM, Gorishniy et al. 2025), in groups that share nothing.

A group learns without its own part of the rows and is stopped by them, so that every row has been judged by a group that never saw it;
all groups learn at once, on the same batches. `keras.ops` only.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from training.credit_config import CreditConfig
from training.credit_series import Series, series_features
from training.tabular import filled_bins


class CreditEnsemble(keras.layers.Layer):
    """Raw numbers `(rows, numbers)`, NaN where unknown, and the codes of words `(rows, words)` give logits `(rows, groups, members)`.

    Numbers, and what their series sum up to, become how far they fill their bins and then an embedding (piecewise-linear encoding,
    Gorishniy et al. 2022). A member differs from its group by scales of its own before and after each matrix (BatchEnsemble, Wen et al.
    2020). `sizes` are the codes of each word, 0 the unknown one among them; `numbers` counts the series' columns, too.
    """

    def __init__(self, numbers: int, sizes: list[int], series: dict[str, Any], config: dict[str, Any], seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.numbers, self.sizes, self.series, self.config, self.seed = numbers, sizes, series, config, seed
        self._series, self._config = Series(**series), CreditConfig(**config)

    def build(self, _shape: Any) -> None:
        config, draw = self._config, np.random.default_rng(self.seed)
        groups, members = config.groups, config.members
        width = self.numbers * config.number_dim + sum(self.sizes)

        def weight(name: str, shape: tuple[int, ...], spread: float | None = None, start: float = 0.0, **more: Any) -> Any:
            made = self.add_weight(shape=shape, initializer=keras.initializers.Constant(start), name=name, **more)
            if spread is not None:
                made.assign(draw.uniform(-spread, spread, shape))
            return made

        self.edges = weight("edges", (self.numbers, config.bins + 1), trainable=False)
        spread = (config.bins + 1) ** -0.5
        self.number_kernel = weight("number_kernel", (groups, self.numbers, config.bins + 1, config.number_dim), spread)
        self.number_bias = weight("number_bias", (groups, self.numbers, config.number_dim))
        self.projection = weight("projection", (groups, width, config.projected), width**-0.5)
        self.dense = []
        for layer, size in enumerate([config.projected, *[config.hidden] * (config.layers - 1)]):
            kernel = weight(f"kernel_{layer}", (groups, size, config.hidden), size**-0.5)
            before = weight(f"before_{layer}", (groups, 1, members, size), start=1.0)
            if layer == 0:  # random signs: the members start apart
                before.assign(draw.choice([-1.0, 1.0], before.shape))
            after = weight(f"after_{layer}", (groups, 1, members, config.hidden), start=1.0)
            self.dense.append((kernel, before, after, weight(f"bias_{layer}", (groups, 1, members, config.hidden))))
        self.head = weight("head", (groups, 1, members, config.hidden), config.hidden**-0.5)
        self.head_bias = weight("head_bias", (groups, 1, members))
        self.drops = [keras.layers.Dropout(config.dropout, seed=self.seed + layer) for layer in range(config.layers)]

    def adapt(self, numbers: np.ndarray) -> None:
        """Sets the bins' edges from raw numbers `(rows, numbers)`."""
        derived = ops.convert_to_numpy(series_features(ops.convert_to_tensor(numbers), self._series))
        self.edges.assign(edges_of(derived, self._config.bins))

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        config = self._config
        numbers = series_features(inputs["numbers"], self._series)  # (rows, all numbers)
        filled = filled_bins(numbers, self.edges)  # (rows, all numbers, bins + 1)
        embedded = ops.relu(ops.einsum("rnb,gnbd->grnd", filled, self.number_kernel) + self.number_bias[:, None])
        row = ops.reshape(embedded, (config.groups, -1, self.numbers * config.number_dim))  # (groups, rows, numbers * dim)
        if self.sizes:
            codes = [ops.one_hot(inputs["words"][:, place], size) for place, size in enumerate(self.sizes)]
            words = ops.concatenate(codes, axis=-1)[None]  # (1, rows, values)
            row = ops.concatenate([row, ops.repeat(words, config.groups, axis=0)], axis=-1)
        states = ops.matmul(row, self.projection)[:, :, None]  # (groups, rows, 1, projected)
        for (kernel, before, after, bias), drop in zip(self.dense, self.drops, strict=True):
            scaled = ops.reshape(states * before, (config.groups, -1, kernel.shape[1]))  # (groups, rows * members, in)
            mixed = ops.reshape(ops.matmul(scaled, kernel), (config.groups, -1, config.members, config.hidden))
            states = drop(ops.relu(mixed * after + bias), training=training)  # (groups, rows, members, hidden)
        logits = ops.sum(states * self.head, axis=-1) + self.head_bias  # (groups, rows, members)
        return ops.transpose(logits, (1, 0, 2))

    def compute_output_shape(self, shape: Any) -> tuple[Any, ...]:
        return (shape["numbers"][0], self._config.groups, self._config.members)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in ("numbers", "sizes", "series", "config", "seed")}}


def build_credit(numbers: np.ndarray, sizes: list[int], series: Series, config: CreditConfig, seed: int) -> keras.Model:
    """Logits `(rows, groups, members)`; the raw `numbers` `(rows, numbers)` set the bins."""
    inputs = {
        "numbers": keras.Input((numbers.shape[1],), name="numbers"),
        "words": keras.Input((len(sizes),), dtype="int32", name="words"),
    }
    ensemble = CreditEnsemble(numbers.shape[1] + series.columns, sizes, series.to_dict(), config.to_dict(), seed, name="ensemble")
    model = keras.Model(inputs, ensemble(inputs), name="credit")
    ensemble.adapt(numbers)
    return model


def edges_of(values: np.ndarray, bins: int) -> np.ndarray:
    """Rising float32 edges `(numbers, bins + 1)`: a number's own values where they are few, else its quantiles; zeros if never known.

    Where fewer edges are needed the last is repeated, and the bins between equal edges stay empty.
    """
    edges = np.zeros((values.shape[1], bins + 1), np.float32)
    for place, column in enumerate(values.T):
        known = column[np.isfinite(column)]
        distinct = np.unique(known)
        if len(distinct) > bins + 1:
            distinct = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)))
        if len(distinct):
            edges[place] = np.pad(distinct, (0, bins + 1 - len(distinct)), mode="edge")
    return edges


class TaughtLoss(keras.losses.Loss):
    """Cross-entropy of each member by itself, over the groups that may learn from the row, summed over groups.

    `truth` `(rows, 1 + groups)` holds the outcome and then 1 for each group that may; `logits` are `(rows, groups, members)`.
    """

    def call(self, truth: Any, logits: Any) -> Any:
        entropy = ops.softplus(logits) - truth[:, :1, None] * logits
        return ops.sum(ops.mean(entropy, axis=-1) * truth[:, 1:], axis=-1)
