"""What live events make of a user's rows equals rows counted anew from all events, in whatever order and groups they come."""

from collections import Counter
from copy import deepcopy
from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.contract import marts
from feature_repo.live_effect import LEFT, USER_VIEWS, Item, UserRows, midnight_after, spend, with_events

START = datetime(2024, 1, 1)  # noqa: DTZ001
ITEMS = {"tea": Item(4.0, "Tea"), "cup": Item(None, "Cups")}
LENGTH = 8
HALF_HOUR = timedelta(minutes=30)


def event(number: int, minute: int, item: str = "tea", kind: str = "view", price: float | None = None, **more: Any) -> dict[str, Any]:
    at = START + timedelta(minutes=minute)
    row = dict.fromkeys(("session_id", "order_id", "quantity", "rating"))
    return (
        row
        | {
            "event_id": f"e{number:03}",
            "user_id": "u",
            "item_id": item,
            "event_type": kind,
            "occurred_at": at,
            "received_at": at,
            "unit_price": price,
            "ds": at.date(),
        }
        | more
    )


def in_order(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(events, key=lambda row: (row["occurred_at"], row["event_id"]))


def visits_by_day(events: list[dict[str, Any]]) -> Counter[date]:
    """Days on which visits began: a name's first event, or an unnamed event after 30 silent minutes among the unnamed."""
    named: dict[str, datetime] = {}
    unnamed = []
    for row in in_order(events):
        if row["session_id"] is None:
            unnamed.append(row["occurred_at"])
        else:
            named.setdefault(row["session_id"], row["occurred_at"])
    begun = [at for at, before in zip(unnamed, [None, *unnamed], strict=False) if before is None or at - before > HALF_HOUR]
    return Counter(at.date() for at in [*named.values(), *begun])


def counted_anew(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The three rows by definition: one pass over all events for every value."""
    history = in_order(events)[-LENGTH:]
    features_at = midnight_after(max(row["occurred_at"] for row in events))
    visits = visits_by_day(events)

    def ago(row: dict[str, Any]) -> int:
        return (features_at.date() - row["occurred_at"].date()).days

    def lines(kind: str, days: int) -> int:
        return sum(row["event_type"] == kind and ago(row) <= days for row in events)

    def money(rows: list[dict[str, Any]]) -> float:
        return sum(round(spend(row) * 10_000) for row in rows) / 10_000

    recent = sorted({row["occurred_at"].date() for row in events if ago(row) <= 90})
    on = {day: [row for row in events if row["occurred_at"].date() == day] for day in recent}
    bought = [row["occurred_at"] for row in events if row["event_type"] == "purchase"]
    return {
        "user_features": {
            "first_event_at": min(row["occurred_at"] for row in events),
            "last_event_at": max(row["occurred_at"] for row in events),
            "last_purchase_at": max(bought, default=None),
            **{f"events_{days}d": sum(ago(row) <= days for row in events) for days in (7, 30, 90)},
            **{f"views_{days}d": lines("view", days) for days in (7, 30)},
            "favourites_30d": lines("favourite", 30),
            **{f"carts_{days}d": lines("cart", days) for days in (7, 30)},
            **{f"purchases_{days}d": lines("purchase", days) for days in (7, 30, 90)},
            "returns_90d": lines("return", 90),
            "active_days_30d": len({row["occurred_at"].date() for row in events if ago(row) <= 30}),
            "sessions_30d": sum(count for day, count in visits.items() if (features_at.date() - day).days <= 30),
            **{f"spend_{days}d": money([row for row in events if ago(row) <= days]) for days in (7, 30, 90)},
            "events_total": len(events),
            "purchases_total": len(bought),
            "spend_total": money(events),
        },
        "user_sequences": {
            "event_item_ids": [row["item_id"] for row in history],
            "event_types": [row["event_type"] for row in history],
            "event_times_us": [(row["occurred_at"] - datetime(1970, 1, 1)) // timedelta(microseconds=1) for row in history],  # noqa: DTZ001
            "event_prices": [row["unit_price"] if row["unit_price"] is not None else ITEMS[row["item_id"]].price or 0.0 for row in history],
            "event_categories": [ITEMS[row["item_id"]].category for row in history],
        },
        "user_daily": {
            "day_numbers": [(day - date(1970, 1, 1)).days for day in recent],
            "daily_events": [len(on[day]) for day in recent],
            **{
                f"daily_{kind}s": [sum(row["event_type"] == kind for row in on[day]) for day in recent]
                for kind in ("view", "favourite", "cart", "purchase", "return")
            },
            "daily_sessions": [visits[day] for day in recent],
            "daily_spend": [money(on[day]) for day in recent],
        },
    }


EVENTS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 100), st.integers(0, 130 * 1440)),  # minutes: one sitting, or four months
        st.sampled_from(sorted(ITEMS)),
        st.sampled_from(["view", "favourite", "cart", "purchase", "return", "rate"]),
        st.one_of(st.none(), st.integers(0, 10**6)),  # ten-thousandths
        st.one_of(st.none(), st.sampled_from([0.0, 1.0, 3.0])),
    ),
    min_size=1,
    max_size=LENGTH,  # as many as are kept, so that every silence can be seen
    unique_by=lambda drawn: drawn[0],
)
named = st.sampled_from(["s1", "s2", "s3"])


def made(drawn: list[Any], names: list[str] | None = None) -> list[dict[str, Any]]:
    return [
        event(
            number,
            minute,
            item,
            kind,
            None if price is None else price / 10_000,
            quantity=quantity,
            session_id=names[number % len(names)] if names else None,
        )
        for number, (minute, item, kind, price, quantity) in enumerate(drawn)
    ]


def applied(groups: list[list[dict[str, Any]]]) -> UserRows:
    user, visits = UserRows.new(), {}
    for group in groups:
        user = with_events(user, in_order(group), ITEMS, visits, LENGTH)
    return user


def without_left(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {view: {name: value for name, value in row.items() if name not in LEFT} for view, row in rows.items()}


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.permutations(range(LENGTH)), st.integers(1, LENGTH), st.one_of(st.none(), st.lists(named, min_size=1, max_size=4)))
def test_any_order_and_grouping_gives_what_all_events_counted_anew_give(
    drawn: list[Any], order: list[int], together: int, names: list[str] | None
) -> None:
    events = made(drawn, names)
    shuffled = [events[place] for place in order if place < len(events)]
    # an event more than 90 days before the newest would have been forgotten with its day: what is online then is right for its time
    oldest_last = sorted(shuffled, key=lambda row: row["occurred_at"].date())
    newest = max(row["occurred_at"] for row in events)
    if min(row["occurred_at"] for row in events) < newest - timedelta(days=89):
        shuffled = oldest_last
    groups = [shuffled[start : start + together] for start in range(0, len(shuffled), together)]
    user = applied(groups)
    assert without_left(user.rows) == without_left(counted_anew(events))
    assert user.features_at == midnight_after(newest)


def test_the_columns_counted_anew_are_all_there_are() -> None:
    counted = counted_anew([event(1, 0)])
    for view in USER_VIEWS:
        assert set(counted[view]) == {column.name for column in marts()[view].features} - set(LEFT), view


def test_columns_that_need_more_than_the_rows_hold_stay_and_the_given_rows_are_not_touched() -> None:
    known = applied([[event(1, 0)]])
    known.rows["user_features"] |= {"country": "NL", "rating_mean": 4.5, "top_categories": ["Tea"], "top_category_shares": [1.0]}
    before = deepcopy(known)
    after = with_events(known, [event(2, 5, "cup", "rate", rating=1.0)], ITEMS, {}, LENGTH)
    kept = after.rows["user_features"]
    assert (kept["country"], kept["rating_mean"], kept["top_categories"], kept["top_category_shares"]) == ("NL", 4.5, ["Tea"], [1.0])
    assert (kept["events_total"], known) == (2, before)


def test_a_late_event_joins_two_visits_and_an_earlier_one_moves_a_visits_day() -> None:
    first, last, between = event(1, 1430), event(3, 1480), event(2, 1455)  # 23:50, 00:40 the next day, 00:15
    assert applied([[first, last]]).rows["user_daily"]["daily_sessions"] == [1, 1]
    assert applied([[first, last], [between]]).rows["user_daily"]["daily_sessions"] == [1, 0]
    named_late = [event(1, 1500, session_id="s"), event(2, 1400, session_id="s")]
    assert applied([[named_late[0]]]).rows["user_daily"]["daily_sessions"] == [1]
    assert applied([[row] for row in named_late]).rows["user_daily"]["daily_sessions"] == [1, 0]


def test_only_the_newest_events_are_kept_oldest_first() -> None:
    many = [event(number, number) for number in range(LENGTH + 3)]
    times = applied([[row] for row in reversed(many)]).rows["user_sequences"]["event_times_us"]
    assert times == counted_anew(many)["user_sequences"]["event_times_us"]
    assert len(times) == LENGTH


def test_money_rounds_halves_away_from_zero_as_decimals_do() -> None:
    assert spend(event(1, 0, kind="purchase", price=0.12345, quantity=None)) == 0.1235
    assert spend(event(1, 0, kind="return", price=0.12345)) == -0.1235
    assert spend(event(1, 0, kind="purchase", price=2.5, quantity=0.0)) == 0.0
    assert spend(event(1, 0, kind="view", price=2.5)) == 0.0
