"""The shop's items as arrays in memory, as published for a day: what every rule of a recommendation reads, without a read per item."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.rules import Filters

if TYPE_CHECKING:
    import pandas as pd

KEPT_MASKS = 256  # answers to "which items may be shown", by filters

#: Why an item may not be shown, in the order in which rules are asked.
OUT_OF_STOCK, BLOCKED, CATEGORY, PRICE = "out of stock", "blocked", "category", "price"


@dataclass(frozen=True)
class ItemCard:
    """What a customer sees of an item."""

    item_id: str
    title: str | None
    category: str | None
    brand: str | None
    price: float | None
    in_stock: bool


@dataclass(frozen=True)
class Allowed:
    """Which items may be shown under some filters: `is_allowed` `(items,)`, how many, and how many of each top-level category."""

    is_allowed: np.ndarray
    count: int
    by_top: np.ndarray

    def room(self, cap: int) -> int:
        """Places that can be filled without more than `cap` of one category; items without a category are not limited."""
        return int(self.by_top[0] + np.minimum(self.by_top[1:], cap).sum()) if cap else self.count


@dataclass(frozen=True)
class ItemTable:
    """One row per item, in the order of `item_ids`; all arrays have shape `(items,)` but `vectors`, `(items, dim)`.

    `tops` numbers the top-level categories from 1, 0 where unknown; `paths` numbers whole category paths into `path_names`; `prices` is NaN
    where unknown; `by_popularity` are places by falling purchases of 30 days, then events of 30 days, then events ever, then id. Rows of
    `vectors` have length 1, or are zeros where nothing is known of an item; they compare within `vector_version`.
    """

    as_of: datetime
    item_ids: np.ndarray
    titles: np.ndarray
    brands: np.ndarray
    paths: np.ndarray
    path_names: np.ndarray
    tops: np.ndarray
    prices: np.ndarray
    in_stock: np.ndarray
    by_popularity: np.ndarray
    vectors: np.ndarray
    vector_version: str | None
    places: dict[str, int] = field(repr=False)
    _masks: OrderedDict[Filters, Allowed] = field(default_factory=OrderedDict, repr=False)

    def __len__(self) -> int:
        return len(self.item_ids)

    def places_of(self, item_ids: list[str]) -> np.ndarray:
        """The place of each id, -1 where the table does not have it."""
        return np.fromiter(map(self.places.get, item_ids, [-1] * len(item_ids)), np.int64, len(item_ids))

    def card(self, place: int, item_id: str | None = None) -> ItemCard:
        """The card at a place; an item that the table does not have, place -1, has only its id."""
        if place < 0:
            return ItemCard(str(item_id), None, None, None, None, True)
        price = float(self.prices[place])
        category = self.path_names[self.paths[place]]
        return ItemCard(
            self.item_ids[place],
            self.titles[place],
            category or None,
            self.brands[place],
            None if np.isnan(price) else price,
            bool(self.in_stock[place]),
        )

    def allowed(self, filters: Filters) -> Allowed:
        """Which items may be shown; kept for the filters that come often."""
        kept = self._masks.get(filters)
        if kept is None:
            is_allowed = ~np.logical_or.reduce(list(self._refused(filters).values()))
            by_top = np.bincount(self.tops[is_allowed], minlength=int(self.tops.max(initial=0)) + 1)
            kept = self._masks[filters] = Allowed(is_allowed, int(is_allowed.sum()), by_top)
            while len(self._masks) > KEPT_MASKS:
                self._masks.popitem(last=False)
        return kept

    def why_not(self, place: int, filters: Filters) -> str:
        """The first rule that refuses the item at `place`; a place of -1 is refused by what nobody knows of it."""
        if place < 0:
            return CATEGORY if filters.categories else PRICE
        return next(rule for rule, refused in self._refused(filters).items() if refused[place])

    def allows_unknown(self, filters: Filters, item_id: str) -> bool:
        """Whether an item that the table does not have may be shown: nothing is known of it but its id."""
        return item_id not in filters.blocked and not filters.categories and not filters.has_price_limit

    def _refused(self, filters: Filters) -> dict[str, np.ndarray]:
        """For every rule which items it refuses, `(items,)`."""
        blocked = np.zeros(len(self), bool)
        blocked[[place for item in filters.blocked if (place := self.places.get(item, -1)) >= 0]] = True
        is_inside = np.array([not filters.categories or _is_below(path, filters.categories) for path in self.path_names], bool)
        is_outside = np.array([not _is_below(path, filters.without_categories) for path in self.path_names], bool)
        price = np.zeros(len(self), bool)
        if filters.has_price_limit:
            price = ~((self.prices >= filters.price_min) & (self.prices <= filters.price_max))
        return {
            OUT_OF_STOCK: ~self.in_stock if filters.in_stock else np.zeros(len(self), bool),
            BLOCKED: blocked,
            CATEGORY: ~(is_inside & is_outside)[self.paths],
            PRICE: price,
        }


def table_of(as_of: datetime, items: pd.DataFrame, vectors: pd.DataFrame | None = None) -> ItemTable:
    """From the newest rows of `item_features` and of `item_vectors`; vectors of older versions are left out, since they do not compare."""
    from pandas import factorize

    columns = ["purchases_30d", "events_30d", "events_total"]
    items = items.sort_values("item_id").reset_index(drop=True)
    popular = items.sort_values([*columns, "item_id"], ascending=[False, False, False, True]).index.to_numpy(np.int64)
    paths, path_names = factorize(items["category"].fillna("").astype(object))
    path_names = np.asarray(path_names, object)
    heads = np.array([_head(path) for path in path_names], object)
    top_names = sorted(set(heads) - {""})
    top_of = {"": 0} | {name: number for number, name in enumerate(top_names, start=1)}
    tops = np.array([top_of[head] for head in heads], np.int64)
    item_ids = items["item_id"].to_numpy(object)
    places = dict(zip(item_ids.tolist(), range(len(item_ids)), strict=True))
    unit, version = _unit_vectors(vectors, places)
    return ItemTable(
        as_of,
        item_ids,
        _texts(items, "title"),
        _texts(items, "brand"),
        paths.astype(np.int64),
        path_names,
        tops[paths] if len(paths) else np.zeros(0, np.int64),
        items["price"].to_numpy(np.float64, na_value=np.nan),
        ~(items["in_stock"].eq(False).fillna(False).to_numpy(bool)),
        popular,
        unit,
        version,
        places,
    )


def _unit_vectors(vectors: pd.DataFrame | None, places: dict[str, int]) -> tuple[np.ndarray, str | None]:
    known = vectors.dropna(subset=["text_vector"]) if vectors is not None else None
    if known is None or not len(known):
        return np.zeros((len(places), 1), np.float32), None
    version = max(known["text_version"])
    known = known[(known["text_version"] == version) & known["item_id"].isin(places)]
    found = np.zeros((len(places), len(known["text_vector"].iloc[0]) if len(known) else 1), np.float32)
    if len(known):
        rows = np.stack(known["text_vector"].to_list()).astype(np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        found[[places[item] for item in known["item_id"]]] = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return found, version


def _texts(items: pd.DataFrame, name: str) -> np.ndarray:
    values: Any = items[name].astype(object)
    return values.where(values.notna(), None).to_numpy(object)


def _head(path: str) -> str:
    return path.split(">")[0].strip()


def _is_below(path: str, parents: tuple[str, ...]) -> bool:
    """Whether a category path is one of `parents` or lies below one."""
    steps = [step.strip() for step in path.split(">")]
    return any(steps[: len(wanted)] == wanted for wanted in ([step.strip() for step in parent.split(">")] for parent in parents))
