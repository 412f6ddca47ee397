"""The log of decisions: found again at once, whole after a kill, and never in a request's way."""

import logging
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from quality.distribution import compare
from quality.load import load_window
from quality.warehouse import open_warehouse
from serving import decisions, decisions_store
from serving.decisions import DROPPED, Decision, DecisionLog, decision_time
from settings import ROOT
from sources.files import read_table
from sources.landing import LANDING
from tests.quality.delivery import DAY, NEXT_DAY, NOON, row, write_day


def shown(user: str, count: int = 3, **more: object) -> list[Decision]:
    return [
        Decision(user, "recommendation", f"i{rank}", "recommender", "4", NOON, rank, 1.5 - rank, 0.9, "stable", **more)
        for rank in range(1, count + 1)
    ]


@pytest.fixture
def folder(house: Path) -> Path:
    return house / "landing" / "decisions"


def test_a_decision_has_the_columns_of_the_landing_table() -> None:
    assert {"decision_id", "decided_at", *Decision.__dataclass_fields__} == set(LANDING["decisions"].names)
    assert decisions_store.SCHEMA.names == list(LANDING["decisions"].names)


def test_a_list_is_found_by_its_id_and_a_place_of_it_before_and_after_it_is_on_disk(folder: Path) -> None:
    log = DecisionLog(folder, is_wall_clock=False)
    name = log.log(shown("u1", 12), NOON)
    other = log.log(shown("u2"), NOON)
    assert name and other
    before = log.find(name)
    log.close()
    again = DecisionLog(folder, is_wall_clock=False)  # another process: nothing in its queue
    assert log.find(name) == again.find(name) == before
    assert [(found["decision_id"], found["subject"], found["rank"]) for found in before] == [
        (f"{name}.{n}", f"i{n}", n) for n in range(1, 13)
    ]
    (one,) = again.find(f"{other}.2")
    assert (one["user_id"], one["subject"], one["decided_at"], one["propensity"], one["arm"]) == ("u2", "i2", NOON, 0.9, "stable")


@pytest.mark.parametrize(
    "unknown", ["", "x", "../../etc/passwd", "20240501-00000000000000-000000000000", "20240501-00000000000000-000000000000.1"]
)
def test_an_id_that_nobody_gave_out_finds_nothing(folder: Path, unknown: str) -> None:
    log = DecisionLog(folder, is_wall_clock=False)
    log.log(shown("u1"), NOON)
    assert log.find(unknown) == []
    log.close()
    assert log.find(unknown) == []


def test_decisions_are_loaded_like_any_table_and_keep_every_rule(folder: Path, house: Path) -> None:
    write_day(house, "events", [row("events")])
    log = DecisionLog(folder, is_wall_clock=False)
    name = log.log([*shown("u1", reason="because you bought i9"), Decision(None, "offer", "coupon", "uplift", "2", NOON)], NOON)
    log.close()
    loaded = load_window(house / "landing", DAY, NEXT_DAY).tables["decisions"]
    assert (loaded.rows_in, loaded.accepted, loaded.quarantined) == (4, 4, {})
    with open_warehouse() as warehouse:
        ids = [value for (value,) in warehouse.execute("select decision_id from landing.decisions order by 1").fetchall()]
    assert ids == [f"{name}.{place}" for place in range(1, 5)]


def test_a_busy_day_of_decisions_is_no_broken_feed(house: Path) -> None:
    days = [DAY + timedelta(days=number) for number in range(16)]
    for number, day in enumerate(days):
        for table in ("decisions", "orders"):
            key = LANDING[table].key[0]
            count = 60 if number < 15 else 600
            at = datetime.combine(day, datetime.min.time())
            times = {"decided_at": at, "features_at": at} if table == "decisions" else {"placed_at": at}
            write_day(house, table, [row(table, **{key: f"{day}-{n}"}, user_id=f"u{n}", **times) for n in range(count)], day)
    load_window(house / "landing", DAY, days[-1] + timedelta(days=1))
    with open_warehouse() as warehouse:
        judgement = compare(warehouse, DAY, days[-1] + timedelta(days=1))
    assert {comparison.table for comparison in judgement.alarms} == {"orders"}
    assert {comparison.table for comparison in judgement.comparisons} == {"orders"}


