"""The newest lists of the decisions log, for a page: who, what kind, by which model; never what was decided.

The landing files are read from the newest back. No list is newer than the last write to its file, and writing into a folder of a day
changes that folder's own time: so a file is opened only where what it may hold is newer than what was found. Costs one `stat` a day of the
log, one a file of the days that are opened, and the reading of a few columns of one file or two; a rare kind or user reads on, up to
MOST_FILES, and the page says until when it looked.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

#: Files read for one page, beside those that several processes were writing at the time where it begins.
MOST_FILES = 20
_COLUMNS = ["decision_id", "decided_at", "user_id", "kind", "model", "model_version", "arm", "rank"]
_NAME, _TIME = (0, 36), (9, 23)  # of `20240501-0617635a3c5f1e-9f3ac21b77d0.3`


@dataclass(frozen=True)
class ListLine:
    """One list that was served: `name` is its id, `shown` and `considered` are how many places it had and what else was scored."""

    name: str
    decided_at: datetime
    kind: str
    user_id: str | None
    model: str
    model_version: str
    arm: str | None
    shown: int
    considered: int

    @property
    def time(self) -> str:
        """When it was logged, microseconds in hexadecimal: lists sort by it."""
        return self.name[slice(*_TIME)]


@dataclass(frozen=True)
class Recent:
    """Lists, newest first; with `before` the page that follows is asked for, None where the log ends."""

    lists: tuple[ListLine, ...]
    before: str | None


#: `(kind, user, before, count)`: None for every kind and user, and for the newest.
RecentDecisions = Callable[[str | None, str | None, str | None, int], Recent]


def recent(
    folder: Path, waiting: Sequence[dict[str, Any]], kind: str | None, user_id: str | None, before: str | None, count: int
) -> Recent:
    """The newest `count` lists below `folder` and of the rows `waiting`, that were logged before `before`."""
    wanted = (("kind", kind), ("user_id", user_id))
    own = [row for row in waiting if all(value is None or row[name] == value for name, value in wanted)]
    found = {line.name: line for line in _lines(own) if before is None or line.time < before}
    filters = [(name, "==", value) for name, value in wanted if value is not None]
    ahead = [(_last_write(day), day) for day in folder.glob("ds=*")]
    heapq.heapify(ahead)
    read, cut = 0, None
    while ahead:
        last = _hexadecimal(-ahead[0][0])
        if sum(line.time > last for line in found.values()) >= count:
            break
        _, path = heapq.heappop(ahead)
        if path.is_dir():
            for file in path.glob("*.parquet"):
                if before is None or file.name.partition("-")[0] < before:
                    heapq.heappush(ahead, (_last_write(file), file))
            continue
        if before is None or last < before:
            if read == MOST_FILES:
                cut = last
                break
            read += 1
        found |= {line.name: line for line in _lines(_newest_rows(path, filters, before, count))}
    lines = sorted((line for line in found.values() if cut is None or line.time > cut), key=lambda line: line.time, reverse=True)
    if len(lines) > count:
        return Recent(tuple(lines[:count]), lines[count - 1].time)
    following = _hexadecimal(int(cut, 16) + 1) if cut else lines[-1].time if ahead and lines else None
    return Recent(tuple(lines), following)


def _newest_rows(path: Path, filters: list[tuple[str, str, str]], before: str | None, count: int) -> list[dict[str, Any]]:
    """Every row of the newest `count` lists of a file, and of one more, which says that others follow."""
    rows = pq.read_table(path, columns=_COLUMNS, filters=filters or None, partitioning=None)
    names = pc.utf8_slice_codeunits(rows["decision_id"], *_NAME)
    given = pc.unique(names)
    times = pc.utf8_slice_codeunits(given, *_TIME)
    if before is not None:
        is_earlier = pc.less(times, before)
        given, times = given.filter(is_earlier), times.filter(is_earlier)
    newest = given.take(pc.sort_indices(times, sort_keys=[("", "descending")])[: count + 1])
    return rows.filter(pc.is_in(names, pa.array(newest, pa.string()))).to_pylist()


def _lines(rows: Iterable[dict[str, Any]]) -> list[ListLine]:
    lists: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        lists.setdefault(row["decision_id"][slice(*_NAME)], []).append(row)
    return [_line(name, own) for name, own in lists.items()]


def _line(name: str, rows: list[dict[str, Any]]) -> ListLine:
    told = {column: rows[0][column] for column in ("decided_at", "kind", "user_id", "model", "model_version", "arm")}
    shown = sum(row["rank"] is not None for row in rows)
    return ListLine(name, **told, shown=shown, considered=len(rows) - shown)


def _last_write(path: Path) -> int:
    """Microseconds, negative so that a heap gives the newest first."""
    return -(path.stat().st_mtime_ns // 1000)


def _hexadecimal(microseconds: int) -> str:
    return f"{microseconds:014x}"
