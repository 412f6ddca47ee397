"""Decisions on disk: `landing/decisions/ds=YYYY-MM-DD/<time>-<writer>.parquet`, where the ordinary load finds them like any table.

A writer grows one *segment* at a time: the rows so far and the new ones are written beside it, forced to disk and renamed over it, so a
reader sees whole files only. A full segment is closed and never touched again. Every process writes segments of its own name, so several
never meet.

The day of a file is the day on which its rows reached the disk. A day that is over therefore never gets another row, and a load of it
needs no repeating: what was decided just before midnight and written just after belongs to the next day, as a late event does.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas  # noqa: F401 - pyarrow would import it at the first write, in somebody's request
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sources.durable import replace_whole, sync
from sources.files import ARROW_TYPES
from sources.landing import LANDING

#: A segment is closed at so many rows: growing it further would cost more than it saves.
SEGMENT_ROWS = 50_000
SCHEMA = pa.schema([(column.name, ARROW_TYPES[column.kind]) for column in LANDING["decisions"].columns])

_ID = re.compile(r"(?P<day>\d{8})-(?P<time>[0-9a-f]{14})-(?P<writer>[0-9a-f]{12})(?:\.(?P<place>\d{1,4}))?")


def list_id(day: date, microseconds: int, writer: str) -> str:
    """The id of a list of decisions, which names the file that holds it; its rows are `<list id>.1`, `.2`, ..."""
    return f"{day:%Y%m%d}-{microseconds:014x}-{writer}"


class Segments:
    """The files of one writer; one thread at a time."""

    def __init__(self, folder: Path, writer: str, *, is_wall_clock: bool, rows: int = SEGMENT_ROWS) -> None:
        """A segment is closed at `rows`. Where `is_wall_clock`, the landing day of rows is the day on which they are written; else their
        own."""
        self._folder, self._writer, self._is_wall_clock, self._rows = folder, writer, is_wall_clock, rows
        self._open: tuple[date, Path, pa.Table] | None = None

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Stores rows; once this returns they survive the end of the process, and of the machine."""
        by_day: dict[date, list[dict[str, Any]]] = {}
        today = datetime.now(UTC).date()
        for row in rows:
            by_day.setdefault(today if self._is_wall_clock else row["decided_at"].date(), []).append(row)
        for day, of_day in sorted(by_day.items()):
            if self._open is None or self._open[0] != day:
                self._open = day, self._new_file(day, of_day[0]), SCHEMA.empty_table()
            _, path, held = self._open
            whole = pa.concat_tables([held, pa.Table.from_pylist(of_day, schema=SCHEMA)]).combine_chunks()  # many chunks write slowly
            replace_whole(path, partial(pq.write_table, whole, compression="zstd"))
            self._open = (day, path, whole) if whole.num_rows < self._rows else None

    def _new_file(self, day: date, first: dict[str, Any]) -> Path:
        folder = self._folder / f"ds={day}"
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            sync(self._folder)
        return folder / f"{first['decision_id'].split('-')[1]}-{self._writer}.parquet"


def stored(folder: Path, decision_id: str) -> list[dict[str, Any]]:
    """Rows of a list, or the one of a place in it, by place; empty where nothing of that id is on disk."""
    named = _ID.fullmatch(decision_id)
    if named is None:
        return []
    decided = date.fromisoformat(named["day"])
    for day in (decided, decided + timedelta(days=1)):
        files = sorted((folder / f"ds={day}").glob(f"*-{named['writer']}.parquet"))
        begun = [path for path in files if path.name.split("-")[0] <= named["time"]]
        if begun:  # segments follow one another, so only the last that began before can hold it
            wanted = pc.starts_with(pc.field("decision_id"), f"{decision_id.split('.')[0]}.")
            rows = pq.read_table(begun[-1], filters=wanted, partitioning=None).to_pylist()
            if found := [row for row in rows if named["place"] is None or row["decision_id"] == decision_id]:
                return sorted(found, key=lambda row: int(row["decision_id"].rpartition(".")[2]))
    return []
