"""The log of decisions: every item, offer or verdict served, with what it rested on, for audit and off-policy evaluation.

`DecisionLog.log` puts rows in a bounded queue and returns at once; a thread of its own writes them (`decisions_store.py`) after
FLUSH_SECONDS, or sooner where many wait. Where the queue is full the decisions of a request are dropped and counted: a request never waits
for a disk. A kill loses at most what the queue held.

One list served is one `log` call: a row for every item shown, with its `rank`, and a row without one for each considered and not shown.
"""

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args
from uuid import uuid4

from prometheus_client import Counter, Gauge

from serving.decisions_recent import Recent, recent
from serving.decisions_store import Segments, list_id, stored
from settings import Settings, get_settings

QUEUE_ROWS = 50_000
FLUSH_ROWS = 5_000
FLUSH_SECONDS = 1.0
#: How often dropping is told in the log, at most.
TELL_SECONDS = 10.0

WRITTEN = Counter("portrait_decisions_written", "Rows of the decisions log on disk.")
DROPPED = Counter("portrait_decisions_dropped", "Rows of the decisions log dropped because the queue was full.")
WAITING = Gauge("portrait_decisions_waiting", "Rows of the decisions log that are not on disk yet.")

logger = logging.getLogger(__name__)

Kind = Literal["recommendation", "offer", "credit", "order"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Decision:
    """One thing decided for one user, in the words of the landing table `decisions`.

    `subject` is the item, offer or application; `rank` its place in the list from 1, None where it was considered and not shown;
    `propensity` the probability with which it was chosen; `arm` the label of the model that answered (`canary` or `stable`).
    """

    user_id: str | None
    kind: Kind
    subject: str
    model: str
    model_version: str
    features_at: datetime
    rank: int | None = None
    score: float | None = None
    propensity: float | None = None
    arm: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class _List:
    """What one call of `log` left in the queue."""

    name: str
    decided_at: datetime
    decisions: tuple[Decision, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"decision_id": f"{self.name}.{place}", "decided_at": self.decided_at, **vars(decision)}
            for place, decision in enumerate(self.decisions, start=1)
        ]


class DecisionLog:
    """The log of one house in one process. Safe to share among threads; close it to have everything on disk."""

    def __init__(self, folder: Path, *, is_wall_clock: bool, queue_rows: int = QUEUE_ROWS) -> None:
        """`folder` is the landing folder of decisions. Where `is_wall_clock`, a row's day is the day it is written; else the day that the
        data's clock shows, which stands still."""
        self._folder, self._queue_rows = folder, queue_rows
        self._writer = uuid4().hex[:12]
        self._segments = Segments(folder, self._writer, is_wall_clock=is_wall_clock)
        self._awake = threading.Condition()
        self._queue: deque[_List] = deque()
        self._writing: list[_List] = []
        self._waiting = 0  # rows of both
        self._last_id = 0
        self._untold, self._told_at = 0, -TELL_SECONDS
        self._thread: threading.Thread | None = None
        self._is_closing = False

    def log(self, decisions: Sequence[Decision], decided_at: datetime) -> str | None:
        """Queues the decisions of one list and returns its id, or None where they were dropped; never waits for a disk.

        The row at place n (from 1) of `decisions` has the id `<list id>.<n>`. `decided_at` is UTC without zone (`decision_time`).
        """
        with self._awake:
            if self._is_closing or self._waiting + len(decisions) > self._queue_rows:
                self._drop(len(decisions))
                return None
            self._last_id = max(time.time_ns() // 1000, self._last_id + 1)
            name = list_id(decided_at.date(), self._last_id, self._writer)
            self._queue.append(_List(name, decided_at, tuple(decisions)))
            self._waiting += len(decisions)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_on, name="decisions", daemon=True)
                self._thread.start()
            if self._waiting >= FLUSH_ROWS:
                self._awake.notify()
            return name

    def find(self, decision_id: str) -> list[dict[str, Any]]:
        """Rows of a list by its id, or the one row of a place in it; empty where there is none."""
        with self._awake:
            waiting = [*self._writing, *self._queue]
        name = decision_id.partition(".")[0]
        rows = [row for one in waiting if one.name == name for row in one.rows()]
        return [row for row in rows if decision_id in (name, row["decision_id"])] or stored(self._folder, decision_id)

    def recent(self, kind: str | None, user_id: str | None, before: str | None, count: int) -> Recent:
        """The newest lists, those that wait for the disk among them."""
        with self._awake:
            waiting = [*self._writing, *self._queue]
        return recent(self._folder, [row for one in waiting for row in one.rows()], kind, user_id, before, count)

    def close(self) -> None:
        """Writes what waits, and takes no more."""
        with self._awake:
            self._is_closing = True
            self._awake.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _drop(self, rows: int) -> None:
        DROPPED.inc(rows)
        self._untold += rows
        if time.monotonic() - self._told_at >= TELL_SECONDS:
            logger.warning("decisions log: the queue of %d rows is full; %d rows were dropped", self._queue_rows, self._untold)
            self._untold, self._told_at = 0, time.monotonic()

    def _write_on(self) -> None:
        is_last = False
        while not is_last:
            with self._awake:
                if not self._is_closing and self._waiting < FLUSH_ROWS:
                    self._awake.wait(FLUSH_SECONDS)
                is_last = self._is_closing
                self._writing += self._queue
                self._queue.clear()
            if not self._write() and not is_last:
                time.sleep(FLUSH_SECONDS)

    def _write(self) -> bool:
        """Writes what was taken from the queue; what the disk refuses stays, to be tried again, and the queue fills up meanwhile."""
        rows = [row for one in self._writing for row in one.rows()]
        if rows:
            try:
                self._segments.append(rows)
            except Exception:
                logger.exception("decisions log: %d rows could not be written yet", len(rows))
                return False
        with self._awake:
            self._writing = []
            self._waiting -= len(rows)
            WRITTEN.inc(len(rows))
            WAITING.set(self._waiting)
        return True


def decision_time(settings: Settings, as_of: datetime, *read_until: datetime) -> datetime:
    """When a decision of this moment was made, on the clock of the house, UTC without zone.

    The clock `wall` is real time. The clock `data` is `as_of`, up to which records are loaded, or the newest live event that the model has
    read (`read_until`), so that only what happened afterwards is its outcome.
    """
    return datetime.now(UTC).replace(tzinfo=None) if settings.clock == "wall" else max([as_of, *read_until])


@cache
def decision_log() -> DecisionLog:
    """The log of this process and house, closed when the process ends."""
    settings = get_settings()
    log = DecisionLog(settings.landing_dir / "decisions", is_wall_clock=settings.clock == "wall")
    atexit.register(log.close)
    return log
