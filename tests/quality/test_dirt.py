"""Every kind of dirt of the landing contract, written by hand in exact numbers and found again in exactly these."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quality.load import load_window
from sources.registry import deliver
from tests.quality.delivery import DAY, NEXT_DAY, at, row, write_day

#: `kind: (times, cells)` of one event; the kinds of one row each are in test_row_rules.
SPOILED: dict[str, tuple[int, dict[str, Any]]] = {
    "occurred_at_in_future": (3, {"occurred_at": at("2025-05-01")}),
    "occurred_at_before_shop": (2, {"occurred_at": at("1970-01-01")}),
    "unit_price_negative": (4, {"unit_price": -1.0}),
    "unit_price_absurd": (5, {"unit_price": 1e12}),
    "unit_price_not_finite": (2, {"unit_price": float("nan")}),
    "quantity_negative": (6, {"quantity": -1.0}),
    "quantity_absurd": (1, {"quantity": 1e9}),
    "spend_absurd": (3, {"unit_price": 1e9, "quantity": 1e6}),
    "event_type_unknown": (3, {"event_type": "teleport"}),
    "item_id_empty": (2, {"item_id": " "}),
    "item_id_missing": (3, {"item_id": None}),
    "session_id_oversized": (2, {"session_id": "s" * 257}),
    "guests": (7, {"user_id": None}),
    "unknown_user": (4, {"user_id": "u-never"}),
    "unknown_item": (3, {"item_id": "i-never"}),
    "late": (5, {"occurred_at": at("2024-04-29 23:59:59")}),
    "order_id_trimmed": (2, {"order_id": " o1"}),
    "session_id_encoding": (3, {"session_id": "sÃ©ance"}),
}
UNREADABLE = {
    "occurred_at_unparseable": (2, {"occurred_at": "yesterday"}),
    "unit_price_unparseable": (3, {"unit_price": "12,- EUR"}),
    "quantity_unparseable": (1, {"quantity": "a few"}),
}


def test_every_kind_is_counted_exactly(house: Path) -> None:
    def rows(kinds: dict[str, tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
        return [row("events", event_id=f"{kind}-{n}", **cells) for kind, (times, cells) in kinds.items() for n in range(times)]

    on_time = [row("events", event_id=f"good-{n}", occurred_at=at("2024-04-30")) for n in range(10)]  # the day before is not late
    write_day(house, "users", [row("users")])
    write_day(house, "items", [row("items")])
    write_day(house, "events", [*on_time, *on_time[:4], *rows(SPOILED)])
    write_day(house, "events", [row("events", event_id="good-0", quantity=9.0), row("events", event_id="good-1", rating=1.0)], part=1)
    for part, (kind, spoiled) in enumerate(UNREADABLE.items(), start=2):
        write_day(house, "events", rows({kind: spoiled}), part=part)
    events = load_window(house / "landing", DAY, NEXT_DAY).tables["events"]
    expected = {kind: times for kind, (times, _) in (SPOILED | UNREADABLE).items()}
    assert events.kinds() == expected | {"exact_duplicates": 4, "superseded": 2}
    assert events.late == 5


def test_an_item_or_user_is_unknown_until_the_day_that_delivers_it(house: Path) -> None:
    write_day(house, "users", [row("users", user_id="u0")])
    write_day(house, "users", [row("users")], ds=NEXT_DAY)
    write_day(house, "items", [row("items")], ds=NEXT_DAY)
    write_day(house, "events", [row("events")])
    write_day(house, "events", [row("events", event_id="e2")], ds=NEXT_DAY)
    events = load_window(house / "landing", DAY, NEXT_DAY + timedelta(days=1)).tables["events"]
    assert events.kept == {"unknown_item": 1, "unknown_user": 1}


def test_where_no_users_or_items_are_delivered_nobody_is_unknown(house: Path) -> None:
    write_day(house, "events", [row("events")])
    assert load_window(house / "landing", DAY, NEXT_DAY).tables["events"].kept == {}


@pytest.mark.slow
def test_the_simulated_shops_dirt_is_recovered_to_the_row(house: Path) -> None:
    import json

    delivery = deliver("shop", None, house / "landing", seed=5, options={"users": 600, "dirt": 0.02, "workers": 1})
    injected = json.loads((house / "truth" / "dirt.json").read_text())
    report = load_window(house / "landing", delivery.start, delivery.end)
    assert {name: load.kinds() for name, load in report.tables.items() if load.kinds()} == {
        name: kinds for name, kinds in injected.items() if kinds
    }
