"""Follows a DAG run, and every run that it leads to through assets, task by task until all have ended."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from serving.local.airflow_client import FINAL, AirflowClient, DagRun, TaskRun

ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
#: How long an asset may take to lead to its next run.
HANDOVER_SECONDS = 30
POLL_SECONDS = 1.0
LOG_LINES = 20


@dataclass
class Followed:
    """One DAG run with its task runs, and why tasks were skipped (by label)."""

    run: DagRun
    tasks: list[TaskRun] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def follow(airflow: AirflowClient, first: DagRun, console: Console, onward: bool = True) -> list[Followed]:
    """Show progress until `first`, and with `onward` every run that follows from it, has ended; returns them in order.

    On a terminal one live table; elsewhere one line per task that starts or ends. A failed task's log and page are shown at the end.
    """
    begin = time.monotonic()
    known: list[Followed] = []
    with Live(console=console, refresh_per_second=4) if console.is_terminal else nullcontext() as live:
        told: set[tuple[str, str, str | None]] = set()
        for known in _watch(airflow, first, onward):
            if live is not None:
                live.update(_table(known, time.monotonic() - begin))
            else:
                _tell(known, told, console, time.monotonic() - begin)
    for followed in known:
        for task in followed.tasks:
            if task.state == "failed":
                _show_failure(airflow, followed.run, task, console)
    return known


def _watch(airflow: AirflowClient, first: DagRun, onward: bool) -> Iterator[list[Followed]]:
    """The runs known so far, once a poll, until nothing more can come."""
    known = [Followed(first)]
    waiting_since: float | None = None
    while True:
        for followed in known:
            if followed.run.state not in FINAL or not followed.tasks:
                followed.run = airflow.run(followed.run.dag_id, followed.run.run_id)
                followed.tasks = airflow.tasks(followed.run)
                for task in followed.tasks:
                    if task.state == "skipped" and task.label not in followed.skipped:
                        followed.skipped[task.label] = _reason(airflow.log(followed.run, task))
        is_waiting = is_queued = False
        for followed in list(known) if onward else []:
            if followed.run.state == "success":
                led_to = airflow.followers(followed.run)
                is_queued |= led_to is None
                runs, is_open = led_to or ([], False)
                is_waiting |= is_open
                known += [Followed(run) for run in runs if all(run.run_id != other.run.run_id for other in known)]
        waiting_since = (waiting_since or time.monotonic()) if is_waiting else None
        yield known
        is_over = not is_queued and all(followed.run.state in FINAL and followed.tasks for followed in known)
        if is_over and (waiting_since is None or time.monotonic() - waiting_since > HANDOVER_SECONDS):
            return
        time.sleep(POLL_SECONDS)


def _reason(log: list[dict[str, Any]]) -> str:
    """Why a task was skipped, from its log."""
    return next((str(line["reason"]) for line in log if line.get("reason")), "the task before it was skipped")


def _tell(known: list[Followed], told: set[tuple[str, str, str | None]], console: Console, seconds: float) -> None:
    for followed in known:
        for task in followed.tasks:
            key = (followed.run.run_id, task.label, task.state)
            if key in told or (task.state != "running" and task.state not in ENDED):
                continue
            told.add(key)
            took = f" in {task.seconds:.1f} s" if task.state in ENDED else ""
            why = f": {followed.skipped[task.label]}" if task.label in followed.skipped else ""
            line = f"{seconds:6.0f} s  {followed.run.dag_id} / {task.label}: {task.state}{took}{why}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)


_STYLE = {"success": "green", "failed": "red", "upstream_failed": "red", "skipped": "yellow", "running": "cyan"}


def _table(known: list[Followed], seconds: float) -> Table:
    table = Table(title=f"{seconds:.0f} s", title_justify="left", box=None, pad_edge=False)
    for column in ("DAG", "task", "state", "seconds"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    table.add_column("", overflow="fold")
    for followed in known:
        for task in followed.tasks:
            state = task.state or "waiting"
            shown = f"[{_STYLE.get(state, 'dim')}]{state}[/]"
            took = f"{task.seconds:.1f}" if task.seconds else ""
            table.add_row(followed.run.dag_id, task.label, shown, took, followed.skipped.get(task.label, ""))
    return table


def _show_failure(airflow: AirflowClient, run: DagRun, task: TaskRun, console: Console) -> None:
    console.print(f"\n{run.dag_id} / {task.label} failed: {airflow.page(run, task)}", style="red", markup=False, soft_wrap=True)
    for line in airflow.log(run, task)[-LOG_LINES:]:
        console.print(f"  {line.get('event', '')}", markup=False, highlight=False, soft_wrap=True)
        for error in line.get("error_detail") or []:
            console.print(f"  {error['exc_type']}: {error['exc_value']}", markup=False, highlight=False, soft_wrap=True)
