"""Why an item is recommended: the past events without which its score would fall most, from the model's signature `explain`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from serving.errors import NotServed
from serving.model_inputs import history_inputs
from serving.shop_front import ShopFront
from training.signatures import EXPLAIN, RECOMMENDER

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times are UTC without zone throughout the house
NAMED = 2  # events


@dataclass(frozen=True)
class Because:
    """A past event behind a recommended item; `effect` is what the item's score falls by without it."""

    item_id: str
    title: str | None
    event_type: str
    occurred_at: datetime
    effect: float


def because(
    shop: ShopFront, row: Mapping[str, Any], as_of: datetime, item_ids: Sequence[str], user_id: str | None = None
) -> dict[str, tuple[Because, ...]]:
    """For each item the events that raise its score most, at most two, the strongest first; nothing while the model does not say."""
    asked = history_inputs([row], as_of) | {"item_ids": np.array([list(item_ids)], dtype=object)}
    wanted = ("driver_item_ids", "driver_types", "driver_times_us", "driver_effects")
    try:
        answer = shop.predict(RECOMMENDER.name, asked, user_id=user_id, signature=EXPLAIN, outputs=wanted)
    except NotServed:
        return {}
    found = {}
    for place, item in enumerate(item_ids):
        drivers = zip(*(answer[name][0][place][:NAMED].tolist() for name in wanted), strict=True)
        named = [(driver, kind, at, effect) for driver, kind, at, effect in drivers if driver]
        titles = [card.title for card in shop.cards([driver for driver, _, _, _ in named])]
        found[item] = tuple(
            Because(driver, title, kind, EPOCH + timedelta(microseconds=at), effect)
            for (driver, kind, at, effect), title in zip(named, titles, strict=True)
        )
    return found
