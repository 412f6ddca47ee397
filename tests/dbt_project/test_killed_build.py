"""A build that is killed without notice in its middle leaves marts that the next build puts right. The kills are real."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import psutil
import pytest

from quality.transform import build
from quality.warehouse import open_warehouse
from settings import ROOT, get_settings
from tests.dbt_project.built_shop import KEYS, Built, read_marts
from tests.dbt_project.small_shop import FIRST, LAST, deliveries, load

pytestmark = pytest.mark.slow

END = LAST + timedelta(days=1)
SCRIPT = "import sys; from datetime import date; from quality.transform import build; build(*map(date.fromisoformat, sys.argv[1:]))"


def kill_at_node(number: int, start: date, end: date, delay: float) -> None:
    """Builds in another process, and kills that process alone some time after its dbt has begun its node `number`."""
    attempts = get_settings().home / "dbt" / "attempts"
    before = set(attempts.glob("*"))
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(start), str(end)], cwd=ROOT, env=os.environ.copy())
    while sum(log.read_text().count(" START ") for log in attempts.glob("*/dbt.log") if log.parent not in before) < number:
        assert process.poll() is None, "the build ended before it could be killed"
        time.sleep(0.02)
    time.sleep(delay)
    (dbt,) = psutil.Process(process.pid).children()
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    assert not psutil.wait_procs([dbt], timeout=5)[1], "dbt goes on without the process that asked for it"
    with open_warehouse():  # nobody holds it any more
        pass


def test_a_build_killed_in_its_middle_and_followed_by_a_later_one_equals_a_clean_run(
    built: Built, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dbt retry` would say that there is nothing to do, and the build of the next day alone would leave the killed one's days undone."""
    monkeypatch.setenv("PORTRAIT_SEQUENCE_LENGTH", "4")
    get_settings.cache_clear()
    whole, late = deliveries(), date(2024, 1, 15)
    before = {ds: {table: rows[::2] for table, rows in tables.items()} if ds >= late else tables for ds, tables in whole.items()}
    load(before, FIRST, date(2024, 1, 25))
    build(FIRST, date(2024, 1, 25))
    load(whole, late, END)
    draw = random.Random(7)
    for number in (draw.randrange(14, 30), draw.randrange(30, 50)):  # of 54 nodes; incremental models are the 14th to the 50th
        kill_at_node(number, late, END, draw.random() * 0.2)
        assert (house / "dbt" / "unfinished").read_text() == str(late)
    build(LAST, END)
    marts = read_marts()
    for mart in KEYS:
        assert marts[mart] == built.refreshed[mart], mart
    assert [path.name.split("-")[0] for path in (house / "dbt" / "attempts").iterdir()] == ["build"]
    assert not (house / "dbt" / "unfinished").exists()
