"""The items a shop sells, and their content as numbers: a new item has a place on its first day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

CATEGORY_LEVELS = 3


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


def content_of(catalogue: Catalogue, text_dim: int, seed: int) -> ItemContent:
    """Numbers of the items' content: `text_dim` SVD dimensions of TF-IDF words, log price (standardised) and whether it is known."""
    log_price = np.log1p(np.clip(catalogue.price, 0, None))
    is_priced = np.isfinite(log_price)
    spread = log_price[is_priced].std() if is_priced.any() else 0.0
    standardised = (log_price - (log_price[is_priced].mean() if is_priced.any() else 0.0)) / (spread or 1.0)
    price = np.stack([np.where(is_priced, standardised, 0.0), is_priced], axis=1)
    dense = np.concatenate([_text_vectors(catalogue, text_dim, seed), price], axis=1).astype(np.float32)
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


def _text_vectors(catalogue: Catalogue, text_dim: int, seed: int) -> np.ndarray:
    """Truncated SVD of TF-IDF of title and attributes, rows of unit length or zero, `(items, text_dim)`."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    vectors = np.zeros((len(catalogue), text_dim), np.float32)
    texts = [f"{title} {words}".strip() for title, words in zip(catalogue.title, catalogue.attributes, strict=True)]
    if not any(texts):
        return vectors
    words = TfidfVectorizer(token_pattern=r"[^\s,.;:()]{2,}", max_features=50_000, sublinear_tf=True, dtype=np.float32).fit_transform(texts)
    if words.shape[1] <= text_dim:
        vectors[:, : words.shape[1]] = words.toarray()
        return vectors
    if len(catalogue) <= text_dim:  # fewer items than dimensions: no decomposition is needed to tell them apart
        vectors[:, : len(catalogue)] = (words @ words.T).toarray()
        return vectors
    return normalize(TruncatedSVD(text_dim, random_state=seed).fit_transform(words)).astype(np.float32)
