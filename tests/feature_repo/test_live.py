"""Live events: what is taken, judged, remembered and stored, whoever posts and however often."""

import multiprocessing
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from feature_repo import live, live_log
from feature_repo.contract import marts
from feature_repo.live import LiveReport, accept, replay
from feature_repo.live_clock import LiveClock
from feature_repo.live_log import SCHEMA, LiveLog
from feature_repo.live_online import OnlineUsers
from feature_repo.live_rules import Judge
from feature_repo.store import apply
from quality.load import load_window
from quality.row_rules import BURST, BURST_EVENTS
from quality.warehouse import open_warehouse
from settings import get_settings

DAY = date(2024, 5, 1)
NOON = datetime(2024, 5, 1, 12)  # noqa: DTZ001
ARRIVAL = {"now": NOON, "horizon": None, "is_wall": True}


def event(event_id: str | None, user: str | None = "ann", at: str = "2024-05-01T10:00:00", **more: Any) -> dict[str, Any]:
    row = {"event_id": event_id, "user_id": user, "item_id": "tea", "event_type": "view", "occurred_at": at} | more
    return {name: value for name, value in row.items() if value is not None}


def anew() -> None:
    """As after a restart: nothing of this process's live state is left."""
    live._house.cache_clear()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    anew()
    yield
    anew()


def stored() -> list[dict[str, Any]]:
    files = sorted(get_settings().live_dir.glob("ds=*/*.parquet"))
    return [row for file in files for row in pyarrow.parquet.read_table(file, partitioning=None).to_pylist()]


