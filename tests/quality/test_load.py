"""A day replaces itself, every row is accounted for, and a refused load changes nothing."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quality import load
from quality.errors import DeliveryRefused, RowsLost, WindowInvalid
from quality.load import load_window
from quality.row_rules import BURST, BURST_EVENTS
from quality.warehouse import landing_columns, open_warehouse
from sources.landing import LANDING
from tests.quality.delivery import DAY, NEXT_DAY, VALID, at, row, rows_kept, write_day

THIRD_DAY = date(2024, 5, 3)


def test_rows_in_are_accepted_quarantined_or_exact_duplicates(house: Path) -> None:
    later = at("2024-05-01 13:00")
    write_day(
        house,
        "events",
        [
            row("events", event_id="e1"),
            row("events", event_id="e1"),  # exact duplicate
            row("events", event_id="e2", quantity=1.0, received_at=later),  # the later received_at wins over file order
            row("events", event_id="e2", quantity=7.0),
            row("events", event_id="e3", quantity=-1.0),
            row("events", event_id="e4"),
        ],
    )
    loaded = load_window(house / "landing", DAY, NEXT_DAY)
    events = loaded.tables["events"]
    assert (events.rows_in, events.accepted, events.exact_duplicates, events.superseded) == (6, 3, 1, 1)
    assert events.quarantined == {"quantity_negative": 1, "superseded": 1}
    assert "  events: 6 rows in = 3 accepted + 2 quarantined + 1 exact duplicates\n    quantity_negative: 1\n" in loaded.as_text()
    assert "  users: not delivered (no folder users/ in the delivery)" in loaded.as_text()
    assert [(r[0], r[8]) for r in rows_kept("landing.events")] == [("e1", 2.0), ("e2", 1.0), ("e4", 2.0)]
    assert rows_kept("landing._loads") == [("events", DAY, 6, 3, 2, 1, 0, "{}")]


def test_without_received_at_the_last_row_in_file_order_wins(house: Path) -> None:
    write_day(house, "items", [row("items", price=1.0), row("items", price=2.0)], part=0)
    write_day(house, "items", [row("items", price=3.0), row("items", price=1.0)], part=1)
    items = load_window(house / "landing", DAY, NEXT_DAY).tables["items"]
    assert (items.accepted, items.exact_duplicates, items.superseded) == (1, 1, 2)
    assert [r[5] for r in rows_kept("landing.items")] == [1.0]


def test_a_correction_on_a_later_day_keeps_both_rows_and_when_each_became_known(house: Path) -> None:
    write_day(house, "users", [row("users", city="Lund")])
    write_day(house, "users", [row("users", city="Malmö")], ds=NEXT_DAY)
    load_window(house / "landing", DAY, THIRD_DAY)
    stored = [(r[3], r[-3], r[-2]) for r in rows_kept("landing.users")]
    assert stored == [("Lund", DAY, at("2024-05-02")), ("Malmö", NEXT_DAY, at("2024-05-03"))]


def test_a_day_loaded_twice_is_there_once_and_a_redelivered_day_replaces_it(house: Path) -> None:
    write_day(house, "events", [row("events"), row("events", event_id="e2", quantity=-1.0)])
    load_window(house / "landing", DAY, NEXT_DAY)
    first = rows_kept()
    load_window(house / "landing", DAY, NEXT_DAY)
    assert rows_kept() == first
    write_day(house, "events", [row("events", event_id="e9")])
    load_window(house / "landing", DAY, NEXT_DAY)
    assert [r[0] for r in rows_kept("landing.events")] == ["e9"]
    assert rows_kept("quarantine.rows") == []


def test_the_order_and_size_of_loads_do_not_change_what_is_stored(house: Path) -> None:
    days = [DAY, NEXT_DAY, THIRD_DAY]
    shapes = [{"x_age": 3}, {"x_age": 3.5, "x_city": "Lund"}, {"x_city": 7, "cost": "0.5"}]  # types and columns differ from day to day
    for ds, cells in zip(days, shapes, strict=True):
        write_day(house, "campaign_exposures", [row("campaign_exposures", **cells)], ds=ds)
        write_day(house, "events", [row("events"), row("events"), row("events", event_id=None)], ds=ds)
    end = date(2024, 5, 4)
    load_window(house / "landing", DAY, end)
    together = rows_kept()
    for ds in (THIRD_DAY, DAY, NEXT_DAY, DAY):
        load_window(house / "landing", ds, date.fromordinal(ds.toordinal() + 1))
    assert rows_kept() == together
    assert [r[-4] for r in rows_kept("landing.campaign_exposures")] == ['{"x_age":3.0}', '{"x_age":3.5,"x_city":"Lund"}', '{"x_city":7.0}']


def _at_once(count: int, **cells: object) -> list[dict]:
    """So many events of a user within one second."""
    return [row("events", event_id=f"{cells}-{n}", occurred_at=at(f"2024-05-01 12:00:00.{n:06}"), **cells) for n in range(count)]


def test_more_events_of_a_user_in_one_second_than_anyone_can_cause_wait_in_quarantine(house: Path) -> None:
    robot = _at_once(BURST_EVENTS + 1, user_id="u-robot")
    write_day(
        house,
        "events",
        [
            *robot,
            *robot[:5],
            row("events", user_id="u-robot", occurred_at=at("2024-05-01 13:00")),
            row("events", event_id="e2", quantity=-1.0),
        ],
    )
    write_day(house, "events", [robot[0] | {"quantity": 9.0}], part=1)
    events = load_window(house / "landing", DAY, NEXT_DAY).tables["events"]
    assert events.quarantined == {BURST: BURST_EVENTS + 7, "quantity_negative": 1}  # which of them are true nobody can tell
    assert (events.rows_in, events.accepted, events.exact_duplicates) == (BURST_EVENTS + 9, 1, 0)
    assert [r[0] for r in rows_kept("landing.events")] == ["e1"]


def test_as_many_as_the_longest_order_guests_copies_and_the_next_second_are_no_burst(house: Path) -> None:
    write_day(house, "events", _at_once(BURST_EVENTS) + _at_once(BURST_EVENTS + 1, user_id=None))
    write_day(house, "events", [row("events", user_id="u2")] * (BURST_EVENTS + 1), part=1)
    write_day(house, "events", [row("events", event_id="e2", occurred_at=at("2024-05-01 12:00:01"))], part=2)
    events = load_window(house / "landing", DAY, NEXT_DAY).tables["events"]
    assert (events.quarantined, events.exact_duplicates, events.kept["guests"]) == ({}, BURST_EVENTS, BURST_EVENTS + 1)


def test_other_days_and_undelivered_tables_are_left_alone(house: Path) -> None:
    write_day(house, "events", [row("events", event_id="e1")])
    write_day(house, "events", [row("events", event_id="e2")], ds=NEXT_DAY)
    write_day(house, "users", [row("users")])
    load_window(house / "landing", DAY, THIRD_DAY)
    (house / "landing" / "users").rename(house / "users")
    (house / "landing" / "events" / f"ds={DAY}" / "part-0.parquet").unlink()
    write_day(house, "items", [row("items")])
    load_window(house / "landing", DAY, NEXT_DAY)
    assert [r[0] for r in rows_kept("landing.events")] == ["e2"]
    assert [r[0] for r in rows_kept("landing.users")] == ["u1"]


def test_a_null_event_id_becomes_a_hash_of_all_columns(house: Path) -> None:
    anonymous = row("events", event_id=None)
    write_day(house, "events", [anonymous, anonymous, anonymous | {"quantity": 3.0}])
    events = load_window(house / "landing", DAY, NEXT_DAY).tables["events"]
    assert (events.accepted, events.exact_duplicates) == (2, 1)
    ids = [r[0] for r in rows_kept("landing.events")]
    assert all(len(name) == 32 for name in ids)
    write_day(house, "events", [anonymous], ds=NEXT_DAY)
    load_window(house / "landing", NEXT_DAY, THIRD_DAY)
    assert {r[0] for r in rows_kept("landing.events")} == set(ids)  # the same row on another day is the same event


def test_only_x_columns_travel_and_only_where_the_table_keeps_them(house: Path) -> None:
    write_day(house, "campaign_exposures", [row("campaign_exposures", x_seg="a", x_recency=2, x_gap=float("nan"), note="dropped")])
    write_day(house, "events", [row("events", x_seg="a")])
    load_window(house / "landing", DAY, NEXT_DAY)
    assert [r[-4] for r in rows_kept("landing.campaign_exposures")] == ['{"x_recency":2.0,"x_seg":"a"}']
    with open_warehouse() as connection:
        columns = [name for name, *_ in connection.execute("describe landing.events").fetchall()]
    assert columns == [*LANDING["events"].names, "ds", "known_at", "repairs"]


def test_numbers_and_times_written_as_text_are_read_and_offsets_become_utc(house: Path) -> None:
    write_day(
        house, "events", [row("events", event_id=17, quantity="3", occurred_at="2024-05-01T10:00:00+02:00", received_at="2024-05-01 09:00")]
    )
    load_window(house / "landing", DAY, NEXT_DAY)
    stored = rows_kept("landing.events")[0]
    assert (stored[0], stored[4], stored[5], stored[8]) == ("17", at("2024-05-01 08:00"), at("2024-05-01 09:00"), 3.0)


def test_the_shops_own_known_at_does_not_replace_when_we_knew(house: Path) -> None:
    write_day(house, "user_traits", [row("user_traits")])
    load_window(house / "landing", DAY, NEXT_DAY)
    with open_warehouse() as connection:
        stored = connection.execute("select shop_known_at, known_at from landing.user_traits").fetchone()
    assert stored == (at("2023-01-01"), at("2024-05-02"))


def test_every_landing_table_exists_typed_even_in_an_empty_warehouse(house: Path) -> None:
    with open_warehouse() as connection:
        for table in LANDING.values():
            described = {name: kind.lower() for name, kind, *_ in connection.execute(f"describe landing.{table.name}").fetchall()}
            assert described == landing_columns(table)


@pytest.mark.parametrize("table", LANDING)
def test_a_file_without_a_required_column_is_refused_by_name_and_changes_nothing(house: Path, table: str) -> None:
    write_day(house, table, [VALID[table]])
    load_window(house / "landing", DAY, NEXT_DAY)
    before = rows_kept()
    for column in LANDING[table].required:
        write_day(house, table, [{name: value for name, value in VALID[table].items() if name != column} | {"other": 1}], part=1)
        with pytest.raises(
            DeliveryRefused, match=rf"Every file of {table} must have the column {column}\. Received {table}/ds=2024-05-01/part-1"
        ):
            load_window(house / "landing", DAY, NEXT_DAY)
    assert rows_kept() == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "corrupted"])
def test_an_unreadable_file_is_refused_by_name_and_changes_nothing(house: Path, damage: str) -> None:
    write_day(house, "events", [row("events")])
    load_window(house / "landing", DAY, NEXT_DAY)
    before = rows_kept()
    path = write_day(house, "events", [row("events", event_id=f"e{number}") for number in range(1000)], part=1)
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:-20], "empty": b"", "corrupted": whole[:10] + bytes(200) + whole[210:]}[damage])
    with pytest.raises(DeliveryRefused, match=r"Every file of events must be a whole Parquet file\. Received: .*part-1\.parquet"):
        load_window(house / "landing", DAY, NEXT_DAY)
    assert rows_kept() == before


def test_a_silent_day_inside_the_delivered_period_loads_and_every_day_of_every_delivered_table_is_recorded(house: Path) -> None:
    write_day(house, "events", [row("events")])
    write_day(house, "events", [row("events", event_id="e2")], ds=THIRD_DAY)
    write_day(house, "users", [row("users")])
    report = load_window(house / "landing", NEXT_DAY, THIRD_DAY)
    assert {name: (load.rows_in, load.accepted) for name, load in report.tables.items()} == {"users": (0, 0), "events": (0, 0)}
    load_window(house / "landing", DAY, date(2024, 5, 4))
    books = [(r[0], r[1], r[2]) for r in rows_kept("landing._loads")]
    days = (DAY, NEXT_DAY, THIRD_DAY)
    assert books == [*(("events", ds, int(ds != NEXT_DAY)) for ds in days), *(("users", ds, int(ds == DAY)) for ds in days)]


def test_live_events_and_released_rows_of_a_day_load_beside_the_delivered_ones(house: Path) -> None:
    later = at("2024-05-01 13:00")
    write_day(house, "events", [row("events", event_id="e1"), row("events", event_id="e2", quantity=2.0)])
    live = [row("events", event_id="e1"), row("events", event_id="e2", quantity=5.0, received_at=later), row("events", event_id="e3")]
    write_day(house, "live_events", live)
    write_day(house, "_released/events", [row("events", event_id="e4")])
    events = load_window(house / "landing", DAY, NEXT_DAY).tables["events"]
    assert (events.rows_in, events.accepted, events.exact_duplicates, events.superseded) == (6, 4, 1, 1)
    assert [(r[0], r[8]) for r in rows_kept("landing.events")] == [("e1", 2.0), ("e2", 5.0), ("e3", 2.0), ("e4", 2.0)]
    write_day(house, "events", [row("events", event_id="e9")])  # the source delivers the day again
    load_window(house / "landing", DAY, NEXT_DAY)
    assert [r[0] for r in rows_kept("landing.events")] == ["e1", "e2", "e3", "e4", "e9"]


@pytest.mark.parametrize("can_link", [True, False])
def test_decisions_that_are_written_while_they_are_loaded_wait_for_the_next_load(
    house: Path, monkeypatch: pytest.MonkeyPatch, can_link: bool
) -> None:
    file = write_day(house, "decisions", [row("decisions", decision_id="1")])
    read = load.insert_group

    def grow(*given: Any) -> str:
        file.unlink()  # a writer renames a longer file over it
        write_day(house, "decisions", [row("decisions", decision_id=one) for one in "123"])
        return read(*given)

    if not can_link:
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError("another disk")))
    monkeypatch.setattr(load, "insert_group", grow)
    assert load_window(house / "landing", DAY, NEXT_DAY).tables["decisions"].rows_in == 1
    assert load_window(house / "landing", DAY, NEXT_DAY).tables["decisions"].rows_in == 3


def test_live_events_alone_are_a_delivery_of_events(house: Path) -> None:
    write_day(house, "live_events", [row("events")])
    report = load_window(house / "landing", DAY, NEXT_DAY)
    assert report.tables["events"].accepted == 1
    assert "events" not in report.missing


def test_an_empty_folder_and_a_window_without_files_are_refused(house: Path) -> None:
    (house / "landing").mkdir()
    with pytest.raises(DeliveryRefused, match=r"A landing folder holds at least one table.*Received landing/ without any of users"):
        load_window(house / "landing", DAY, NEXT_DAY)
    write_day(house, "events", [row("events")])
    with pytest.raises(DeliveryRefused, match=r"Received \[2024-05-02, 2024-05-03\) and no file in it"):
        load_window(house / "landing", NEXT_DAY, THIRD_DAY)
    (house / "landing" / "events" / "ds=yesterday").mkdir()
    with pytest.raises(DeliveryRefused, match=r"named ds=YYYY-MM-DD\. Received events/ds=yesterday"):
        load_window(house / "landing", DAY, NEXT_DAY)


@pytest.mark.parametrize("end", [DAY, date(2024, 4, 30)])
def test_a_window_without_a_day_raises(house: Path, end: date) -> None:
    with pytest.raises(WindowInvalid, match=rf"at least one day\. Received start 2024-05-01, end {end}"):
        load_window(house / "landing", DAY, end)


def test_the_sources_own_reason_names_why_a_table_is_missing(house: Path) -> None:
    write_day(house, "events", [row("events")])
    (house / "landing" / "_delivery.json").write_text('{"missing": {"orders": "the publisher has no orders"}}')
    report = load_window(house / "landing", DAY, NEXT_DAY)
    assert report.missing["orders"] == "the publisher has no orders"
    assert report.missing["users"] == "no folder users/ in the delivery"


def test_a_load_that_loses_a_row_raises_and_changes_nothing(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_day(house, "events", [row("events"), row("events", event_id="e2")])
    stage = load._stage

    def losing(connection, table, files):
        stage(connection, table, files)
        connection.execute("delete from staged where event_id = 'e2'")

    monkeypatch.setattr(load, "_stage", losing)
    with pytest.raises(RowsLost, match=r"Received 2 rows of events and accounted for 1 \+ 0 \+ 0"):
        load_window(house / "landing", DAY, NEXT_DAY)
    assert rows_kept() == []


def test_empty_files_and_other_schemas_beside_them_load(house: Path) -> None:
    path = write_day(house, "items", [row("items")])
    pq.write_table(pq.read_table(path).slice(0, 0), path.with_name("part-1.parquet"))
    pq.write_table(pa.table({"ITEM_ID": pa.array(["i2"])}), path.with_name("part-2.parquet"))
    assert load_window(house / "landing", DAY, NEXT_DAY).tables["items"].accepted == 2