def test_a_row_lies_in_the_day_it_was_written_so_a_day_that_is_over_gets_no_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written_at = datetime(2024, 5, 2, 0, 0, 1, tzinfo=UTC)
    monkeypatch.setattr(decisions_store, "datetime", SimpleNamespace(now=lambda zone: written_at))
    log = DecisionLog(folder, is_wall_clock=True)
    name = log.log(shown("u1"), datetime.fromisoformat("2024-05-01 23:59:59.9"))
    log.close()
    assert [path.name for path in folder.iterdir()] == ["ds=2024-05-02"]
    assert name and len(log.find(name)) == 3


def test_a_full_queue_drops_counts_and_says_so_and_no_request_waits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = threading.Event()
    monkeypatch.setattr(decisions_store, "replace_whole", lambda *_: stuck.wait(30))
    log = DecisionLog(folder, is_wall_clock=False, queue_rows=10)
    before = DROPPED._value.get()
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        given = [log.log(shown("u1"), NOON) for _ in range(5)]
    assert time.monotonic() - began < 1
    assert [name is not None for name in given] == [True, True, True, False, False]
    assert DROPPED._value.get() - before == 6
    assert [record.message for record in caplog.records] == ["decisions log: the queue of 10 rows is full; 3 rows were dropped"]
    stuck.set()
    log.close()


def test_what_a_disk_refused_is_written_when_it_takes_it_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, calls = decisions_store.replace_whole, []

    def failing_once(path: Path, table: object) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise OSError("No space left on device")
        write(path, table)

    monkeypatch.setattr(decisions_store, "replace_whole", failing_once)
    monkeypatch.setattr(decisions, "FLUSH_SECONDS", 0.05)
    log = DecisionLog(folder, is_wall_clock=False)
    names = [log.log(shown("u1"), NOON)]
    while len(calls) < 2:
        time.sleep(0.01)
    names.append(log.log(shown("u2"), NOON))
    log.close()
    assert Counter(found["decision_id"] for name in names for found in log.find(str(name))) == Counter(
        f"{name}.{n}" for name in names for n in (1, 2, 3)
    )
    assert sum(pq.read_metadata(path).num_rows for path in folder.rglob("*.parquet")) == 6


def test_a_durable_log_returns_once_its_rows_are_on_disk_and_writes_those_of_one_moment_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "FLUSH_SECONDS", 30.0)  # nothing here waits for the clock
    write, calls = decisions_store.replace_whole, []
    monkeypatch.setattr(decisions_store, "replace_whole", lambda *given: (calls.append(given[0]), time.sleep(0.02), write(*given)))
    log = DecisionLog(folder, is_wall_clock=False, is_durable=True)
    found: list[tuple[str, int]] = []

    def ask() -> None:
        name = log.log(shown("u1"), NOON)
        found.append((str(name), len(decisions_store.stored(folder, str(name)))))

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(dict(found)) == 40 and {rows for _, rows in found} == {3}
    assert len(calls) < 20  # 40 lists in few writes
    log.close()


