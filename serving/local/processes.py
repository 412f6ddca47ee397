"""Plain background processes with a pid file and a log in the house; nothing that another program started is ever touched.

A pid file holds the pid *and* the process's creation time: a pid that the system gave to somebody else since is not ours.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

STOP_SECONDS = 15


@dataclass(frozen=True)
class Command:
    """One process to run: its name names the pid file and the log."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]


def start(command: Command, home: Path) -> psutil.Process:
    """The running process of this command, started detached from the terminal unless it runs already."""
    running = find(command.name, home)
    if running:
        return running
    log = log_file(command.name, home)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        popen = subprocess.Popen(
            command.arguments,
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home,
            start_new_session=True,
        )
    process = psutil.Process(popen.pid)
    file = _pid_file(command.name, home)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"pid": process.pid, "created": process.create_time()}))
    return process


def find(name: str, home: Path) -> psutil.Process | None:
    """The live process that this house started under `name`, if any."""
    file = _pid_file(name, home)
    if not file.exists():
        return None
    try:
        known = json.loads(file.read_text())
        process = psutil.Process(known["pid"])
        same = abs(process.create_time() - known["created"]) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.NoSuchProcess, ValueError):
        return None


def stop(names: Iterable[str], home: Path) -> list[str]:
    """Stop these processes of the house with all their children, together; returns the names of those that ran."""
    found = {name: process for name in names if (process := find(name, home))}
    family = [member for process in found.values() for member in _family(process)]
    alive, seconds = list(found.values()), STOP_SECONDS  # parents first: they end their children in order
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        for process in alive:
            _signal(process, number)
        psutil.wait_procs(alive, timeout=seconds)
        alive, seconds = [process for process in family if process.is_running()], 3
    for name in names:
        _pid_file(name, home).unlink(missing_ok=True)
    return list(found)


def started(home: Path) -> list[str]:
    """Names of everything that this house started and that still runs."""
    return [file.stem for file in sorted((home / "run").glob("*.json")) if find(file.stem, home)]


def memory_mb(home: Path) -> float:
    """Memory of all processes of the house and their children now, shared pages counted once (PSS), in MB."""
    processes = [process for name in started(home) if (process := find(name, home))]
    return sum(_pss_mb(member) for process in processes for member in _family(process))


def log_file(name: str, home: Path) -> Path:
    return home / "logs" / f"{name}.log"


def log_tail(name: str, home: Path, lines: int = 15) -> str:
    file = log_file(name, home)
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:]) if file.exists() else ""


def _pid_file(name: str, home: Path) -> Path:
    return home / "run" / f"{name}.json"


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _pss_mb(process: psutil.Process) -> float:
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1]) / 1024
    except OSError:  # it ended meanwhile, or this system has no smaps_rollup
        try:
            return process.memory_info().rss / 2**20
        except psutil.NoSuchProcess:
            return 0.0
    return 0.0
