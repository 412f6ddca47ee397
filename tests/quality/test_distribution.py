"""Days against the days before: what an ordinary shop does passes, what a broken feed does not, and a person has the last word."""

import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from quality.distribution import MIN_DAYS, accept, compare
from quality.errors import GateFailed
from quality.gates import check
from quality.load import load_window
from quality.warehouse import open_warehouse
from tests.quality.delivery import DAY, NEXT_DAY, row, write_day

FIRST = date(2024, 4, 1)
DAYS = 22
LAST = FIRST + timedelta(days=DAYS - 1)
AFTER = LAST + timedelta(days=1)
Row = dict[str, Any]


def _events(ds: date, rows: int = 0) -> list[Row]:
    """A day's events: about 400 on weekdays and 600 at weekends, a tenth of them guests', 3 % returns."""
    draw = random.Random(ds.toordinal())
    noon = datetime.combine(ds, datetime.min.time()) + timedelta(hours=12)
    kinds = ("view", "cart", "purchase", "return")
    return [
        {
            "event_id": f"{ds}-{number}",
            "user_id": f"u{draw.randrange(99)}" if draw.random() > 0.1 else None,
            "item_id": f"i{draw.randrange(40)}",
            "event_type": draw.choices(kinds, (70, 17, 10, 3))[0],
            "occurred_at": noon,
            "unit_price": round(draw.lognormvariate(3, 0.5), 2),
        }
        for number in range(rows or (600 if ds.weekday() > 4 else 400) + draw.randrange(-40, 40))
    ]


def _deliver(house: Path, last: Callable[[list[Row]], list[Row]] = lambda rows: rows, days: int = DAYS) -> None:
    for number in range(days):
        ds = FIRST + timedelta(days=number)
        rows = _events(ds)
        write_day(house, "events", last(rows) if ds == LAST else rows, ds=ds)
    load_window(house / "landing", FIRST, FIRST + timedelta(days=days))


def _alarms(start: date = FIRST, end: date = AFTER) -> set[tuple[date, str]]:
    with open_warehouse() as connection:
        return {(alarm.ds, alarm.rule) for alarm in compare(connection, start, end).alarms}


_SWAPPED = {"view": "cart", "cart": "view", "purchase": "purchase", "return": "return"}
BREAKS: dict[str, tuple[Callable[[list[Row]], list[Row]], set[str]]] = {
    "nothing": (lambda rows: rows, set()),
    "half of the rows missing": (lambda rows: rows[::2], {"volume"}),
    "every row four times over": (
        lambda rows: [row | {"event_id": f"{n}-{row['event_id']}"} for n in range(4) for row in rows],
        {"volume"},
    ),
    "one event type lost": (
        lambda rows: [row for row in rows if row["event_type"] != "cart"],
        {"values_present", "category_shares"},
    ),
    "the main event type lost": (
        lambda rows: [row for row in rows if row["event_type"] != "view"],
        {"volume", "values_present", "category_shares"},
    ),
    "prices in cents": (lambda rows: [row | {"unit_price": row["unit_price"] * 100} for row in rows], {"number_levels"}),
    "nobody is known": (lambda rows: [row | {"user_id": None} for row in rows], {"null_shares"}),
    "one item only": (lambda rows: [row | {"item_id": "i1"} for row in rows], {"concentration"}),
    "types swapped": (lambda rows: [row | {"event_type": _SWAPPED[row["event_type"]]} for row in rows], {"category_shares"}),
}


@pytest.mark.parametrize("planted", BREAKS)
def test_a_broken_feed_is_caught_by_its_rule_and_an_ordinary_day_passes(house: Path, planted: str) -> None:
    change, expected = BREAKS[planted]
    _deliver(house, change)
    assert _alarms() == {(LAST, rule) for rule in expected}


def _visits(ds: date) -> list[Row]:
    """A day of a very small shop: ten customers of eight rows each, five views among them."""
    noon = datetime.combine(ds, datetime.min.time()) + timedelta(hours=12)
    kinds = ("view", "view", "cart", "view", "purchase", "view", "return", "view")
    return [
        {
            "event_id": f"{ds}-{visit}-{step}",
            "user_id": f"u{visit}",
            "session_id": f"{ds}-{visit}",
            "item_id": f"i{(visit * 8 + step) % 40}",
            "event_type": kind,
            "occurred_at": noon,
        }
        for visit in range(8 + ds.toordinal() % 5)
        for step, kind in enumerate(kinds)
    ]


def _one_visit(user: str | None, length: int) -> list[Row]:
    row = _visits(LAST)[0] | {"user_id": user, "session_id": "long"}
    return [row | {"event_id": f"long-{step}", "item_id": f"i{step % 40}"} for step in range(length)]


SMALL: dict[str, tuple[Callable[[list[Row]], list[Row]], set[str]]] = {
    "nothing": (lambda rows: rows, set()),
    "a bot views 200 items": (lambda rows: rows + _one_visit("bot", 200), set()),
    "one guest brings 40 % of the rows": (lambda rows: rows + _one_visit(None, 56), set()),
    "every row brought by another customer, four times over": (
        lambda rows: [row | {"event_id": f"{n}-{row['event_id']}", "user_id": f"{n}-{row['user_id']}"} for n in range(4) for row in rows],
        {"volume"},
    ),
    "nobody is known": BREAKS["nobody is known"],
    "types swapped": BREAKS["types swapped"],
    "one item only": BREAKS["one item only"],
}


