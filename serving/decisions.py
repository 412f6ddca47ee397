"""The log of decisions: every item, offer or verdict served, with what it rested on, for audit and off-policy evaluation.

`DecisionLog.log` puts rows in a bounded queue and returns at once; a thread of its own writes them (`decisions_store.py`) after
FLUSH_SECONDS, or sooner where many wait. Where the queue is full the decisions of a request are dropped and counted: a request never waits
for a disk. A kill loses at most what the queue held.

Decisions about a person's credit or order are too dear for that: `durable_log` returns once they are on disk. What many requests log at the
same time is written together, and its segments are small, since each write rewrites one.

One list served is one `log` call: a row for every item shown, with its `rank`, and a row without one for each considered and not shown.
"""

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args
from uuid import uuid4

from prometheus_client import Counter, Gauge

from serving.decisions_recent import Recent, recent
from serving.decisions_store import SEGMENT_ROWS, Segments, list_id, stored
from settings import Settings, get_settings

QUEUE_ROWS = 50_000
FLUSH_ROWS = 5_000
FLUSH_SECONDS = 1.0
#: A segment of a durable log is closed at so many rows, and a request waits so long for the disk.
DURABLE_SEGMENT_ROWS = 2_000
PATIENCE_SECONDS = 30.0
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
    is_stored: Future[bool] = field(default_factory=Future)  # once the disk took it or refused it

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"decision_id": f"{self.name}.{place}", "decided_at": self.decided_at, **vars(decision)}
            for place, decision in enumerate(self.decisions, start=1)
        ]


class DecisionLog:
    """The log of one house in one process. Safe to share among threads; close it to have everything on disk."""

    def __init__(self, folder: Path, *, is_wall_clock: bool, is_durable: bool = False, queue_rows: int = QUEUE_ROWS) -> None:
        """`folder` is the landing folder of decisions. Where `is_wall_clock`, a row's day is the day it is written; else the day that the
        data's clock shows, which stands still. Where `is_durable`, `log` returns once its rows are on disk."""
        self._folder, self._queue_rows, self._is_durable = folder, queue_rows, is_durable
        self._writer = uuid4().hex[:12]
        self._segments = Segments(
            folder, self._writer, is_wall_clock=is_wall_clock, rows=DURABLE_SEGMENT_ROWS if is_durable else SEGMENT_ROWS
        )
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

        A durable log waits until the rows would survive the end of the process and of the machine; None also where the disk refuses them,
        or takes longer than PATIENCE_SECONDS, after which they may still come.

        The row at place n (from 1) of `decisions` has the id `<list id>.<n>`. `decided_at` is UTC without zone (`decision_time`).
        """
        with self._awake:
            if self._is_closing or self._waiting + len(decisions) > self._queue_rows:
                self._drop(len(decisions))
                return None
            self._last_id = max(time.time_ns() // 1000, self._last_id + 1)
            name = list_id(decided_at.date(), self._last_id, self._writer)
            WAITING.inc(len(decisions))
            made = _List(name, decided_at, tuple(decisions))
            self._queue.append(made)
            self._waiting += len(decisions)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_on, name="decisions", daemon=True)
                self._thread.start()
            if self._waiting >= self._enough_rows:
                self._awake.notify()
        if not self._is_durable:
            return name
        try:
            return name if made.is_stored.result(PATIENCE_SECONDS) else None
        except TimeoutError:
            return None

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

    @property
    def _enough_rows(self) -> int:
        """So many waiting rows are written at once."""
        return 1 if self._is_durable else FLUSH_ROWS

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
                if not self._is_closing and self._waiting < self._enough_rows:
                    self._awake.wait(FLUSH_SECONDS)
                is_last = self._is_closing
                self._writing += self._queue
                self._queue.clear()
            if not self._write() and not is_last:
                time.sleep(FLUSH_SECONDS)

    def _write(self) -> bool:
        """Writes what was taken from the queue. What the disk refuses stays, to be tried again, and the queue fills up meanwhile; a durable
        log gives it up, since whoever asked is told so."""
        rows, is_stored = [row for one in self._writing for row in one.rows()], True
        if rows:
            try:
                self._segments.append(rows)
            except Exception:
                is_stored = False
                logger.exception("decisions log: %d rows could not be written%s", len(rows), "" if self._is_durable else " yet")
        if not is_stored and not self._is_durable:
            return False
        with self._awake:
            done, self._writing = self._writing, []
            self._waiting -= len(rows)
            (WRITTEN if is_stored else DROPPED).inc(len(rows))
            WAITING.dec(len(rows))
        for one in done:
            one.is_stored.set_result(is_stored)
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


@cache
def durable_log() -> DecisionLog:
    """The log of this process for decisions that must not be lost: about credit and orders."""
    settings = get_settings()
    log = DecisionLog(settings.landing_dir / "decisions", is_wall_clock=settings.clock == "wall", is_durable=True)
    atexit.register(log.close)
    return log
