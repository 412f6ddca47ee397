"""Live events: judged, made durable, and online within the second; the next batch makes the same rows from the same events.

`accept` judges events by the landing rules, drops those whose `event_id` it has, stores the others (`live_log.py`) and brings their users'
online rows up to date (`live_effect.py`). Requests that wait for one another are committed together.

When an event *arrives* decides its day (`ds`) and fills an absent `received_at`. With the clock `wall` that is real time. With the clock
`data` it is the event's own `received_at`, else `occurred_at`, but not before the horizon, up to which everything is loaded: an event that
happened earlier belongs to the next day that a load will read.

A row of a live event counts to the midnight after it (`features_at`), and became known (`created_at`) within the day it arrived, after
everything written for that midnight before; the batch row of that midnight is newer, and takes its place. `replay` makes the rows anew from
what is published and from every stored event that arrived at or after the horizon, so it may run at any time, any number of times.
"""

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import duckdb
import pyarrow
from filelock import FileLock

from feature_repo.contract import CREATED_AT, FEATURES_AT, mart
from feature_repo.frames import naive_utc, newest_rows_query
from feature_repo.live_clock import LiveClock
from feature_repo.live_effect import USER_VIEWS, UserRows, with_events
from feature_repo.live_log import RECENT_DAYS, LiveLog, Row, Visits, note_visits
from feature_repo.live_online import ITEM_VIEW, OnlineUsers
from feature_repo.live_rules import Judge, Refused, utc_now
from feature_repo.published import mart_dir
from settings import Settings, get_settings

REPLAY_USERS = 1_000  # users whose rows are made and written at once

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveReport:
    """What became of the events of one call: `accepted + duplicates + len(refused)` is their number.

    Accepted events are on disk. `is_online` is False where the online store could not take them yet: the next call, or the next batch, will
    bring them there.
    """

    accepted: int
    duplicates: int
    refused: list[Refused]
    is_online: bool


def accept(events: Sequence[Any]) -> LiveReport:
    """Takes events in landing form: mappings of the columns of `events`, times as ISO 8601 (UTC where they name no zone).

    Refused events are named one by one and keep no other event out. An event whose `event_id` came in the recent days is a duplicate,
    whatever its values: a correction comes with a delivery. Without an `event_id` an event's identity is all its columns. Returns once the
    accepted events survive a power cut. Threads and processes may call it at once.
    """
    return _house(get_settings()).accept(events)


def replay(user_ids: Iterable[str] | None, horizon: datetime) -> int:
    """Applies stored events that arrived at or after `horizon` (a midnight, UTC) on top of the batch rows published up to it.

    Those of `user_ids`, or everybody's; guests have no rows. Returns the number of events applied.
    """
    return _house(get_settings()).replay(user_ids, naive_utc(horizon))


@dataclass
class _Waiting:
    events: Sequence[Any]
    called: threading.Event = field(default_factory=threading.Event)  # when committed, or when its turn to commit has come
    report: LiveReport | None = None
    error: BaseException | None = None