def test_a_durable_log_says_at_once_that_the_disk_refused_and_keeps_nothing_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, before = decisions_store.replace_whole, DROPPED._value.get()

    def refusing(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(decisions_store, "replace_whole", refusing)
    log = DecisionLog(folder, is_wall_clock=False, is_durable=True)
    assert log.log(shown("u1"), NOON) is None
    assert DROPPED._value.get() - before == 3
    monkeypatch.setattr(decisions_store, "replace_whole", write)
    name = log.log(shown("u2"), NOON)
    log.close()
    assert sorted(read_decisions(folder)) == [f"{name}.{n}" for n in (1, 2, 3)]


def test_a_durable_log_that_waits_too_long_for_the_disk_gives_no_id(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = threading.Event()
    monkeypatch.setattr(decisions_store, "replace_whole", lambda *_: stuck.wait(30))
    monkeypatch.setattr(decisions, "PATIENCE_SECONDS", 0.05)
    log = DecisionLog(folder, is_wall_clock=False, is_durable=True)
    assert log.log(shown("u1"), NOON) is None
    stuck.set()
    log.close()


def test_segments_rotate_and_each_row_is_still_found(folder: Path) -> None:
    log = decisions_store.Segments(folder, "a" * 12, is_wall_clock=False, rows=4)
    ids = [decisions_store.list_id(DAY, 1_000 + number, "a" * 12) for number in range(7)]
    for name in ids:
        log.append([{**dict.fromkeys(LANDING["decisions"].names), "decision_id": f"{name}.{n}", "decided_at": NOON} for n in (1, 2)])
    assert sorted(pq.read_metadata(path).num_rows for path in folder.rglob("*.parquet")) == [2, 4, 4, 4]
    assert all(len(decisions_store.stored(folder, name)) == 2 for name in ids)


WRITER = """
import sys, time
from pathlib import Path
from serving import decisions
from tests.serving.test_decisions import NOON, shown
decisions.FLUSH_SECONDS = 0.02
log = decisions.DecisionLog(Path(sys.argv[1]), is_wall_clock=False)
while True:
    for _ in range(20):
        name = log.log(shown("u1"), NOON)
        time.sleep(0.001)
    while log._waiting:
        time.sleep(0.001)
    print(name, flush=True)  # everything up to this list is on disk
"""


def test_killed_writers_leave_whole_files_and_lose_only_what_waited(folder: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(folder)]
    for wait_s in (0.05, 0.11):
        writers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]  # two at once
        last = []
        for writer in writers:
            assert writer.stdout
            told = [writer.stdout.readline() for _ in range(3)]
            time.sleep(wait_s)
            writer.send_signal(signal.SIGKILL)
            told += writer.stdout.readlines()
            writer.wait()
            last.append([line.strip() for line in told if line.endswith("\n")][-1])
        rows = read_decisions(folder)
        for name in last:
            writer_of = name.rpartition("-")[2]
            lists = [found.rpartition(".")[0] for found in rows if found.rpartition(".")[0].endswith(writer_of)]
            assert name in lists and len(decisions_store.stored(folder, name)) == 3
            assert set(Counter(lists).values()) == {3}  # every list is whole
    assert len(rows) == len(set(rows))


def read_decisions(folder: Path) -> list[str]:
    """Every id on disk; a half file would raise."""
    return [
        value for path in sorted(folder.rglob("*.parquet")) for value in pq.read_table(path, partitioning=None)["decision_id"].to_pylist()
    ]


def test_many_threads_get_ids_of_their_own_and_lose_nothing(folder: Path) -> None:
    log = DecisionLog(folder, is_wall_clock=False)
    names: list[str | None] = []
    threads = [threading.Thread(target=lambda: names.extend(log.log(shown("u1"), NOON) for _ in range(200))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert len(set(names)) == 1600 and None not in names
    assert len(read_decisions(folder)) == 4800
    assert read_table(folder.parent, "decisions").num_rows == 0  # read_table reads a source's files; these are no source's


def test_a_decision_is_dated_by_the_clock_of_the_house() -> None:
    later = datetime.fromisoformat("2024-05-01 18:30")
    data, wall = SimpleNamespace(clock="data"), SimpleNamespace(clock="wall")
    assert decision_time(data, NOON) == NOON
    assert decision_time(data, NOON, later) == later
    assert abs((decision_time(wall, NOON, later) - datetime.now(UTC).replace(tzinfo=None)).total_seconds()) < 5
