"""What one live event changes in a user's rows: the history, the day's counters, the totals. Pure.

The rows that come out equal those the next batch makes of the same events, column by column, except the columns of LEFT, which need more
than the rows hold and stay as the last batch left them.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from feature_repo.contract import marts
from feature_repo.windows_at import MONEY_UNIT, day_number, windows_at

#: The views of a user that live events write.
USER_VIEWS = ("user_features", "user_sequences", "user_daily")
#: Columns of user_features that a live event leaves alone: a mean without its count, shares that need the categories of 90 days.
LEFT = ("registered_at", "country", "city", "rating_mean", "top_categories", "top_category_shares")

DAYS_KEPT = 90
SILENCE_US = 30 * 60 * 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_DAILY = {
    "view": "daily_views",
    "favourite": "daily_favourites",
    "cart": "daily_carts",
    "purchase": "daily_purchases",
    "return": "daily_returns",
}
_DAY_COUNTERS = tuple(column.name for column in marts()["user_daily"].features if column.name != "day_numbers")

Row = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """What the online store knows of an item: its list price and its top-level category."""

    price: float | None = None
    category: str | None = None


@dataclass
class UserRows:
    """A user's rows by view, without key and times: numbers, texts, naive UTC times and lists; and the newest time they count to."""

    features_at: datetime | None
    rows: dict[str, Row]

    @classmethod
    def new(cls) -> "UserRows":
        """Somebody of whom nothing is known."""
        zeros = {"int": 0, "float": 0.0}
        features: Row = {column.name: zeros.get(column.kind) for column in marts()["user_features"].features}
        features |= {"rating_mean": None, "top_categories": [], "top_category_shares": []}
        lists: dict[str, Row] = {view: {column.name: [] for column in marts()[view].features} for view in USER_VIEWS[1:]}
        return cls(None, {"user_features": features, **lists})


def with_events(
    user: UserRows, events: Sequence[Row], items: Mapping[str, Item], visits: dict[tuple[str, str], datetime], length: int
) -> UserRows:
    """The rows after `events` of this one user, sorted by time and id; late ones find their place. The given rows stay as they are.

    `visits` has the first live event of every visit that the shop names, before these events; it is brought up to date. The newest `length`
    events are kept. A visit counts on the day it began: one of the shop's own where its name is first seen, else after 30 silent minutes
    among the times kept.
    """
    rows = deepcopy(user.rows)
    features, sequence, daily = (rows[view] for view in USER_VIEWS)
    ends = [midnight_after(event["occurred_at"]) for event in events]
    features_at = max([*ends, *([user.features_at] if user.features_at else [])])
    for event in events:
        _count_day(daily, day_number(event["occurred_at"]), event)
        for day, visits_more in _visits_begun(sequence, event, visits):
            _add(daily, day, "daily_sessions", visits_more)
        _insert(sequence, event, items.get(event["item_id"], Item()), length)
        _count_ever(features, event)
    forgotten = bisect_left(daily["day_numbers"], day_number(features_at) - DAYS_KEPT)
    for name in daily:
        del daily[name][:forgotten]
    features.update(windows_at(daily, features_at))
    return UserRows(features_at, rows)


def midnight_after(time: datetime) -> datetime:
    """The end of a time's day: the first midnight at which what happened then counts."""
    return time.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _count_day(daily: Row, day: int, event: Row) -> None:
    place = bisect_left(daily["day_numbers"], day)
    if place == len(daily["day_numbers"]) or daily["day_numbers"][place] != day:
        daily["day_numbers"].insert(place, day)
        for name in _DAY_COUNTERS:
            daily[name].insert(place, 0.0 if name == "daily_spend" else 0)
    _add(daily, day, "daily_events", 1)
    if event["event_type"] in _DAILY:
        _add(daily, day, _DAILY[event["event_type"]], 1)
    daily["daily_spend"][place] = _money(daily["daily_spend"][place] + spend(event))


def _add(daily: Row, day: int, name: str, more: int) -> None:
    place = bisect_left(daily["day_numbers"], day)
    if place < len(daily["day_numbers"]) and daily["day_numbers"][place] == day:  # else that day is no longer kept
        daily[name][place] += more


def _visits_begun(sequence: Row, event: Row, visits: dict[tuple[str, str], datetime]) -> list[tuple[int, int]]:
    """`(day, change of the visits that began that day)` by one more event."""
    at = event["occurred_at"]
    if event["session_id"] is not None:
        visit = (event["user_id"], event["session_id"])
        known = visits.get(visit)
        if known is not None and known <= at:
            return []
        visits[visit] = at
        return [(day_number(at), 1)] + ([(day_number(known), -1)] if known is not None else [])
    times, time = sequence["event_times_us"], _microseconds(at)
    place = bisect_right(times, time)
    before, after = times[place - 1] if place else None, times[place] if place < len(times) else None
    begun = [(day_number(at), 1)] if before is None or time - before > SILENCE_US else []
    if after is not None and after - time <= SILENCE_US and (before is None or after - before > SILENCE_US):
        begun.append((after // 86_400_000_000, -1))  # what began with the next event now begins here, or earlier
    return begun


def _insert(sequence: Row, event: Row, item: Item, length: int) -> None:
    time = _microseconds(event["occurred_at"])
    price = event["unit_price"] if event["unit_price"] is not None else item.price
    values = {
        "event_item_ids": event["item_id"],
        "event_types": event["event_type"],
        "event_times_us": time,
        "event_prices": price if price is not None else 0.0,
        "event_categories": item.category or "",
    }
    place = bisect_right(sequence["event_times_us"], time)
    for name, value in values.items():
        sequence[name].insert(place, value)
        del sequence[name][:-length]


def _count_ever(features: Row, event: Row) -> None:
    at, is_purchase = event["occurred_at"], event["event_type"] == "purchase"
    features["events_total"] += 1
    features["purchases_total"] += is_purchase
    features["spend_total"] = _money((features["spend_total"] or 0.0) + spend(event))
    features["first_event_at"] = min(at, features["first_event_at"] or at)
    features["last_event_at"] = max(at, features["last_event_at"] or at)
    if is_purchase:
        features["last_purchase_at"] = max(at, features["last_purchase_at"] or at)


def spend(event: Row) -> float:
    """Signed money of an event to four decimals, as `int_event_versions` has it; what the shop did not price counts as nothing."""
    sign = {"purchase": 1.0, "return": -1.0}.get(event["event_type"], 0.0)
    pieces = 1.0 if event["quantity"] is None else event["quantity"]
    return _money(sign * pieces * (event["unit_price"] or 0.0))


def _money(amount: float) -> float:
    """The nearest ten-thousandth, halves away from zero, as the warehouse's decimals round."""
    return math.copysign(math.floor(abs(amount) * MONEY_UNIT + 0.5) / MONEY_UNIT, amount) if amount else 0.0
