"""Every rule at the landing border, each broken by one hand-written row."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quality.load import load_window
from quality.row_rules import (
    ALLOWED,
    BURST,
    BURST_EVENTS,
    FREE_TEXT_LENGTH,
    FUTURE_TOLERANCE,
    LAST_DATE,
    NAME_LENGTH,
    RANGES,
    SHOP_OPENED,
    SUPERSEDED,
    rules_for,
)
from quality.warehouse import open_warehouse
from settings import ROOT
from sources.landing import LANDING
from tests.quality.delivery import DAY, NEXT_DAY, VALID, at, row, write_day

SPOILED: dict[str, Any] = {
    "oversized": "x" * 100_001,
    "empty": "  ",
    "unknown": "teleport",
    "before_shop": at("1970-01-01"),
    "in_future": at("2024-05-03 00:00:01"),
    "not_finite": float("nan"),
    "negative": -0.01,
    "absurd": 1e12,
    "outside_0_1": 0.0,
    "missing": None,
    "before_assigned_at": at("2024-04-30"),
    "before_applied_at": at("2024-04-30"),
}
UNPARSEABLE = {"timestamp": "soon", "float": "ten", "int": "first", "bool": "perhaps", "float_list": "none", "json": "{"}


#: Rules that take other cells: two that are allowed each by itself, and a time so far ahead that Python has no date for it.
OTHER_CELLS: dict[tuple[str, str], dict[str, Any]] = {
    ("events", "spend_absurd"): {"unit_price": 1e6, "quantity": 1001.0},
    ("items", "listed_at_in_future"): {"listed_at": "infinity"},
}


def _broken_rows() -> list[tuple[str, str, dict[str, Any]]]:
    """`(table, rule, row)` for every rule that a cell can break."""
    cases = []
    for table in LANDING.values():
        for rule in rules_for(table):
            if cells := OTHER_CELLS.get((table.name, rule.name)):
                cases.append((table.name, rule.name, row(table.name, **cells)))
                continue
            column = next(c for c in sorted(table.columns, key=lambda c: -len(c.name)) if rule.name.startswith(c.name + "_"))
            fault = rule.name.removeprefix(column.name + "_")
            if fault == "unparseable":
                if column.kind == "string":
                    value: Any = b"\x81\x8d"  # neither UTF-8 nor cp1252
                else:
                    value = UNPARSEABLE[column.kind]
            elif column.kind == "float_list" and fault == "not_finite":
                value = [1.0, float("inf")]
            else:
                value = SPOILED[fault]
            cases.append((table.name, rule.name, row(table.name, **{column.name: value})))
    return cases


@pytest.mark.parametrize(("table", "good"), VALID.items())
def test_a_valid_row_of_every_table_is_accepted(house: Path, table: str, good: dict[str, Any]) -> None:
    write_day(house, table, [good])
    load = load_window(house / "landing", DAY, NEXT_DAY).tables[table]
    assert (load.rows_in, load.accepted, load.quarantined, load.exact_duplicates) == (1, 1, {}, 0)


def test_every_rule_of_every_table_catches_the_row_that_breaks_it(house: Path) -> None:
    cases = _broken_rows()
    assert len(cases) == sum(len(rules_for(table)) for table in LANDING.values())
    for number, (table, _, broken) in enumerate(cases):
        write_day(house, table, [broken], part=number)
    report = load_window(house / "landing", DAY, NEXT_DAY)
    for table in LANDING:
        expected = sorted(rule for name, rule, _ in cases if name == table)
        assert sorted(report.tables[table].quarantined) == expected, table
        assert set(report.tables[table].quarantined.values()) == {1}, table
        assert report.tables[table].accepted == 0


def test_a_row_that_breaks_several_rules_is_quarantined_once_and_names_all(house: Path) -> None:
    write_day(house, "events", [row("events", unit_price=-1.0, event_type="teleport", occurred_at=at("2025-01-01"))])
    assert load_window(house / "landing", DAY, NEXT_DAY).tables["events"].quarantined == {"event_type_unknown": 1}
    with open_warehouse() as connection:
        quarantined = connection.execute("select landing_table, ds, rule, detail from quarantine.rows").fetchall()
    assert quarantined == [("events", DAY, "event_type_unknown", "event_type_unknown, occurred_at_in_future, unit_price_negative")]


def test_a_price_times_a_quantity_is_money_too_and_one_without_a_quantity_counts_as_one_piece(house: Path) -> None:
    dearest = [
        row("events", event_id="e1", unit_price=1e9, quantity=1.0),
        row("events", event_id="e2", unit_price=1e9, quantity=None),
        row("events", event_id="e3", unit_price=1e3, quantity=1e6),
        row("events", event_id="e4", unit_price=None, quantity=1e6),
    ]
    absurd = [row("events", event_id="e5", unit_price=1e9, quantity=1.001), row("events", event_id="e6", unit_price=1e9, quantity=1e6)]
    write_day(house, "events", dearest + absurd)
    events = load_window(house / "landing", DAY, NEXT_DAY).tables["events"]
    assert (events.accepted, events.quarantined) == (4, {"spend_absurd": 2})


def test_a_time_may_lie_one_day_past_the_day_that_brought_it_and_no_longer(house: Path) -> None:
    latest = at("2024-05-03")
    rows = [row("events", event_id="e1", occurred_at=latest), row("events", event_id="e2", occurred_at=latest + timedelta(microseconds=1))]
    write_day(house, "events", rows)
    assert load_window(house / "landing", DAY, NEXT_DAY).tables["events"].quarantined == {"occurred_at_in_future": 1}


def test_an_item_may_be_listed_ahead_as_far_as_there_are_dates(house: Path) -> None:
    days = {"i1": "9999-12-31 23:59:59.999999", "i2": "10000-01-01 00:00:00", "i3": "2025-05-01"}
    write_day(house, "items", [row("items", item_id=name, listed_at=listed_at) for name, listed_at in days.items()])
    items = load_window(house / "landing", DAY, NEXT_DAY).tables["items"]
    assert (items.accepted, items.quarantined) == (2, {"listed_at_in_future": 1})


def test_the_quarantined_row_is_kept_as_it_was_delivered(house: Path) -> None:
    write_day(house, "items", [row("items", price="nine euros")])
    load_window(house / "landing", DAY, NEXT_DAY)
    with open_warehouse() as connection:
        kept = connection.execute("select row_json ->> '$.price', row_json ->> '$.item_id' from quarantine.rows").fetchone()
    assert kept == ("nine euros", "i1")


def test_rule_names_are_unique_in_a_table_and_leave_room_for_those_of_rows_together() -> None:
    for table in LANDING.values():
        names = [rule.name for rule in rules_for(table)]
        assert len(names) == len(set(names))
        assert not {SUPERSEDED, BURST} & set(names)


def test_the_page_names_every_kind_of_rule_with_its_limits() -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    table = page[page.index("| rule | the row is refused where |") :].split("\n\n")[0]
    endings = re.findall(r"`\.\.\.(_\w+)`", table)
    others = [rule.name for one in LANDING.values() for rule in rules_for(one) if not rule.name.endswith(tuple(endings))]
    assert set(others) == {"outcome_at_before_assigned_at", "outcome_at_before_applied_at"}
    assert "`outcome_at_before_...`" in table and f"`{SUPERSEDED}`" in table
    for values in ALLOWED.values():
        assert ", ".join(f"`{value}`" for value in values) in table
    assert f"longer than {NAME_LENGTH} characters, free text than {FREE_TEXT_LENGTH:,}" in table
    assert f"before {SHOP_OPENED}, or more than {FUTURE_TOLERANCE} after" in table
    assert f"(`listed_at`: after {LAST_DATE[:10]})" in table
    limits = [RANGES[name][1] for name in ("unit_price", "quantity", "rating")]
    money, quantity, rating = (f"{limit:,.0f}" for limit in limits)
    assert f"money above {money}, a quantity above {quantity}, a rating beyond {rating} either way" in table
    assert f"| `{BURST}` | it is one of more than {BURST_EVENTS:,} events of one known user in one second" in table
    assert "`spend_absurd`: `unit_price` times `quantity`" in table
