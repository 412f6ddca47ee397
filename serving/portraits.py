"""The portrait of one user: what is known, what is inferred, and from when each line is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from feature_repo.contract import mart
from serving.errors import NotServed, UnknownUser
from serving.model_inputs import history_inputs, user_inputs
from serving.shop_front import ShopFront, front
from training.signatures import PORTRAIT

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times are UTC without zone throughout the house
PROBABILITIES = ("purchase_probability_7d", "purchase_probability_30d", "churn_probability_7d", "churn_probability_30d")
UNKNOWN = "unknown"  # what the model says of a trait where no value is certain enough


@dataclass(frozen=True)
class Trait:
    """An inferred trait: probability of each value, most likely first; `value` is None where none is certain enough to be said."""

    name: str
    value: str | None
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Inferred:
    """What the served portrait model says. Interests are shares by top-level category, most first; None a month ago without events by then.

    The alarm says that the taste changed at once within the last 30 days, on stronger evidence than all but a few users give. Expected
    spend is None where the shop's records were too short to learn it from.
    """

    model_version: int
    vector: tuple[float, ...]
    traits: tuple[Trait, ...]
    segment: str | None
    interests: dict[str, float]
    interests_30d_ago: dict[str, float] | None
    interest_alarm: bool
    next_category: str | None
    purchase_probability_7d: float
    purchase_probability_30d: float
    churn_probability_7d: float
    churn_probability_30d: float
    expected_spend_90d: float | None


@dataclass(frozen=True)
class RecentEvent:
    """One of the newest events of a user."""

    occurred_at: datetime
    event_type: str
    item_id: str
    title: str | None


@dataclass(frozen=True)
class Portrait:
    """User `user_id` as of `as_of`: `known` are the features (built at `features_at`), `inferred` the model's lines or None with `note`."""

    user_id: str
    as_of: datetime
    features_at: datetime | None
    known: dict[str, Any]
    recent: tuple[RecentEvent, ...]
    inferred: Inferred | None
    note: str | None


def show(user_id: str, *, shop: ShopFront | None = None, recent: int = 10) -> Portrait:
    """The portrait of a known user; `UnknownUser` where the feature store has no row."""
    shop = shop or front()
    as_of = shop.clock()
    row = shop.user_row("user_v1", user_id)
    if row.get("events_total") is None:
        raise UnknownUser(user_id)
    lists = {column.name for view in ("user_sequences", "user_daily") for column in mart(view).features}
    known = {name: value for name, value in row.items() if name not in {*lists, "user_id", "features_at"}}
    inferred, note = None, None
    try:
        inferred = _infer(shop, user_id, row, as_of)
    except NotServed as reason:
        note = str(reason)
    return Portrait(user_id, as_of, row.get("features_at"), known, recent_events(shop, row, recent), inferred, note)


def _infer(shop: ShopFront, user_id: str, row: dict[str, Any], as_of: datetime) -> Inferred:
    answer = shop.predict(PORTRAIT.name, history_inputs([row], as_of) | user_inputs([row]), user_id=user_id)
    traits = []
    choices = _texts(answer["trait_choices"][0])
    for index, name in enumerate(_texts(answer["trait_names"][0])):
        values = _texts(answer["trait_values"][0][index])
        shares = answer["trait_probabilities"][0][index]
        likely = sorted(((float(p), value) for p, value in zip(shares, values, strict=True) if value), reverse=True)
        best = None if choices[index] == UNKNOWN else choices[index]
        traits.append(Trait(name, best, {value: share for share, value in likely}))
    categories = _texts(answer["interest_categories"][0])
    before = dict(zip(categories, answer["interest_shares_30d_ago"][0].tolist(), strict=True))
    return Inferred(
        answer.version,
        tuple(float(x) for x in answer["vector"][0]),
        tuple(traits),
        _texts(answer["segment"])[0] or None,
        dict(zip(categories, answer["interest_shares"][0].tolist(), strict=True)),
        before if np.isfinite(list(before.values())).all() else None,
        bool(answer["interest_alarm"][0]),
        _texts(answer["next_category"])[0] or None,
        **{name: float(answer[name][0]) for name in PROBABILITIES},
        expected_spend_90d=float(spend) if np.isfinite(spend := answer["expected_spend_90d"][0]) else None,
    )


def recent_events(shop: ShopFront, row: dict[str, Any], count: int) -> tuple[RecentEvent, ...]:
    """The newest `count` events of a row of features, newest first, with titles."""
    items = row.get("event_item_ids")
    if items is None:
        return ()
    newest = list(zip(row["event_times_us"], row["event_types"], items, strict=True))[-count:][::-1]
    titles = [card.title for card in shop.cards([item for _, _, item in newest])]
    return tuple(
        RecentEvent(EPOCH + timedelta(microseconds=int(at)), kind, item, title)
        for (at, kind, item), title in zip(newest, titles, strict=True)
    )


def _texts(values: np.ndarray) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]