@pytest.mark.parametrize("planted", SMALL)
def test_in_a_very_small_shop_one_visit_is_no_alarm_and_a_broken_feed_still_is(house: Path, planted: str) -> None:
    change, expected = SMALL[planted]
    for ds in (FIRST + timedelta(days=number) for number in range(DAYS)):
        write_day(house, "events", change(_visits(ds)) if ds == LAST else _visits(ds), ds=ds)
    load_window(house / "landing", FIRST, AFTER)
    assert _alarms() == {(LAST, rule) for rule in expected}


def test_a_day_on_which_nothing_came_is_caught(house: Path) -> None:
    for ds in (FIRST + timedelta(days=number) for number in range(DAYS)):
        if ds != LAST - timedelta(days=1):
            write_day(house, "events", _events(ds), ds=ds)
    load_window(house / "landing", FIRST, AFTER)
    assert _alarms() == {(LAST - timedelta(days=1), "volume")}


def test_without_two_weeks_before_it_a_day_is_skipped_by_name(house: Path) -> None:
    _deliver(house, days=MIN_DAYS)
    with open_warehouse() as connection:
        judgement = compare(connection, FIRST, AFTER)
    assert judgement.comparisons == ()
    assert judgement.skipped == {"landing, compared with days before: 14 days with fewer than 14 loaded days before them": "events"}


def test_the_profile_of_a_day_is_as_counted_by_hand(house: Path) -> None:
    names = ("event_id", "event_type", "user_id", "item_id", "unit_price")
    cells = [
        ("e1", "view", "u", "i1", 1.0),
        ("e2", "view", None, "i1", 3.0),
        ("e3", "cart", "u", "i1", None),
        ("e4", "view", "u", "i2", 2.0),
    ]
    rows = [_events(FIRST)[0] | dict(zip(names, cell, strict=True)) for cell in cells]
    write_day(house, "events", rows, ds=FIRST)
    load_window(house / "landing", FIRST, FIRST + timedelta(days=1))
    with open_warehouse() as connection:
        stored = connection.execute("select metric, part, value from landing._profiles").fetchall()
    profile = {(metric, part): value for metric, part, value in stored}
    assert profile["rows", ""] == 4
    assert (profile["nulls", "user_id"], profile["nulls", "unit_price"], profile["nulls", "rating"]) == (0.25, 0.25, 1.0)
    assert (profile["share", "event_type=view"], profile["share", "event_type=cart"]) == (0.75, 0.25)
    assert (profile["median", "unit_price"], profile["high", "unit_price"]) == (2.0, 3.0)
    assert profile["top", "item_id"] == 0.75
    assert ("median", "rating") not in profile
    assert profile["together", ""] == (3 * 3 + 1 * 1) / 4  # u's visit of three rows, and one guest
    assert profile["together", "nulls:user_id"] == ((0 - 0.25 * 3) ** 2 + (1 - 0.25 * 1) ** 2) / (4 * 0.25 * 0.75)
    assert profile["together", "share:event_type=cart"] == pytest.approx(((1 - 0.25 * 3) ** 2 + (0 - 0.25 * 1) ** 2) / (4 * 0.25 * 0.75))
    assert ("together", "nulls:rating") not in profile


@pytest.mark.parametrize(("rating", "kept"), [(0.012345, 0.012), (487.65, 490.0), (-771.0, -770.0), (1000.0, 1000.0), (0.0, 0.0)])
def test_a_level_is_kept_to_two_digits_so_that_it_is_nobodys_own_number(house: Path, rating: float, kept: float) -> None:
    write_day(house, "events", [row("events", rating=rating)])
    load_window(house / "landing", DAY, NEXT_DAY)
    with open_warehouse() as connection:
        levels = connection.execute("select value from landing._profiles where metric in ('median', 'high') and part = 'rating'").fetchall()
    assert levels == [(kept,), (kept,)]


@pytest.mark.slow
def test_the_gate_names_rule_day_and_what_was_expected_and_a_person_can_accept_the_change(house: Path) -> None:
    _deliver(house, BREAKS["half of the rows missing"][0])
    assert check("landing", FIRST, LAST).broken == ()
    with pytest.raises(GateFailed, match=rf"landing\.events: volume_as_before \({LAST}: \d+ rows, \d+ expected\)"):
        check("landing", FIRST, AFTER)
    assert accept(LAST, AFTER) == ("events",)
    report = check("landing", FIRST, AFTER)
    assert report.broken == ()
    assert report.skipped["landing, compared with days before: 1 days that were accepted"] == "events"
    for number in range(MIN_DAYS + 1):  # the new level is the reference once it has two weeks behind it
        ds = AFTER + timedelta(days=number)
        write_day(house, "events", _events(ds)[::2], ds=ds)
    load_window(house / "landing", AFTER, AFTER + timedelta(days=MIN_DAYS + 1))
    with open_warehouse() as connection:
        judgement = compare(connection, AFTER, AFTER + timedelta(days=MIN_DAYS + 1))
    assert {comparison.ds for comparison in judgement.comparisons} == {
        AFTER + timedelta(days=MIN_DAYS - 1),
        AFTER + timedelta(days=MIN_DAYS),
    }
    assert judgement.alarms == ()
