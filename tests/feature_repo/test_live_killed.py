"""`POST /v1/events`, killed without notice while it writes, leaves nothing half-written that anybody reads. The kills are real."""

import os
import signal
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from feature_repo import live
from feature_repo.live import LiveReport, accept
from feature_repo.live_log import LiveLog
from feature_repo.online import OnlineFeatures
from quality.load import load_window
from settings import ROOT, get_settings

pytestmark = pytest.mark.slow

DAY = date(2024, 5, 1)
#: Two answered posts, and a third that stands still, and says so, at the point named: a file half-written, written and not in place, or in
#: place and not yet online.
SCRIPT = """
import os, sys, time
from pathlib import Path
from feature_repo import live, live_log

def event(number):
    at = f"2024-05-01T10:00:0{number}"
    return {"event_id": f"e{number}", "user_id": "ann", "item_id": "tea", "event_type": "view", "occurred_at": at}

def stand_still(*_):
    print("here", flush=True)
    time.sleep(600)

def half(table, file):
    write(table, file)
    file.flush()
    file.truncate(file.tell() // 2)
    stand_still()

live.accept([event(1)])
live.accept([event(2)])
write = live_log.pyarrow.parquet.write_table
if sys.argv[1] == "half-written":
    live_log.pyarrow.parquet.write_table = half
if sys.argv[1] == "not in place":
    Path.replace = stand_still
if sys.argv[1] == "not online":
    live._House._apply = stand_still
live.accept([event(3)])
"""


def event(number: int) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "user_id": "ann",
        "item_id": "tea",
        "event_type": "view",
        "occurred_at": f"2024-05-01T10:00:0{number}",
    }


@pytest.mark.parametrize(
    ("point", "is_stored"), [("half-written", False), ("not in place", False), ("not online", True)], ids=lambda value: str(value)
)
def test_a_post_killed_while_it_writes_is_read_whole_or_not_at_all_and_may_be_repeated(house: Path, point: str, is_stored: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, point], cwd=ROOT, env=os.environ.copy(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    process.stdout.close()

    before = ["e1", "e2", *(["e3"] if is_stored else [])]
    assert [row["event_id"] for row in LiveLog(get_settings().live_dir).since(DAY)] == before
    assert load_window(get_settings().landing_dir, DAY, DAY + timedelta(days=1)).tables["events"].accepted == len(before)

    live._house.cache_clear()
    assert accept([event(3)]) == LiveReport(0 if is_stored else 1, 1 if is_stored else 0, [], True)
    live._house.cache_clear()
    assert load_window(get_settings().landing_dir, DAY, DAY + timedelta(days=1)).tables["events"].accepted == 3
    assert OnlineFeatures().read("recommender_v1", ["ann"])[0]["event_item_ids"] == ["tea"] * 3
    assert not list(get_settings().live_dir.rglob("*.tmp"))
