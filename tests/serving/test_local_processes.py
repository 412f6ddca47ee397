"""Background processes: started once, stopped with their children, and never mistaken for somebody else's."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from serving.local import processes
from serving.local.processes import Command

SLEEP = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)")
PARENT = (
    sys.executable,
    "-c",
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)",
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    processes.stop(processes.started(tmp_path), tmp_path)


def wait_until(claim: object) -> None:
    deadline = time.monotonic() + 10
    while not claim():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_starting_twice_gives_the_same_process(home: Path) -> None:
    first = processes.start(Command("one", SLEEP, {}), home)
    assert processes.start(Command("one", SLEEP, {}), home).pid == first.pid
    assert processes.started(home) == ["one"]


def test_stopping_takes_the_children_too(home: Path) -> None:
    parent = processes.start(Command("parent", PARENT, {}), home)
    wait_until(parent.children)
    (child,) = parent.children()
    assert processes.stop(["parent"], home) == ["parent"]
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert processes.started(home) == []


def test_a_pid_that_belongs_to_somebody_else_by_now_is_left_alone(home: Path) -> None:
    other = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL)
    try:
        (home / "run").mkdir()
        (home / "run" / "old.json").write_text(json.dumps({"pid": other.pid, "created": 1.0}))
        assert processes.find("old", home) is None
        assert processes.stop(["old"], home) == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_the_log_keeps_what_a_process_said(home: Path) -> None:
    processes.start(Command("talker", SLEEP, {}), home)
    wait_until(lambda: processes.log_tail("talker", home) == "up")
    assert processes.memory_mb(home) > 1
