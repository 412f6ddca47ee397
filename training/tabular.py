"""A network for rows of numbers and categories: one network that is many (TabM, Gorishniy et al. 2025), in `keras.ops` only.

`fit_tabular` fits it with early stopping on rows kept out, once for each of several parts kept out, and averages them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from training.metrics import row_logloss
from training.splits import folds_of


@dataclass(frozen=True)
class TabularConfig:
    """How the network is built and learns. The defaults are customary values and were tuned on nothing."""

    members: int = 16
    bins: int = 32  # of a number, at its quantiles
    number_dim: int = 12
    category_dim: int = 8
    hidden: int = 192
    layers: int = 2
    dropout: float = 0.15
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    batch: int = 256
    epochs: int = 100
    patience: int = 10
    parts: int = 5  # networks, each stopped on another part of the rows
    is_compiled: bool = True  # by XLA, which costs seconds a network and pays from some ten thousand rows on

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class QuantileEncoder(keras.layers.Layer):
    """Numbers as embeddings: `(rows, numbers)` gives `(rows, numbers, dim)`; NaN is unknown, with an embedding of its own.

    A number becomes how far it fills each of its bins, 0 to 1 (piecewise-linear encoding, Gorishniy et al. 2022), then a linear map of
    its own and ReLU. `edges` `(numbers, bins + 1)` are rising; equal neighbours make an empty bin.
    """

    def __init__(self, numbers: int, bins: int, dim: int, seed: int, edges: np.ndarray | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.numbers, self.bins, self.dim, self.seed, self._edges = numbers, bins, dim, seed, edges

    def build(self, _shape: Any) -> None:
        start = keras.initializers.RandomUniform(-1 / self.bins**0.5, 1 / self.bins**0.5, seed=self.seed)
        self.edges = self.add_weight(shape=(self.numbers, self.bins + 1), initializer="zeros", trainable=False, name="edges")
        self.kernel = self.add_weight(shape=(self.numbers, self.bins + 1, self.dim), initializer=start, name="kernel")
        self.bias = self.add_weight(shape=(self.numbers, self.dim), initializer="zeros", name="bias")
        if self._edges is not None:
            self.edges.assign(self._edges)

    def call(self, values: Any) -> Any:
        encoded = filled_bins(values, self.edges)  # (rows, numbers, bins + 1)
        return ops.relu(ops.einsum("rnb,nbd->rnd", encoded, self.kernel) + self.bias)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in ("numbers", "bins", "dim", "seed")}}


def filled_bins(values: Any, edges: Any) -> Any:
    """How far `values` `(rows, numbers)` fill the bins between their `edges`, and whether each is unknown: `(rows, numbers, bins + 1)`."""
    is_known = ops.isfinite(values)
    low, high = edges[:, :-1], edges[:, 1:]
    filled = (ops.where(is_known, values, 0.0)[..., None] - low) / ops.maximum(high - low, 1e-9)
    filled = ops.clip(filled, 0.0, 1.0) * ops.cast(high > low, "float32")  # (rows, numbers, bins)
    known = ops.cast(is_known, "float32")[..., None]
    return ops.concatenate([filled * known, 1.0 - known], axis=-1)


def quantile_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Rising float32 edges `(numbers, bins + 1)` at the quantiles of `(rows, numbers)`; zeros for a number that is never known."""
    found = [column[np.isfinite(column)] for column in values.T]
    at = np.linspace(0, 1, bins + 1)
    return np.array([np.quantile(column, at) if len(column) else np.zeros(bins + 1) for column in found], np.float32)


class EnsembleDense(keras.layers.Layer):
    """`members` dense layers that share one matrix: `((x * r) W) * s + b`, `(rows, members, in)` to `(rows, members, units)`.

    BatchEnsemble (Wen et al. 2020). `r` starts at random signs where `is_first`, so that the members differ; else at 1.
    """

    def __init__(self, members: int, units: int, is_first: bool, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.members, self.units, self.is_first, self.seed = members, units, is_first, seed

    def build(self, shape: Any) -> None:
        size = shape[-1]
        width = size**-0.5
        uniform = keras.initializers.RandomUniform(-width, width, seed=self.seed)
        self.kernel = self.add_weight(shape=(size, self.units), initializer=uniform, name="kernel")
        self.r = self.add_weight(shape=(self.members, size), initializer="ones", name="r")
        self.s = self.add_weight(shape=(self.members, self.units), initializer="ones", name="s")
        self.bias = self.add_weight(shape=(self.members, self.units), initializer="zeros", name="bias")
        if self.is_first:
            self.r.assign(np.random.default_rng(self.seed).choice([-1.0, 1.0], (self.members, size)))

    def call(self, inputs: Any) -> Any:
        return ops.matmul(inputs * self.r, self.kernel) * self.s + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in ("members", "units", "is_first", "seed")}}


