"""Rows in quarantine: listed without values, shown, fixed, judged again, released, and closed."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from quality.errors import NotInQuarantine, ReleaseRefused
from quality.load import load_window
from quality.quarantine import listing, open_rows, release, show, summary
from quality.row_rules import BURST, BURST_EVENTS
from quality.warehouse import open_warehouse
from tests.quality.delivery import DAY, NEXT_DAY, at, row, write_day

THIRD_DAY = NEXT_DAY + timedelta(days=1)


def _load(house: Path, start: date = DAY, end: date = NEXT_DAY):
    return load_window(house / "landing", start, end)


def _events() -> list[tuple]:
    with open_warehouse() as connection:
        return connection.execute("select event_id, quantity, ds from landing.events order by all").fetchall()


def test_open_rows_are_listed_and_counted_without_their_values(house: Path) -> None:
    write_day(house, "events", [row("events", event_id="secret-1", quantity=-1.0), row("events", event_id="e2", quantity=-2.0)])
    write_day(house, "events", [row("events", event_id="e3", event_type="teleport")], ds=NEXT_DAY)
    write_day(house, "items", [row("items", price="ten")])
    _load(house, DAY, THIRD_DAY)
    assert [(r.table, r.ds, r.rule, r.row) for r in open_rows()] == [
        ("events", NEXT_DAY, "event_type_unknown", None),
        ("events", DAY, "quantity_negative", None),
        ("events", DAY, "quantity_negative", None),
        ("items", DAY, "price_unparseable", None),
    ]
    assert [count.as_text() for count in summary()] == [
        "events  quantity_negative: 2 rows, 2024-05-01 to 2024-05-01",
        "events  event_type_unknown: 1 row, 2024-05-02 to 2024-05-02",
        "items  price_unparseable: 1 row, 2024-05-01 to 2024-05-01",
    ]
    assert [r.table for r in open_rows(table="items")] == ["items"]
    assert len(open_rows(rule="quantity_negative", limit=1)) == 1
    assert "secret" not in "".join([*(r.as_text() for r in open_rows()), *(count.as_text() for count in summary())])


def test_a_listing_counts_what_was_asked_for_and_says_how_much_it_leaves_out(house: Path) -> None:
    write_day(house, "events", [row("events", event_id=f"e{number}", quantity=-1.0) for number in range(4)])
    write_day(house, "items", [row("items", price="ten")])
    _load(house)
    of_items = listing(table="items")
    assert [(count.table, count.rows) for count in of_items.counts] == [("items", 1)]
    assert [waiting.table for waiting in of_items.rows] == ["items"]
    assert listing(table="items", rule="quantity_negative").counts == ()
    short = listing(rule="quantity_negative", limit=1).as_text().splitlines()
    assert short[0] == "events  quantity_negative: 4 rows, 2024-05-01 to 2024-05-01"
    assert short[2] == "and 3 more: see them with --limit, or fewer with --table and --rule"
    assert "more" not in listing().as_text()


def test_one_row_is_shown_with_its_values_by_a_short_id(house: Path) -> None:
    write_day(house, "events", [row("events", quantity=-1.0, event_type="teleport")])
    _load(house)
    (waiting,) = open_rows()
    shown = show(waiting.id[:8])
    assert shown.row is not None
    assert (shown.id, shown.row["quantity"], shown.row["event_type"]) == (waiting.id, "-1.0", "teleport")
    assert "  broken: event_type_unknown, quantity_negative" in shown.as_text()
    for id in ("nothing", ""):
        with pytest.raises(NotInQuarantine, match=rf"An id must name one row in quarantine\. Received '{id}', which names"):
            show(id)


def test_an_id_stays_the_same_over_loads_and_tells_equal_rows_apart(house: Path) -> None:
    bad = row("events", quantity=-1.0)
    write_day(house, "events", [bad, bad])
    write_day(house, "events", [bad], ds=NEXT_DAY)
    _load(house, DAY, THIRD_DAY)
    first = {r.id for r in open_rows()}
    assert len(first) == 3
    write_day(house, "events", [row("events", event_id="e0"), bad, bad])  # the day comes again, with a row before them
    _load(house)
    assert {r.id for r in open_rows()} == first


def test_a_fixed_row_comes_in_with_its_day_and_is_not_open_again(house: Path) -> None:
    write_day(house, "events", [row("events", event_id="e1"), row("events", event_id="e2", quantity=-3.0)])
    _load(house)
    (waiting,) = open_rows()
    report = release([waiting.id], {"quantity": "3"})
    assert (report.ids, report.start, report.end) == ((waiting.id,), DAY, NEXT_DAY)
    assert report.as_text().startswith(
        "Released 1 row of events. Each comes in when its day is loaded again: `portrait load 2024-05-01 2024-05-02`"
    )
    assert open_rows() == []
    assert (house / "landing" / "_released" / "events" / f"ds={DAY}" / f"{waiting.id}.parquet").is_file()
    loads = [_load(house).tables["events"] for _ in range(2)]
    assert [(load.rows_in, load.accepted, load.quarantined) for load in loads] == [(3, 2, {"quantity_negative": 1})] * 2
    assert _events() == [("e1", 2.0, DAY), ("e2", 3.0, DAY)]
    assert open_rows() == []
    with open_warehouse() as connection:
        assert connection.execute("from quarantine.releases").fetchall() == [(waiting.id, DAY, '{"quantity": "3"}')]
    (house / "warehouse.duckdb").unlink()  # a new warehouse learns of the release from the files
    _load(house)
    assert (open_rows(), len(_events())) == ([], 2)


def test_a_row_that_still_breaks_a_rule_is_refused_by_the_rules_name_and_nothing_is_released(house: Path) -> None:
    bad = [row("events", event_id=f"e{number}", quantity=-1.0, event_type="teleport" if number else "view") for number in range(2)]
    write_day(house, "events", bad)
    _load(house)
    ids = [r.id for r in open_rows()]
    with pytest.raises(ReleaseRefused, match=r"must keep every rule of events\. Received \w+, which still breaks event_type_unknown\."):
        release(ids, {"quantity": "1"})
    with pytest.raises(ReleaseRefused, match=r"A fix names a column of events: event_id, .*Received 'colour'"):
        release(ids, {"colour": "red"})
    with pytest.raises(NotInQuarantine, match=r"at least one row"):
        release([], {})
    assert len(open_rows()) == 2
    assert not list((house / "landing").rglob("_released/**/*.parquet"))
    assert not list((house / "landing").glob(".release-*"))
    release(ids, {"quantity": "1", "event_type": "view"})
    assert _load(house).tables["events"].accepted == 2


def test_a_superseded_row_is_released_only_with_what_lets_it_win(house: Path) -> None:
    earlier, later = (row("events", quantity=count, received_at=at(f"2024-05-01 {hour}:00")) for count, hour in ((2.0, 12), (9.0, 13)))
    write_day(house, "events", [earlier, later])
    _load(house)
    (waiting,) = open_rows()
    assert waiting.rule == "superseded"
    with pytest.raises(ReleaseRefused, match=r"only with another received_at or event_id\. Received \w+, to which .* Nothing was released"):
        release([waiting.id], {"quantity": "2"})
    assert [one.id for one in open_rows()] == [waiting.id]
    release([waiting.id], {"received_at": "2024-05-01 14:00"})
    _load(house)
    assert _events() == [("e1", 2.0, DAY)]
    assert {one.rule for one in open_rows()} == {"superseded"}  # now the other one waits


def test_a_row_of_a_burst_is_released_only_with_another_time_or_user(house: Path) -> None:
    write_day(house, "events", [row("events", event_id=f"e{number}") for number in range(BURST_EVENTS + 1)])
    _load(house)
    waiting = open_rows()[0]
    assert waiting.rule == BURST
    with pytest.raises(
        ReleaseRefused, match=r"A row of a burst comes in only with another occurred_at or user_id\. Received \w+, one of m"
    ):
        release([waiting.id], {"quantity": "2"})
    release([waiting.id], {"occurred_at": "2024-05-01 14:00"})
    load = _load(house).tables["events"]
    assert (load.accepted, load.quarantined) == (1, {BURST: BURST_EVENTS + 1})
    assert summary()[0].rows == BURST_EVENTS


def test_a_rows_own_covariates_and_a_fix_to_null_survive_the_release(house: Path) -> None:
    exposure = row("campaign_exposures", propensity=7.0, cost="cheap", x_age=3, x_city="Lund")
    write_day(house, "campaign_exposures", [exposure])
    _load(house)
    release([open_rows()[0].id], {"propensity": "0.5", "cost": None, "x_city": "Malmö"})
    _load(house)
    with open_warehouse() as connection:
        stored = connection.execute("select propensity, cost, covariates, assigned_at from landing.campaign_exposures").fetchall()
    assert [(*r[:2], json.loads(r[2]), r[3]) for r in stored] == [(0.5, None, {"x_age": 3.0, "x_city": "Malmö"}, exposure["assigned_at"])]
    (house / "landing" / "_released" / "campaign_exposures" / f"ds={DAY}").joinpath(f"{show_closed()}.parquet").unlink()
    _load(house)
    assert len(open_rows()) == 1  # a release taken back opens the row again


def show_closed() -> str:
    """The id of the one released row."""
    with open_warehouse() as connection:
        return connection.execute("select id from quarantine.releases").fetchall()[0][0]
