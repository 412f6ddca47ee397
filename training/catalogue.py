"""The items a shop sells, and their content as numbers: a new item has a place on its first day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo.text import fused
from feature_repo.text.known import MOST_HISTORIES
from feature_repo.text.tokens import tokens
from training.baselines import interactions
from training.histories import Histories

CATEGORY_LEVELS = 3
NEWEST = 100  # events of a user in which items are said to keep company


@dataclass(frozen=True)
class Catalogue:
    """Items in the order in which every score is given; all arrays have shape `(items,)`.

    `title`, `category` (path `a > b > c`), `brand` and `attributes` (`attribute=value` words, blank-separated) are str objects, ''
    where unknown; `price` is float32, NaN where unknown.
    """

    item_ids: np.ndarray
    title: np.ndarray
    category: np.ndarray
    brand: np.ndarray
    price: np.ndarray
    attributes: np.ndarray

    def __len__(self) -> int:
        return len(self.item_ids)

    def index_of(self, item_ids: np.ndarray) -> np.ndarray:
        """Place of each id in the catalogue, -1 where it is not in it; same shape, int64."""
        return self._index.get_indexer(pd.Index(np.asarray(item_ids, object)))

    @cached_property
    def _index(self) -> pd.Index:
        return pd.Index(self.item_ids)

    @property
    def top_category(self) -> np.ndarray:
        """First part of each category path, '' where unknown."""
        return np.array([path.split(">")[0].strip() for path in self.category], object)


@dataclass(frozen=True)
class ItemContent:
    """Content as numbers: `dense` `(items, dense)` float32, `category_ids` `(items, levels)`, `brand_ids` `(items,)`; id 0 is unknown."""

    dense: np.ndarray
    category_ids: np.ndarray
    brand_ids: np.ndarray


def catalogue_from_items(items: pa.Table | None, item_attributes: pa.Table | None, events_item_ids: Iterable[str]) -> Catalogue:
    """The catalogue of landing tables `items` and `item_attributes` (either may be absent) and of all items seen in events, sorted by id.

    Of an item delivered more than once the last row counts.
    """
    known = pd.DataFrame(columns=["title", "category", "brand", "price"])
    if items is not None and items.num_rows:
        known = items.to_pandas().drop_duplicates("item_id", keep="last").set_index("item_id").reindex(columns=known.columns)
    words = pd.Series(dtype=object)
    if item_attributes is not None and item_attributes.num_rows:
        rows = item_attributes.to_pandas().drop_duplicates(["item_id", "attribute", "value"])
        rows["word"] = (rows["attribute"] + "=" + rows["value"]).str.replace(" ", "_")
        words = rows.sort_values("word").groupby("item_id")["word"].agg(" ".join)
    item_ids = np.array(sorted({*known.index, *words.index, *events_item_ids}), object)
    known = known.reindex(item_ids)
    texts = {name: known[name].fillna("").astype(str).to_numpy(object) for name in ("title", "category", "brand")}
    price = pd.to_numeric(known["price"], errors="coerce").to_numpy(np.float32)
    return Catalogue(item_ids, **texts, price=price, attributes=words.reindex(item_ids).fillna("").to_numpy(object))


def content_of(catalogue: Catalogue, histories: Histories) -> ItemContent:
    """Numbers of the items' content: the fused vectors of words and company (`feature_repo.text.fused`, the model that is published as
    `item_vectors`, fitted on these histories alone), log price (standardised) and whether it is known."""
    log_price = np.log1p(np.clip(catalogue.price, 0, None))
    is_priced = np.isfinite(log_price)
    spread = log_price[is_priced].std() if is_priced.any() else 0.0
    standardised = (log_price - (log_price[is_priced].mean() if is_priced.any() else 0.0)) / (spread or 1.0)
    price = np.stack([np.where(is_priced, standardised, 0.0), is_priced], axis=1)
    dense = np.concatenate([_fused_vectors(catalogue, histories), price], axis=1).astype(np.float32)
    paths = [[part.strip() for part in path.split(">")] if path else [] for path in catalogue.category]
    category_ids = np.stack(
        [_ids([" > ".join(path[: level + 1]) if len(path) > level else "" for path in paths]) for level in range(CATEGORY_LEVELS)], axis=1
    )
    return ItemContent(dense, category_ids, _ids(catalogue.brand))


def _ids(values: Iterable[str]) -> np.ndarray:
    """1, 2, ... for the distinct values in sorted order, 0 for ''."""
    values = np.asarray(list(values), object)
    vocabulary = np.array(["", *sorted({value for value in values if value})], object)
    return pd.Index(vocabulary).get_indexer(pd.Index(values)).astype(np.int32)


def _fused_vectors(catalogue: Catalogue, histories: Histories) -> np.ndarray:
    """Vectors of words and company, `(items, dim)`: without words or company zeros, without company its words' guess."""
    documents = [
        [*tokens(title), *(word.casefold() for word in words.split())]
        for title, words in zip(catalogue.title, catalogue.attributes, strict=True)
    ]
    rows = [np.unique(catalogue.index_of(items[-NEWEST:])) for items in histories.item_ids]
    rows = [row[row >= 0] for row in rows]
    rows = [row for row in rows if len(row) > 1]
    chosen = np.random.default_rng(0).permutation(len(rows))[:MOST_HISTORIES]
    baskets = interactions([rows[row] for row in sorted(chosen)], len(catalogue))
    if not baskets.nnz and not any(documents):
        return np.zeros((len(catalogue), 0), np.float32)
    ids = catalogue.item_ids.tolist()
    return fused.fit(ids, documents, baskets).vectors(ids, documents)
