"""Keras layers of the encoder, in `keras.ops` only: they run on the TensorFlow and on the JAX backend.

Item places in every layer: 0 is padding, 1 to `BUCKETS` an item outside the catalogue, by the hash of its id, `RESERVED` and up the items
of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from training.catalogue import CATEGORY_LEVELS, ItemContent
from training.hashing import buckets_of

BUCKETS = 16  # of ids that no event has shown
RESERVED = 1 + BUCKETS  # places before the first item
IDS = CATEGORY_LEVELS + 3  # columns of the table that hold ids


def unknown_places(item_ids: Iterable[str]) -> np.ndarray:
    """The places of items outside the catalogue, `(items,)` int32 in `1 .. BUCKETS`."""
    return 1 + buckets_of(item_ids, BUCKETS)


def content_table(content: ItemContent, is_seen: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """One float32 row per place, `(items + RESERVED, IDS + dense)`: id row, bucket row, category ids, brand id, dense content.

    The bucket row is the place that an item would have outside the catalogue, `unknown` `(items,)`; items never seen in an event have it
    as their id row too, and differ by content. Ids are kept as floats (exact up to 16 million) so that one table, one gather and one
    variable on any device serve them all.
    """
    id_row = np.where(is_seen, np.arange(len(is_seen)) + RESERVED, unknown)
    rows = np.column_stack([id_row, unknown, content.category_ids, content.brand_ids, content.dense]).astype(np.float32)
    reserved = np.zeros((RESERVED, rows.shape[1]), np.float32)
    reserved[:, :2] = np.arange(RESERVED)[:, None]
    return np.concatenate([reserved, rows])


def unit(vectors: Any) -> Any:
    """Vectors scaled to length 1; the zero vector stays zero."""
    return vectors / ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-12)


class StepEncoder(keras.layers.Layer):
    """The sum of one learned vector for each of several small numbers of a step: `sizes[n]` vectors `(dim,)` for input `n`.

    Called on a list of int tensors `(...)`, gives `(..., dim)`. One product with one-hot rows: the gradient of a gather would add
    thousands of times to the same few rows, one after the other.
    """

    def __init__(self, sizes: list[int], dim: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes, self.dim, self.seed = sizes, dim, seed

    def build(self, _shapes: Any) -> None:
        start = keras.initializers.RandomNormal(stddev=0.05, seed=self.seed)
        self.table = self.add_weight(shape=(sum(self.sizes), self.dim), initializer=start, name="table")

    def call(self, numbers: list[Any]) -> Any:
        hot = [ops.one_hot(given, size, dtype=self.compute_dtype) for given, size in zip(numbers, self.sizes, strict=True)]
        return ops.matmul(ops.concatenate(hot, axis=-1), self.table)

    def compute_output_shape(self, shapes: Any) -> tuple[int | None, ...]:
        return (*shapes[0], self.dim)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sizes": self.sizes, "dim": self.dim, "seed": self.seed}


class ItemEncoder(keras.layers.Layer):
    """Vectors of items by id and by content, `(..., dim)`, from places `(...)`; padding is the zero vector.

    `vector = id embedding + category embeddings (one per level) + brand embedding + W dense content`. While training, a share
    `id_dropout` of the items is given its bucket's id embedding, as if it had not been seen before.
    """

    def __init__(
        self,
        places: int,
        columns: int,
        categories: int,
        brands: int,
        dim: int,
        id_dropout: float,
        seed: int,
        table: np.ndarray | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.places, self.columns, self.categories, self.brands, self.dim, self.id_dropout, self.seed = (
            places,
            columns,
            categories,
            brands,
            dim,
            id_dropout,
            seed,
        )
        self._table = table
        self._random = keras.random.SeedGenerator(seed)

    def build(self, _shape: Any) -> None:
        def start(offset: int, scale: float = 0.05) -> keras.initializers.Initializer:
            return keras.initializers.RandomNormal(stddev=scale, seed=self.seed + offset)

        zeros = keras.initializers.Zeros()
        # Not cast under a half-precision policy: it holds ids.
        self.table = self.add_weight(shape=(self.places, self.columns), initializer=zeros, trainable=False, autocast=False, name="table")
        if self._table is not None:
            self.table.assign(self._table)
        # Not cast either: gradients of gathered rows are added up in float32.
        self.id_embedding = self.add_weight(shape=(self.places, self.dim), initializer=start(0), autocast=False, name="id_embedding")
        self.category_embedding = self.add_weight(
            shape=(self.categories, self.dim), initializer=start(1), autocast=False, name="category_embedding"
        )
        self.brand_embedding = self.add_weight(shape=(self.brands, self.dim), initializer=start(2), autocast=False, name="brand_embedding")
        dense = self.columns - IDS
        self.dense_kernel = self.add_weight(shape=(dense, self.dim), initializer=start(3), name="dense_kernel")

    def call(self, places: Any, training: bool = False) -> Any:
        return ops.cast(self.vectors(places, training), self.compute_dtype)

    def vectors(self, places: Any, training: bool = False) -> Any:
        """What a call gives, float32 under every policy."""
        rows = ops.take(self.table, places, axis=0)  # (..., columns)
        ids = ops.cast(rows[..., :IDS], "int32")
        id_rows, bucket_rows, category_ids, brand_ids = ids[..., 0], ids[..., 1], ids[..., 2:-1], ids[..., -1]
        if training and self.id_dropout:
            is_dropped = keras.random.uniform(ops.shape(id_rows), seed=self._random) < self.id_dropout
            id_rows = ops.where(is_dropped, bucket_rows, id_rows)
        vectors = ops.take(self.id_embedding, id_rows, axis=0)
        dense, kernel = (ops.cast(part, self.compute_dtype) for part in (rows[..., IDS:], self.dense_kernel))
        vectors += ops.cast(ops.matmul(dense, kernel), vectors.dtype)
        known_category = ops.cast(category_ids > 0, vectors.dtype)[..., None]  # (..., levels, 1)
        vectors += ops.sum(ops.take(self.category_embedding, category_ids, axis=0) * known_category, axis=-2)
        vectors += ops.take(self.brand_embedding, brand_ids, axis=0) * ops.cast(brand_ids > 0, vectors.dtype)[..., None]
        return vectors * ops.cast(places > 0, vectors.dtype)[..., None]

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*shape, self.dim)

    def get_config(self) -> dict[str, Any]:
        names = ("places", "columns", "categories", "brands", "dim", "id_dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class ItemTable(keras.layers.Layer):
    """Vectors of all places, `(places, dim)` float32: where a batch holds more events than there are items, each item is encoded once.

    The call takes any tensor and ignores it: functional models need an input.
    """

    def __init__(self, item_encoder: ItemEncoder, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.item_encoder = item_encoder

    def call(self, _any: Any, training: bool = False) -> Any:
        return self.item_encoder.vectors(ops.arange(self.item_encoder.places, dtype="int32"), training)

    def compute_output_shape(self, _shape: Any) -> tuple[int, int]:
        return (self.item_encoder.places, self.item_encoder.dim)
