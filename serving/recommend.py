"""Recommendations: online features -> the served recommender -> the shop's rules -> a ranked list with titles."""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from serving.errors import NotServed
from serving.model_inputs import history_inputs
from serving.shop_front import ItemCard, ShopFront, checked_k, front
from training.signatures import RECOMMENDER

#: Event types after which an item is not recommended again.
HAD_TYPES = frozenset({"purchase", "rate"})


@dataclass(frozen=True)
class RecommendedItem:
    """One place of the list, from rank 1; `score` is the model's logit, or None in a list by popularity."""

    rank: int
    card: ItemCard
    score: float | None


@dataclass(frozen=True)
class Recommendations:
    """A ranked list and where it came from: `source` is `model` or `popularity`, `note` says why when it is not the model's own."""

    user_id: str
    items: tuple[RecommendedItem, ...]
    source: str
    note: str | None
    model_version: int | None
    as_of: datetime
    features_at: datetime | None


def recommend(user_id: str, k: int = 10, *, shop: ShopFront | None = None) -> Recommendations:
    """The `k` best items that the user has not had and that are in stock; fewer only where the catalogue has no more.

    An unknown user, and any user while the model is away, gets the popular items, and `note` says so.
    """
    shop = shop or front()
    checked_k(k)
    as_of = shop.clock()
    row = shop.user_row(RECOMMENDER.feature_service, user_id)
    items = row.get("event_item_ids")
    had = {} if items is None else {item: None for item, kind in zip(items, row["event_types"], strict=True) if kind in HAD_TYPES}
    answer = Recommendations(user_id, (), "popularity", None, None, as_of, row.get("features_at"))
    if items is None or len(items) == 0:
        return replace(answer, items=_popular(shop, set(), k), note="no history of this user is known: popular items instead")
    try:
        version, ranked = _from_model(shop, row, as_of, list(had), k)
    except NotServed as reason:
        return replace(answer, items=_popular(shop, set(had), k), note=f"popular items instead: {reason}")
    return replace(answer, items=ranked, source="model", model_version=version)


def _from_model(shop: ShopFront, row: dict, as_of: datetime, excluded: list[str], k: int) -> tuple[int, tuple[RecommendedItem, ...]]:
    """Asks for a few more than `k`, drops what is out of stock, and asks again for what is still missing."""
    inputs = history_inputs([row], as_of)
    kept: list[tuple[ItemCard, float]] = []
    while True:
        wanted = k - len(kept) + 10
        prediction = shop.predict(
            RECOMMENDER.name,
            inputs | {"exclude_item_ids": np.array([excluded or [""]], dtype=object), "k": np.array([wanted], dtype=np.int32)},
        )
        found = [
            (item_id.decode() if isinstance(item_id, bytes) else str(item_id), float(score))
            for item_id, score in zip(prediction["item_ids"][0], prediction["scores"][0], strict=True)
        ]
        found = [(item_id, score) for item_id, score in found if item_id]
        cards = shop.cards([item_id for item_id, _ in found])
        kept += [(card, score) for card, (_, score) in zip(cards, found, strict=True) if card.in_stock]
        if len(kept) >= k or len(found) < wanted:
            places = tuple(RecommendedItem(rank, card, score) for rank, (card, score) in enumerate(kept[:k], start=1))
            return prediction.version, places
        excluded = excluded + [item_id for item_id, _ in found]


def _popular(shop: ShopFront, had: set[str], k: int) -> tuple[RecommendedItem, ...]:
    places: list[RecommendedItem] = []
    candidates = [item_id for item_id in shop.popular().item_ids if item_id not in had]
    for start in range(0, len(candidates), 2 * k):
        for card in shop.cards(candidates[start : start + 2 * k]):
            if card.in_stock:
                places.append(RecommendedItem(len(places) + 1, card, None))
            if len(places) == k:
                return tuple(places)
    return tuple(places)
