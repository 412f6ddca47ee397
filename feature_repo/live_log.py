"""Live events on disk: `live_dir/ds=YYYY-MM-DD/*.parquet`, the durable truth that everything online can be made from again.

A process writes one *segment* a day at a time: each commit writes the segment's rows with the new ones beside it, forces them to disk and
renames over the old, so a reader sees whole files only, and a thousand small posts a second make one file for every SEGMENT_ROWS events,
not one for every post. Nothing is ever deleted here but what a killed process left half-written and nobody was told is stored.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from time import time_ns
from typing import Any
from uuid import uuid4

import pyarrow
import pyarrow.parquet

from sources.durable import replace_whole, sync
from sources.landing import LANDING

SEGMENT_ROWS = 5_000
#: Days, newest first, whose ids are remembered: an event posted again after that is dropped by the load instead.
RECENT_DAYS = 3

_TYPES = {"string": pyarrow.string(), "timestamp": pyarrow.timestamp("us"), "float": pyarrow.float64()}
SCHEMA = pyarrow.schema([(column.name, _TYPES[column.kind]) for column in LANDING["events"].columns])
_INDEXED = ["event_id", "user_id", "session_id", "occurred_at"]

Row = dict[str, Any]
Visits = dict[tuple[str, str], datetime]  # (user_id, session_id): its first live event


class LiveLog:
    """The events of a house's `live_dir`; one writer at a time, held by the caller's lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seen: set[str] = set()
        self._visits: Visits = {}
        self._read: dict[Path, tuple[int, int]] = {}
        self._open: dict[date, tuple[Path, pyarrow.Table]] = {}

    def refresh(self) -> None:
        """Remembers what other processes, and those before this one, have written in the recent days."""
        for folder in self._days()[-RECENT_DAYS:]:
            for path in folder.glob(".*.tmp"):
                path.unlink()
            for path in sorted(folder.glob("*.parquet")):
                if self._read.get(path) != _state(path):
                    self._remember(pyarrow.parquet.read_table(path, columns=_INDEXED, partitioning=None).to_pylist())
                    self._read[path] = _state(path)

    def append(self, rows: Sequence[Row]) -> None:
        """Stores rows (the landing columns and `ds`); they survive the end of the process, and of the machine, once this returns."""
        for day in sorted({row["ds"] for row in rows}):
            new = pyarrow.Table.from_pylist([row for row in rows if row["ds"] == day], schema=SCHEMA)
            path, held = self._open.get(day) or (self._new_segment(day), SCHEMA.empty_table())
            whole = pyarrow.concat_tables([held, new])
            replace_whole(path, partial(pyarrow.parquet.write_table, whole))
            self._read[path] = _state(path)
            self._open.pop(day, None)
            if whole.num_rows < SEGMENT_ROWS:
                self._open[day] = (path, whole)
        while len(self._open) > RECENT_DAYS:
            self._open.pop(next(iter(self._open)))
        self._remember(rows)

    def since(self, first: date) -> list[Row]:
        """Every stored event received on or after that day, each once, with `ds`."""
        rows: dict[str, Row] = {}
        for folder in self._days():
            if (day := _day(folder)) >= first:
                for path in sorted(folder.glob("*.parquet")):
                    for row in pyarrow.parquet.read_table(path, schema=SCHEMA, partitioning=None).to_pylist():
                        rows.setdefault(row["event_id"], row | {"ds": day})
        return list(rows.values())

    def visits_of(self, rows: Iterable[Row]) -> Visits:
        """What is known of the visits that `rows` name."""
        visits = {(row["user_id"], row["session_id"]) for row in rows}
        return {visit: self._visits[visit] for visit in visits if visit in self._visits}

    def _days(self) -> list[Path]:
        return sorted(self._folder.glob("ds=????-??-??"))

    def _new_segment(self, day: date) -> Path:
        folder = self._folder / f"ds={day}"
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            sync(self._folder)
        return folder / f"{time_ns():020d}-{uuid4().hex[:12]}.parquet"

    def _remember(self, rows: Sequence[Row]) -> None:
        self.seen.update(row["event_id"] for row in rows)
        note_visits(self._visits, rows)


def note_visits(visits: Visits, rows: Iterable[Row]) -> None:
    """Notes in `visits` the first time at which each visit of the shop's own name is seen."""
    for row in rows:
        if row["user_id"] is not None and row["session_id"] is not None:
            visit = (row["user_id"], row["session_id"])
            visits[visit] = min(row["occurred_at"], visits.get(visit, row["occurred_at"]))


def _day(folder: Path) -> date:
    return date.fromisoformat(folder.name.removeprefix("ds="))


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size
