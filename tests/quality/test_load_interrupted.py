"""A load killed anywhere changes nothing, and one process at a time has the warehouse."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quality.errors import WarehouseBusy
from quality.load import load_window
from settings import ROOT
from tests.quality.delivery import DAY, NEXT_DAY, NOON, row, rows_kept, write_day


def _load_in_a_process(house: Path, before_commit: str) -> subprocess.Popen:
    script = f"""
import os, sys, time
from datetime import date
from pathlib import Path
from quality import load
accounted = load.accounted
def interrupted(*window):
    {before_commit}
    return accounted(*window)
load.accounted = interrupted
load.load_window(Path({str(house / "landing")!r}), date(2024, 5, 1), date(2024, 5, 2))
"""
    return subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=os.environ, stdout=subprocess.PIPE)


def _load_killed_at(house: Path, query: int) -> int:
    """Loads in a process that kills itself before its query number `query`; the exit status."""
    script = f"""
import os
from datetime import date
from pathlib import Path
from quality import load
opened = load.open_warehouse
class Mortal:
    left = {query}
    def __init__(self, connection):
        self.connection = connection
    def __getattr__(self, name):
        Mortal.left -= name in ("execute", "executemany", "commit")
        if Mortal.left < 0:
            os.kill(os.getpid(), 9)
        return getattr(self.connection, name)
class Opened:
    def __enter__(self):
        self.manager = opened()
        return Mortal(self.manager.__enter__())
    def __exit__(self, *error):
        return self.manager.__exit__(*error)
load.open_warehouse = Opened
load.load_window(Path({str(house / "landing")!r}), date(2024, 5, 1), date(2024, 5, 2))
"""
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=os.environ, capture_output=True).returncode


@pytest.mark.slow
def test_a_load_killed_anywhere_changes_nothing_and_a_second_one_equals_a_clean_run(house: Path) -> None:
    write_day(house, "events", [row("events")])
    write_day(house, "users", [row("users")])
    load_window(house / "landing", DAY, NEXT_DAY)
    before = rows_kept()
    write_day(house, "events", [row("events", event_id=f"e{n}", user_id=f"u{n % 9}", quantity=float(n % 3 - 1)) for n in range(3000)])
    write_day(house, "users", [row("users", city=" Lund"), row("users", user_id="u2")])
    draw = random.Random(20)
    points = sorted(draw.sample(range(30), 5))
    assert [_load_killed_at(house, point) for point in points] == [-signal.SIGKILL] * len(points)
    assert rows_kept() == before
    load_window(house / "landing", DAY, NEXT_DAY)
    again = rows_kept()
    (house / "warehouse.duckdb").unlink()
    load_window(house / "landing", DAY, NEXT_DAY)
    assert again == rows_kept()
    assert len(rows_kept("landing.events")) == 2000
    assert [(r[3], r[-1]) for r in rows_kept("landing.users")] == [("Lund", ["city_trimmed"]), ("Lund", None)]


def test_a_warehouse_open_elsewhere_is_said_to_be_busy(house: Path) -> None:
    write_day(house, "events", [row("events", received_at=NOON)])
    other = _load_in_a_process(house, "print('open', flush=True); time.sleep(60)")
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(WarehouseBusy, match=r"One process at a time may open the warehouse\. Received a lock held by another process"):
            load_window(house / "landing", DAY, NEXT_DAY)
    finally:
        other.kill()
        other.wait()
