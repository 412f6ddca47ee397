"""Items like an item: by the vectors of what is said of items and of the company they keep in histories (Feast's `item_vectors`)."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from serving.errors import UnknownItem
from serving.item_table import ItemCard
from serving.shop_front import ShopFront, checked_k, front


@dataclass(frozen=True)
class SimilarItem:
    """One place, from rank 1; `similarity` is the cosine of the items' vectors, None for what stands in by popularity."""

    rank: int
    card: ItemCard
    similarity: float | None


@dataclass(frozen=True)
class Similar:
    """Items like `item`: `source` is `vectors` or `popularity`, `note` says why when it is not by vectors."""

    item: ItemCard
    items: tuple[SimilarItem, ...]
    source: str
    note: str | None
    vector_version: str | None
    as_of: datetime


def similar(item_id: str, k: int = 10, *, shop: ShopFront | None = None) -> Similar:
    """The `k` items nearest to one, of those that the shop's filters let through; fewer only where the catalogue has no more.

    Items without a vector stand in last, the most popular of the same top-level category first; all of them do where the item itself has no
    vector. UnknownItem where the shop never delivered the item.
    """
    shop = shop or front()
    checked_k(k)
    table = shop.item_table()
    place = table.places.get(item_id)
    if place is None:
        raise UnknownItem(item_id)
    is_open = table.allowed(shop.rules().filters).is_allowed.copy()
    is_open[place] = False
    has_vector = bool(table.vectors[place].any())
    nearest: list[tuple[int, float | None]] = []
    if has_vector:
        cosines = np.where(is_open, table.vectors @ table.vectors[place], -np.inf)
        best = np.argpartition(-cosines, min(k, len(cosines) - 1))[: k + 1] if len(cosines) > k else np.arange(len(cosines))
        ranked = sorted((index for index in best.tolist() if cosines[index] > 0), key=lambda index: (-cosines[index], index))
        nearest = [(index, float(cosines[index])) for index in ranked[:k]]
        is_open[[index for index, _ in nearest]] = False
    popular = table.by_popularity[is_open[table.by_popularity]]
    alike = table.tops[popular] == table.tops[place]
    spares = np.concatenate([popular[alike], popular[~alike]])[: k - len(nearest)]
    nearest += [(int(index), None) for index in spares]
    items = tuple(SimilarItem(rank, table.card(index), cosine) for rank, (index, cosine) in enumerate(nearest, start=1))
    note = None if has_vector else "nothing is known of this item to compare: popular items of its category instead"
    return Similar(table.card(place), items, "vectors" if has_vector else "popularity", note, table.vector_version, table.as_of)
