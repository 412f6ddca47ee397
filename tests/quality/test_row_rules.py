"""Every rule at the landing border, each broken by one hand-written row."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quality.load import load_window
from quality.row_rules import SUPERSEDED, rules_for
from quality.warehouse import open_warehouse
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


def _broken_rows() -> list[tuple[str, str, dict[str, Any]]]:
    """`(table, rule, row)` for every rule that a cell can break."""
    cases = []
    for table in LANDING.values():
        for rule in rules_for(table):
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


def test_a_time_may_lie_one_day_past_the_day_that_brought_it_and_no_longer(house: Path) -> None:
    latest = at("2024-05-03")
    rows = [row("events", event_id="e1", occurred_at=latest), row("events", event_id="e2", occurred_at=latest + timedelta(microseconds=1))]
    write_day(house, "events", rows)
    assert load_window(house / "landing", DAY, NEXT_DAY).tables["events"].quarantined == {"occurred_at_in_future": 1}


def test_the_quarantined_row_is_kept_as_it_was_delivered(house: Path) -> None:
    write_day(house, "items", [row("items", price="nine euros")])
    load_window(house / "landing", DAY, NEXT_DAY)
    with open_warehouse() as connection:
        kept = connection.execute("select row_json ->> '$.price', row_json ->> '$.item_id' from quarantine.rows").fetchone()
    assert kept == ("nine euros", "i1")


def test_rule_names_are_unique_in_a_table_and_leave_room_for_superseded() -> None:
    for table in LANDING.values():
        names = [rule.name for rule in rules_for(table)]
        assert len(names) == len(set(names))
        assert SUPERSEDED not in names
