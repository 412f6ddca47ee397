"""When a live row became known: `created_at` that puts every row after the ones it replaces, and before the batch row that replaces it.

An online row is ordered by (features_at, created_at). A live row's `created_at` lies within the day its newest event arrived, or the last
day it counts where that is later, so the batch row that knows of that day, created at its end, wins; and later than any other written for
the same midnight and day, so that of two live rows the one made last wins, whichever process made it and whatever order the events had.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

_KEPT = 64  # pairs of midnight and day that are remembered
_MICROSECOND = timedelta(microseconds=1)


class LiveClock:
    """The newest `created_at` given out for each midnight and day, kept in a file; one process at a time, by the caller's lock."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def created_at(self, users: Mapping[str, tuple[datetime, list[dict[str, Any]]]]) -> dict[str, datetime]:
        """`{user: created_at}` for `{user: (features_at, its live events)}`; users of one call may share a time."""
        given = json.loads(self._file.read_text()) if self._file.exists() else {}
        last = {key: datetime.fromisoformat(time) for key, time in given.items()}
        newest = dict(last)
        created = {}
        for user_id, (features_at, rows) in users.items():
            day = max(features_at - timedelta(days=1), *(datetime.combine(row["ds"], datetime.min.time()) for row in rows))
            end = day + timedelta(days=1) - timedelta(seconds=1)  # room for what comes after the day's last event
            received = min(end, max(day, *(row["received_at"] for row in rows)))
            key = f"{features_at}|{day}"
            created[user_id] = max(received, last.get(key, received)) + _MICROSECOND
            newest[key] = max(created[user_id], newest.get(key, created[user_id]))
        kept = {key: newest[key].isoformat() for key in sorted(newest)[-_KEPT:]}
        beside = self._file.with_suffix(".tmp")
        beside.write_text(json.dumps(kept))
        beside.replace(self._file)
        return created