class _House:
    """One house's live events in this process."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.feast_dir
        folder.mkdir(parents=True, exist_ok=True)
        self._settings = settings
        self._threads = threading.Lock()
        self._processes = FileLock(folder / "live.lock")
        self._queue = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._is_committing = False
        self._behind = folder / "live_behind"  # stands while a stored event may not be online
        self._clock, self._judge, self._log = LiveClock(folder / "live_clock.json"), Judge(), LiveLog(settings.live_dir)
        self._online: OnlineUsers | None = None
        self._horizon: tuple[list[int], datetime | None] = ([], None)

    def accept(self, events: Sequence[Any]) -> LiveReport:
        mine = _Waiting(events)
        with self._queue:
            self._waiting.append(mine)
            is_first, self._is_committing = not self._is_committing, True
        if not is_first:
            mine.called.wait()
        if mine.report is None and mine.error is None:
            self._commit_waiting()
        if mine.error is not None:
            raise mine.error
        assert mine.report is not None
        return mine.report

    def _commit_waiting(self) -> None:
        """Commits for all who wait by now, then calls whoever came first since."""
        with self._queue:
            together = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            with self._threads, self._processes:
                self._commit(together)
        except BaseException as error:
            for one in together:
                one.error = error
        with self._queue:
            self._is_committing = bool(self._waiting)
            called = [*together, *([self._waiting[0]] if self._waiting else [])]
        for one in called:
            one.called.set()

    def replay(self, user_ids: Iterable[str] | None, horizon: datetime) -> int:
        with self._threads, self._processes:
            return self._replay(user_ids, horizon)

    def _commit(self, together: list[_Waiting]) -> None:
        self._log.refresh()
        horizon = self._published_until()
        arrival = {"now": utc_now(), "horizon": horizon, "is_wall": self._settings.clock == "wall"}
        judged = self._judge.judge([event for one in together for event in one.events], arrival)
        fresh: dict[str, Row] = {}
        taken: dict[int, bool] = {}
        for row in judged.rows:
            taken[row["index"]] = row["event_id"] not in self._log.seen and row["event_id"] not in fresh
            fresh |= {row["event_id"]: row} if taken[row["index"]] else {}
        is_online = self._store(list(fresh.values()), horizon)
        start = 0
        for one in together:
            mine = range(start, start + len(one.events))
            start = mine.stop
            kept = [taken[index] for index in mine if index in taken]
            refused = [replace(refusal, index=refusal.index - mine.start) for refusal in judged.refused if refusal.index in mine]
            one.report = LiveReport(sum(kept), len(kept) - sum(kept), refused, is_online)

    def _store(self, rows: list[Row], horizon: datetime | None) -> bool:
        """Disk first, then the online store; whether that has everything."""
        was_behind = self._behind.exists()
        if rows:
            self._behind.touch()
            visits = self._log.visits_of(rows)
            self._log.append(rows)
        try:
            if was_behind:
                self._replay(None, horizon)
            elif rows:
                self._apply(rows, visits)
            self._behind.unlink(missing_ok=True)
        except Exception:
            logger.exception("Live events are stored but not online yet; the next call tries again.")
            self._online = None
            return False
        return True

    def _apply(self, rows: list[Row], visits: Visits) -> None:
        events = _by_user(rows)
        self._write(self._users().users(events), events, visits)

    def _replay(self, user_ids: Iterable[str] | None, horizon: datetime | None) -> int:
        first = horizon.date() if horizon else date(1970, 1, 1)
        stored = self._log.since(first - timedelta(days=RECENT_DAYS))
        visits: Visits = {}
        note_visits(visits, [row for row in stored if row["ds"] < first])
        events = _by_user([row for row in stored if row["ds"] >= first])
        if user_ids is not None:
            chosen = set(user_ids)
            events = {user_id: rows for user_id, rows in events.items() if user_id in chosen}
        ids = sorted(events)
        for start in range(0, len(ids), REPLAY_USERS):
            some = {user_id: events[user_id] for user_id in ids[start : start + REPLAY_USERS]}
            self._write(_published(list(some), horizon), some, visits)
        return sum(map(len, events.values()))

    def _write(self, users: dict[str, UserRows], events: dict[str, list[Row]], visits: Visits) -> None:
        if not events:
            return
        items = self._users().items(row["item_id"] for rows in events.values() for row in rows)
        length = self._settings.sequence_length
        after = {user_id: with_events(users[user_id], rows, items, visits, length) for user_id, rows in events.items()}
        counted = {user_id: (features_at, events[user_id]) for user_id, user in after.items() if (features_at := user.features_at)}
        self._users().write(after, self._clock.created_at(counted))

    def _users(self) -> OnlineUsers:
        self._online = self._online or OnlineUsers()
        return self._online

    def _published_until(self) -> datetime | None:
        """The newest midnight of which a view of users or items is published; read again when a day is added or dropped."""
        folders = [mart_dir(view) for view in (*USER_VIEWS, ITEM_VIEW)]
        changed = [folder.stat().st_mtime_ns if folder.is_dir() else 0 for folder in folders]
        if changed != self._horizon[0]:
            days = [path.name.removeprefix("day=") for folder in folders for path in folder.glob("day=*")]
            self._horizon = (changed, datetime.fromisoformat(max(days)) if days else None)
        return self._horizon[1]


def _by_user(rows: list[Row]) -> dict[str, list[Row]]:
    """Every known user's rows, in the order of a history."""
    events: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["occurred_at"], row["event_id"])):
        if row["user_id"] is not None:
            events[row["user_id"]].append(row)
    return dict(events)


def _published(user_ids: list[str], horizon: datetime | None) -> dict[str, UserRows]:
    """The batch rows of users as known at `horizon`; those of somebody new where there are none."""
    users = {user_id: UserRows.new() for user_id in user_ids}
    if horizon is None:
        return users
    with duckdb.connect() as connection:
        connection.register("asked", pyarrow.table({"user_id": user_ids}))
        for view in USER_VIEWS:
            query = newest_rows_query(mart(view), changed="user_id in (select user_id from asked)")
            for row in connection.sql(query, params={"as_of": horizon}).to_arrow_table().to_pylist():
                user = users[row.pop("user_id")]
                user.features_at = max(filter(None, (user.features_at, row.pop(FEATURES_AT))))
                del row[CREATED_AT]
                user.rows[view] = row
    return users


@cache
def _house(settings: Settings) -> _House:
    return _House(settings)