@pytest.fixture
def offline(house: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A house whose online store swallows everything: for tests of what is stored."""
    monkeypatch.setattr(live._House, "_apply", lambda self, rows, visits: None)
    return house


def test_an_event_taken_before_is_a_duplicate_also_after_a_restart(offline: Path) -> None:
    assert accept([event("e1"), event("e1"), event("e2")]) == LiveReport(2, 1, [], True)
    assert accept([event("e2", item_id="cup")]) == LiveReport(0, 1, [], True)
    anew()
    assert accept([event("e1"), event("e3")]) == LiveReport(1, 1, [], True)
    assert [row["event_id"] for row in stored()] == ["e1", "e2", "e3"]


def test_an_event_without_an_id_gets_the_hash_that_the_load_would_give_it(offline: Path) -> None:
    bare = event(None, quantity=2, unit_price="3.50", session_id="s")
    assert accept([bare]).accepted == accept([bare]).duplicates == 1
    folder = get_settings().landing_dir / "events" / f"ds={DAY}"
    folder.mkdir(parents=True)
    typed = bare | {"occurred_at": datetime.fromisoformat(bare["occurred_at"]), "unit_price": 3.5, "quantity": 2.0}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([typed], schema=SCHEMA), folder / "part-0.parquet")
    load_window(get_settings().landing_dir, DAY, DAY + timedelta(days=1))
    with open_warehouse() as warehouse:
        assert warehouse.execute("select event_id from landing.events").fetchall() == [(stored()[0]["event_id"],)]


def dirty(count: int) -> list[dict[str, str]]:
    """Events as text, a third of their cells spoilt."""
    draw = random.Random(7)
    spoilt = {
        "user_id": ["", "x" * 300, " "],
        "item_id": ["", "y" * 300],
        "event_type": ["buy", "", "VIEW"],
        "occurred_at": ["yesterday", "1970-01-01", "2031-01-01", "2024-05-01T09:00:00+02:00", "infinity"],
        "received_at": ["2024-05-09", "soon"],
        "quantity": ["-1", "nan", "many", "1e9", "2"],
        "unit_price": ["-0.01", "inf", "9e9", "1,5"],
        "rating": ["1e4", "x", "-5"],
    }
    rows = []
    for number in range(count):
        row = event(f"d{number}")
        for name in draw.sample(sorted(spoilt), draw.randrange(3)):
            row[name] = draw.choice(spoilt[name])
        rows.append(row)
    return rows


def test_live_events_and_landing_rows_are_refused_by_the_same_rules(house: Path) -> None:
    rows = dirty(300)
    refused = {f"d{refusal.index}": refusal.rule for refusal in Judge().judge(rows, ARRIVAL).refused}
    folder = get_settings().landing_dir / "events" / f"ds={DAY}"
    folder.mkdir(parents=True)
    text = pyarrow.schema([(name, pyarrow.string()) for name in SCHEMA.names])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=text), folder / "part-0.parquet")
    load_window(get_settings().landing_dir, DAY, DAY + timedelta(days=1))
    with open_warehouse() as warehouse:
        quarantined = dict(warehouse.execute("select json_extract_string(row_json, 'event_id'), rule from quarantine.rows").fetchall())
    assert refused == quarantined
    assert len(set(refused.values())) > 12


def test_a_refusal_says_the_rule_what_came_and_the_way_out(house: Path) -> None:
    rows: list[Any] = [event("a", event_type="buy"), "text", event("b", user=["x"]), event("\ud800"), event("c", unit_price=True)]  # type: ignore[arg-type]
    refused = Judge().judge(rows, ARRIVAL).refused
    assert [(one.index, one.rule) for one in refused] == [
        (0, "event_type_unknown"),
        (1, "not_an_object"),
        (2, "user_id_unparseable"),
        (3, "event_id_unparseable"),
        (4, "unit_price_unparseable"),
    ]
    assert "event_type is not one of" in refused[0].message
    assert "Received 'buy'. Post the event again with a `event_type` that keeps the rule." in refused[0].message
    assert "Received ['x']. Post the event again with a single value." in refused[2].message


def test_a_refusal_of_two_cells_together_names_both(house: Path) -> None:
    (refused,) = Judge().judge([event("a", unit_price=1e6, quantity=5000)], ARRIVAL).refused
    assert refused.rule == "spend_absurd"
    assert "Received 5000 and 1000000.0. Post the event again with a `quantity` or `unit_price` that keeps the rule." in refused.message


def test_a_burst_of_one_user_within_a_request_is_refused_and_a_backfill_of_many_users_and_times_is_taken(house: Path) -> None:
    robot = [event(f"r{number}", user="robot", at=f"2024-05-01T10:00:00.{number:06}") for number in range(BURST_EVENTS + 1)]
    backfill = [event(f"b{number}", at=f"2024-05-01T09:{number // 60:02}:{number % 60:02}") for number in range(BURST_EVENTS + 1)]
    guests = [event(f"g{number}", user=None) for number in range(BURST_EVENTS + 1)]
    judged = Judge().judge([*backfill, *robot, *guests, *[event("again", user="ann")] * (BURST_EVENTS + 1)], ARRIVAL)
    assert {(one.rule, robot[one.index - len(backfill)]["user_id"]) for one in judged.refused} == {(BURST, "robot")}
    assert len(judged.refused) == len(robot)
    assert f"there are at most {BURST_EVENTS:,} events of one user" in judged.refused[0].message
    assert f"Received {BURST_EVENTS + 1:,} of 2024-05-01 10:00:00. Post them again with the times at which" in judged.refused[0].message


def arrival_of(given: dict[str, Any], **arrival: Any) -> tuple[date, datetime]:
    row = Judge().judge([given], ARRIVAL | arrival).rows[0]
    return row["ds"], row["received_at"]


def test_on_the_wall_clock_an_event_arrives_now_whatever_it_says(house: Path) -> None:
    assert arrival_of(event("e", at="2024-04-20T10:00:00")) == (DAY, NOON)
    said = datetime(2024, 4, 30, 7)  # noqa: DTZ001
    assert arrival_of(event("e", received_at=said.isoformat())) == (DAY, said)


def test_on_the_datas_clock_an_event_arrives_when_it_happened_but_not_on_a_day_that_is_loaded(house: Path) -> None:
    clock = {"is_wall": False, "now": datetime(2026, 1, 1)}  # noqa: DTZ001
    at = datetime(2024, 5, 1, 10)  # noqa: DTZ001
    horizon = datetime(2024, 5, 3)  # noqa: DTZ001
    assert arrival_of(event("e"), **clock) == (DAY, at)
    assert arrival_of(event("e"), **clock, horizon=horizon) == (date(2024, 5, 3), horizon)
    assert Judge().judge([event("e", at="9999-05-01")], ARRIVAL | clock).refused[0].rule == "occurred_at_in_future"


def test_small_posts_share_a_file_and_full_ones_are_closed(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_log, "SEGMENT_ROWS", 10)
    for number in range(25):
        accept([event(f"e{number}")])
    files = sorted(get_settings().live_dir.glob("ds=*/*"))
    assert [pyarrow.parquet.read_table(file, partitioning=None).num_rows for file in files] == [10, 10, 5]
    assert [file.parent.name for file in files] == [f"ds={DAY}"] * 3


def test_a_day_received_is_a_folder_and_reading_back_gives_every_event_once(offline: Path) -> None:
    accept([event("e1"), event("e2", at="2024-05-03T10:00:00"), event("g", user=None, at="2024-05-02T10:00:00")])
    log = LiveLog(get_settings().live_dir)
    copied = next(get_settings().live_dir.glob(f"ds={DAY}/*.parquet"))
    copied.with_name("copy.parquet").write_bytes(copied.read_bytes())
    assert sorted((row["event_id"], row["ds"]) for row in log.since(DAY)) == [
        ("e1", DAY),
        ("e2", date(2024, 5, 3)),
        ("g", date(2024, 5, 2)),
    ]
    assert [row["event_id"] for row in log.since(date(2024, 5, 3))] == ["e2"]


def test_many_threads_at_once_store_every_event_once_and_each_gets_its_own_report(offline: Path) -> None:
    def post(number: int) -> LiveReport:
        return accept([event(f"own{number}"), event("same"), event("bad", event_type=f"x{number}")])

    with ThreadPoolExecutor(16) as pool:
        reports = list(pool.map(post, range(60)))
    assert sum(report.accepted for report in reports) == 61
    assert sum(report.duplicates for report in reports) == 59
    for number, report in enumerate(reports):
        assert [refusal.index for refusal in report.refused] == [2]
        assert f"Received 'x{number}'" in report.refused[0].message
    assert len(stored()) == len({row["event_id"] for row in stored()}) == 61


def _post_from_a_process(number: int) -> tuple[int, int]:
    live._House._apply = lambda self, rows, visits: None  # type: ignore[method-assign]
    reports = [accept([event(f"{number}-{place}"), event(f"shared-{place}")]) for place in range(5)]
    return sum(report.accepted for report in reports), sum(report.duplicates for report in reports)


@pytest.mark.slow
def test_processes_at_once_store_every_event_once(offline: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        counts = pool.map(_post_from_a_process, range(2))
    assert sum(accepted for accepted, _ in counts) == 15
    assert sum(duplicates for _, duplicates in counts) == 5
    assert len(stored()) == len({row["event_id"] for row in stored()}) == 15


@pytest.mark.slow
def test_guests_are_stored_and_have_no_row(house: Path) -> None:
    assert accept([event("g", user=None)]) == LiveReport(1, 0, [], True)
    assert stored()[0]["user_id"] is None
    assert OnlineUsers().users(["ann", "None", ""])["None"].features_at is None


@pytest.mark.slow
def test_what_a_broken_store_missed_comes_with_the_next_event(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(OnlineUsers, "write", lambda *_: 1 / 0)
        assert accept([event("e1"), event("e2", "bob")]) == LiveReport(2, 0, [], is_online=False)
        assert accept([event("e2", "bob")]) == LiveReport(0, 1, [], is_online=False)
    anew()  # also when the process ended there
    assert accept([event("e2", "bob")]) == LiveReport(0, 1, [], is_online=True)
    counted = OnlineUsers().users(["ann", "bob"])
    assert [counted[user].rows["user_features"]["events_total"] for user in ("ann", "bob")] == [1, 1]
    assert accept([event("e3")]).is_online
    assert OnlineUsers().users(["ann"])["ann"].rows["user_features"]["events_total"] == 2


@pytest.mark.slow
def test_events_out_of_order_over_days_end_as_in_order_and_a_replay_changes_nothing(house: Path) -> None:
    moments = ["05-03T09:00:00", "05-01T10:00:00", "05-03T08:00:00", "05-02T23:50:00", "05-03T00:10:00"]
    for number, at in enumerate(moments):
        accept([event(f"e{number}", at=f"2024-{at}")])
    one_by_one = OnlineUsers().users(["ann"])["ann"]
    assert one_by_one.features_at == datetime(2024, 5, 4)  # noqa: DTZ001
    assert one_by_one.rows["user_daily"]["daily_sessions"] == [1, 1, 2]  # 23:50 and 00:10 are one visit
    assert one_by_one.rows["user_sequences"]["event_times_us"] == sorted(
        int(datetime.fromisoformat(f"2024-{at}+00:00").timestamp() * 1e6) for at in moments
    )
    accept([event("other", "bob")])
    live._house(get_settings())._replay(None, None)  # nothing is published: from the stored events alone
    assert OnlineUsers().users(["ann"])["ann"] == one_by_one
    with pytest.raises(FileNotFoundError, match="must be exported before it is read"):
        replay(["ann"], datetime(2024, 5, 1))  # noqa: DTZ001


def test_a_later_row_has_a_later_creation_within_the_day_it_arrived(tmp_path: Path) -> None:
    midnight = datetime(2024, 5, 2)  # noqa: DTZ001
    rows = [{"ds": DAY, "received_at": NOON}]
    first = LiveClock(tmp_path / "clock").created_at({"ann": (midnight, rows), "bob": (midnight, rows)})
    earlier = [{"ds": DAY, "received_at": NOON - timedelta(hours=3)}]
    then = LiveClock(tmp_path / "clock").created_at({"ann": (midnight, earlier)})  # another process, an event out of order
    assert NOON < first["ann"] < then["ann"] < midnight
    assert first["bob"] == first["ann"]
    long_before = [{"ds": DAY - timedelta(days=9), "received_at": NOON - timedelta(days=9)}]
    late = LiveClock(tmp_path / "clock").created_at({"ann": (midnight, long_before)})  # of an older day, into the same row
    assert then["ann"] < late["ann"] < midnight
    last = LiveClock(tmp_path / "clock").created_at({"cyd": (midnight, [{"ds": DAY, "received_at": midnight + timedelta(days=3)}])})
    assert late["ann"] < last["cyd"] < midnight  # the batch row of that midnight is newer
    another_day = LiveClock(tmp_path / "clock").created_at({"dan": (midnight, [{"ds": date(2024, 5, 9), "received_at": NOON}])})
    assert another_day["dan"] == datetime(2024, 5, 9, 0, 0, 0, 1)  # noqa: DTZ001


@pytest.mark.slow
def test_feasts_own_push_writes_a_users_view_and_never_an_older_row_over_a_newer(house: Path) -> None:
    store = apply()
    lists = {column.name: [[0.5 if column.kind == "float_list" else 1]] for column in marts()["user_daily"].features}
    times = {"features_at": [pd.Timestamp("2024-05-02", tz="UTC")], "created_at": [pd.Timestamp("2024-05-01T10:00", tz="UTC")]}
    newer = pd.DataFrame({"user_id": ["ann"], **times, **lists})
    store.push("user_daily_push", newer)
    store.push("user_daily_push", newer.assign(features_at=pd.Timestamp("2024-05-01", tz="UTC"), daily_events=[[9]]))
    ann = OnlineUsers().users(["ann"])["ann"]
    assert ann.features_at == datetime(2024, 5, 2)  # noqa: DTZ001
    assert (ann.rows["user_daily"]["daily_events"], ann.rows["user_daily"]["daily_spend"]) == ([1], [0.5])