def build_tabular(numbers: np.ndarray, categories: list[int], classes: int, config: TabularConfig, seed: int) -> keras.Model:
    """Logits `(rows, members, classes)` from `numbers` `(rows, numbers)` float32 and `categories` `(rows, columns)` int32.

    `numbers` here are the rows that set the bins; `categories` how many codes each column has, 0 the unknown one among them.
    """
    inputs = {
        "numbers": keras.Input((numbers.shape[1],), name="numbers"),
        "categories": keras.Input((len(categories),), dtype="int32", name="categories"),
    }
    parts = []
    if numbers.shape[1]:
        edges = quantile_edges(numbers, config.bins)
        encoder = QuantileEncoder(numbers.shape[1], config.bins, config.number_dim, seed, edges, name="numbers_encoder")
        parts.append(keras.layers.Flatten()(encoder(inputs["numbers"])))
    for column, size in enumerate(categories):
        start = keras.initializers.RandomNormal(stddev=0.3, seed=seed + 100 + column)
        embedding = keras.layers.Embedding(size, config.category_dim, embeddings_initializer=start, name=f"category_{column}")
        parts.append(embedding(inputs["categories"][:, column]))
    row = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    states = keras.layers.RepeatVector(config.members)(row)  # (rows, members, width)
    for layer in range(config.layers):
        dense = EnsembleDense(config.members, config.hidden, layer == 0, seed + 200 + layer, name=f"dense_{layer}")
        states = keras.layers.Dropout(config.dropout, seed=seed + 300 + layer)(keras.layers.Activation("relu")(dense(states)))
    heads = keras.layers.EinsumDense(
        "rmd,mdc->rmc", (config.members, classes), bias_axes="mc", kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 400)
    )
    return keras.Model(inputs, heads(states), name="tabular")


class MeanMemberLoss(keras.losses.Loss):
    """Mean cross-entropy over the members: each learns by itself, none leans on the others."""

    def call(self, truth: Any, logits: Any) -> Any:
        wanted = ops.one_hot(ops.cast(ops.reshape(truth, (-1,)), "int32"), logits.shape[-1])
        return -ops.mean(ops.sum(ops.log_softmax(logits, axis=-1) * wanted[:, None], axis=-1), axis=-1)


@dataclass(frozen=True)
class Tabular:
    """Networks fitted on different parts of the rows; their probabilities are averaged over members and networks.

    `sizes` are the codes a column had while learning, 0 included; a code beyond them is unknown.
    """

    networks: list[keras.Model]
    sizes: list[int]

    def predict_proba(self, numbers: np.ndarray, categories: np.ndarray) -> np.ndarray:
        """Probabilities `(rows, classes)`."""
        known = np.where(categories < np.array(self.sizes, np.int32), categories, 0)
        return np.mean([_probabilities(network, numbers, known) for network in self.networks], axis=0)


def fit_tabular(
    numbers: np.ndarray,
    categories: np.ndarray,
    truth: np.ndarray,
    config: TabularConfig,
    seed: int,
    log: Callable[[str], None] | None = None,
    part_of: np.ndarray | None = None,
) -> Tabular:
    """Networks for class numbers `truth` `(rows,)`, each fitted without one of `config.parts` parts and kept at its best log-loss there.

    `part_of` `(rows,)` says which part a row is in, where rows that belong together must not be told apart; else rows are drawn by seed.
    """
    classes = int(truth.max()) + 1
    sizes = [int(column.max(initial=0)) + 1 for column in categories.T]
    part_of = folds_of(truth, config.parts, seed) if part_of is None else part_of
    networks = []
    for part in range(config.parts):
        keras.utils.set_random_seed(seed + part)
        learn, held = part_of != part, part_of == part
        network = build_tabular(numbers[learn], sizes, classes, config, seed + 1000 * part)
        network.compile(
            optimizer=keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay),
            loss=MeanMemberLoss(),
            jit_compile=config.is_compiled,
            steps_per_execution=8,
        )
        stop = _BestLoss(numbers[held], categories[held], truth[held], config.patience)
        size = int(learn.sum()) // config.batch * config.batch or int(learn.sum())  # whole batches: XLA compiles one shape
        order = np.random.default_rng(seed + part).permutation(np.flatnonzero(learn))[:size]
        network.fit(
            {"numbers": numbers[order], "categories": categories[order]},
            truth[order],
            batch_size=min(config.batch, size),
            epochs=config.epochs,
            callbacks=[stop],
            verbose=0,
        )
        networks.append(network)
        if log:
            log(f"network {part + 1} of {config.parts}: log-loss {stop.best:.4f} on rows kept out, epoch {stop.best_epoch + 1}")
    return Tabular(networks, sizes)


class _BestLoss(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the least log-loss of the averaged members, and stops `patience` epochs after it."""

    def __init__(self, numbers: np.ndarray, categories: np.ndarray, truth: np.ndarray, patience: int) -> None:
        super().__init__()
        self._rows, self._truth, self._patience = (numbers, categories), truth, patience
        self.best, self.best_epoch, self._weights = np.inf, 0, None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss = float(row_logloss(self._truth, _probabilities(self.model, *self._rows)).mean())
        if loss < self.best:
            self.best, self.best_epoch, self._weights = loss, epoch, self.model.get_weights()
        elif epoch - self.best_epoch >= self._patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._weights is not None:
            self.model.set_weights(self._weights)


def _probabilities(network: keras.Model, numbers: np.ndarray, categories: np.ndarray) -> np.ndarray:
    size = 4096
    found = []
    for start in range(0, len(numbers), size):
        rows = {"numbers": numbers[start : start + size], "categories": categories[start : start + size]}
        found.append(ops.convert_to_numpy(ops.mean(ops.softmax(network(rows, training=False), axis=-1), axis=1)))
    return np.concatenate(found) if found else np.zeros((0, network.output.shape[-1]), np.float32)
