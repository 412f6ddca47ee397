"""The newest lists of the decisions log: the order in which they were logged, whoever wrote them, and few files read."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving import decisions_recent
from serving.decisions import Decision, DecisionLog
from serving.decisions_recent import Recent, recent
from serving.decisions_store import SCHEMA, list_id
from serving.web.house_pages import DECISIONS
from tests.serving.fakes import FakeFront
from tests.serving.web_client import PAGE, furnish, put, shop, visitor

BEGIN = datetime.fromisoformat("2024-05-01")
NOON = BEGIN + timedelta(hours=12)
WRITERS = ("a" * 12, "b" * 12, "c" * 12)


@pytest.fixture
def folder(house: Path) -> Path:
    return house / "landing" / "decisions"


def rows(second: int, writer: str, user: str | None = "u1", kind: str = "recommendation", places: int = 2) -> list[dict[str, Any]]:
    """A list logged `second` seconds after the epoch of this log: `places` shown and one that was considered."""
    at = BEGIN + timedelta(seconds=second)
    name = list_id(at.date(), 1_714_521_600_000_000 + 1_000_000 * second, writer)
    told = {
        "decided_at": at,
        "user_id": user,
        "kind": kind,
        "model": "recommender",
        "model_version": "4",
        "features_at": at,
        "arm": "stable",
    }
    return [
        told | {"decision_id": f"{name}.{place}", "subject": f"i{place}", "rank": place if place <= places else None, "score": 0.5}
        for place in range(1, places + 2)
    ]


def segment(folder: Path, writer: str, lists: list[list[dict[str, Any]]], day: str = "2024-05-01") -> Path:
    """A file as a writer leaves it, last written a moment after its last list."""
    names = [one[0]["decision_id"].split("-")[1] for one in lists]
    file = folder / f"ds={day}" / f"{names[0]}-{writer}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([{**dict.fromkeys(SCHEMA.names), **row} for one in lists for row in one], SCHEMA), file)
    written = (int(names[-1], 16) + 500_000) * 1000
    os.utime(file, ns=(written, written))
    newest = max(path.stat().st_mtime_ns for path in file.parent.glob("*.parquet"))
    os.utime(file.parent, ns=(newest, newest))
    return file


def pages(folder: Path, count: int, **asked: str | None) -> list[Recent]:
    """Every page, one after the other."""
    found, before = [], None
    while not found or before:
        found.append(recent(folder, [], asked.get("kind"), asked.get("user"), before, count))
        before = found[-1].before
        assert len(found) < 200
    return found


def seconds(page: Recent) -> list[int]:
    return [int((line.decided_at - BEGIN).total_seconds()) for line in page.lists]


def test_pages_follow_one_another_newest_first_whoever_wrote_and_none_is_lost_or_told_twice(folder: Path) -> None:
    """Three writers at once, over two days; the naive answer is to sort everything."""
    day = 86_400
    for number, writer in enumerate(WRITERS):
        for begin in (number, 40 + number, day + number):
            lists = [rows(begin + 3 * step, writer, f"u{step % 2}") for step in range(10)]
            segment(folder, writer, lists, "2024-05-02" if begin >= day else "2024-05-01")
    everything = sorted((begin + n for begin in (0, 40, day) for n in range(30)), reverse=True)
    for count in (1, 7, 50, 200):
        assert [second for page in pages(folder, count) for second in seconds(page)] == everything, count
    odd = pages(folder, 4, user="u1")
    assert [second for page in odd for second in seconds(page)] == [second for second in everything if (second % day % 40 // 3) % 2]
    line = odd[0].lists[0]
    assert (line.user_id, line.shown, line.considered, line.arm, line.model_version) == ("u1", 2, 1, "stable", "4")


def test_a_long_log_is_not_read_for_its_newest_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 31):
        for part in range(4):
            begin = 86_400 * (day - 1) + 1000 * part
            segment(folder, WRITERS[0], [rows(begin + n, WRITERS[0]) for n in range(5)], f"2024-05-{day:02d}")
    opened: list[Path] = []
    read_table = pq.read_table
    monkeypatch.setattr(decisions_recent.pq, "read_table", lambda path, **more: opened.append(path) or read_table(path, **more))
    first = recent(folder, [], None, None, None, 8)
    assert [file.parent.name for file in opened] == ["ds=2024-05-30"] * 2 and len(first.lists) == 8
    opened.clear()
    assert recent(folder, [], None, "nobody", None, 8).lists == ()
    assert len(opened) == decisions_recent.MOST_FILES
    assert [second for page in pages(folder, 8, user="nobody") for second in seconds(page)] == []


def test_a_rare_kind_is_found_behind_many_pages_of_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions_recent, "MOST_FILES", 2)
    segment(folder, WRITERS[0], [rows(0, WRITERS[0], kind="offer")])
    for part in range(1, 8):
        segment(folder, WRITERS[part % 2], [rows(100 * part, WRITERS[part % 2])])
    found = pages(folder, 5, kind="offer")
    assert [seconds(page) for page in found] == [[], [], [], [0]]


def test_more_writers_at_once_than_files_of_a_page_still_come_to_an_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions_recent, "MOST_FILES", 1)
    for number in range(12):
        writer = f"{number:012x}"
        segment(folder, writer, [rows(number, writer), rows(100 + number, writer)])
    assert [second for page in pages(folder, 5) for second in seconds(page)] == [*range(111, 99, -1), *range(11, -1, -1)]


def test_what_waits_for_the_disk_is_there_once(folder: Path) -> None:
    log = DecisionLog(folder, is_wall_clock=False)
    given = [log.log([Decision(f"u{n}", "offer", "coupon", "uplift", "2", NOON, 1)], NOON) for n in range(3)]
    before = log.recent(None, None, None, 10)
    log.close()
    after = DecisionLog(folder, is_wall_clock=False).recent(None, None, None, 10)
    assert [line.name for line in before.lists] == [line.name for line in after.lists] == given[::-1]
    assert DecisionLog(folder, is_wall_clock=False).recent("offer", "u1", None, 10).lists == after.lists[1:2]
    assert DecisionLog(folder / "none", is_wall_clock=False).recent(None, None, None, 10) == Recent((), None)


@pytest.fixture
def front(house: Path, monkeypatch: pytest.MonkeyPatch) -> FakeFront:
    furnish()
    return put(monkeypatch, shop())


def page_of(folder: Path, *scopes: str) -> Any:
    from serving.api import create_app

    app = create_app(recent=lambda *asked: recent(folder, [], *asked), decisions=lambda id: [])
    return visitor(*scopes, app=app)


def test_the_page_lists_them_with_filters_and_leads_to_each_and_to_older_ones(front: FakeFront, folder: Path) -> None:
    lists = [rows(n, WRITERS[0], None if n == 3 else f"u{n % 2}", "offer" if n % 2 else "recommendation") for n in range(DECISIONS + 5)]
    segment(folder, WRITERS[0], lists)
    person = page_of(folder)
    text = person.get("/decisions").text
    newest = lists[-1][0]["decision_id"].split(".")[0]
    for shown in (f'href="/decisions?id={newest}"', 'href="/?user=u0"', '<option value="offer">offer</option>', "Older decisions"):
        assert shown in text, shown
    assert text.count('href="/decisions?id=') == DECISIONS and "guest" not in text
    older = text.split('class="more"><a href="')[1].split('"')[0].replace("&amp;", "&")
    last = person.get(older).text
    assert last.count('href="/decisions?id=') == 5 and "guest" in last and "Older decisions" not in last and "Newest of all" in last
    some = person.get("/decisions?kind=offer&user=u1").text
    assert some.count('href="/decisions?id=') == (DECISIONS + 5) // 2 - 1 and 'value="offer" selected' in some and ">u0<" not in some
    assert "No decision like this was found." in person.get("/decisions?user=nobody").text
    assert person.get("/decisions?kind=x&before=y").text.count('href="/decisions?id=') == DECISIONS


def test_the_list_tells_no_subject_score_or_reason_and_links_no_customer_to_who_may_not_see_them(front: FakeFront, folder: Path) -> None:
    secret = [row | {"subject": "secret item", "reason": "secret reason", "score": 0.987} for row in rows(1, WRITERS[0])]
    segment(folder, WRITERS[0], [secret])
    text = page_of(folder, "read:decisions").get("/decisions").text
    assert "secret" not in text and "0.987" not in text and 'href="/?user=' not in text and ">u1<" in text
    assert page_of(folder, "read:portrait").get("/decisions", headers=PAGE).status_code == 403


def test_before_the_first_decision_the_page_says_where_they_come_from(front: FakeFront, folder: Path) -> None:
    text = page_of(folder).get("/decisions").text
    assert "No decision was logged yet" in text and "<code>portrait recommend</code>" in text
