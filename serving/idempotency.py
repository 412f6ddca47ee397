"""Answers kept by the caller's key, so that a request sent twice is answered once: `Idempotency-Key` (IETF draft of the httpapi group).

A caller makes up a key for each request. The same key with the same body gets the stored answer, byte by byte, though the work was done
once; with another body it is refused. Copies that come at the same time wait for the first one. The lock they wait at is the kernel's, so
a killed process leaves none behind: what it had not stored is done again by the next copy, and what it had stored is given again.

Answers lie in one SQLite file of the house, for all its processes, on disk before they are given. Each is forgotten after KEEP, or once
its caller has had MOST_OF_A_CALLER newer ones: one caller cannot push out another's.
"""

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from filelock import FileLock, Timeout

KEEP = timedelta(days=1)
MOST_OF_A_CALLER = 20_000
#: How long a copy waits for the first one.
PATIENCE_SECONDS = 30.0
#: Requests of different keys that share a lock, one in so many, wait for each other.
LOCKS = 256

_SCHEMA = """
create table if not exists answers (
    id blob primary key, request blob not null, status integer not null, body blob not null, caller text not null, made_at real not null
) without rowid;
create index if not exists by_caller on answers (caller, made_at);
create index if not exists by_age on answers (made_at);
"""


class KeyReused(Exception):
    """The key came before with another request."""


class StillAnswering(Exception):
    """The first request of this key has not been answered yet."""


@dataclass(frozen=True)
class Answer:
    """What a request was answered."""

    status: int
    body: bytes
    is_repeated: bool = False


class Answers:
    """The answers of one house. Safe to use from many threads and processes."""

    def __init__(self, folder: Path, *, keep: timedelta = KEEP, most: int = MOST_OF_A_CALLER, patience_s: float = PATIENCE_SECONDS) -> None:
        self._file, self._locks = folder / "answers.sqlite", folder / "locks"
        self._keep, self._most, self._patience_s = keep.total_seconds(), most, patience_s
        self._mutex = threading.Lock()
        self._opened: sqlite3.Connection | None = None

    def once(self, caller: str, key: str, request: bytes, make: Callable[[], Answer]) -> Answer:
        """The stored answer to this caller's key, or that of `make`, which is stored before it is returned.

        `request` is all that tells one request from another: method, address and body. What `make` raises is not kept: such a request
        may be sent again. Raises KeyReused, and StillAnswering after `patience_s` of waiting for another copy.
        """
        id, fingerprint = _digest(caller.encode(), key.encode()), _digest(request)
        self._locks.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._locks / f"{id[0] % LOCKS:02x}.lock", timeout=self._patience_s):
                stored = self._stored(id)
                if stored is None:
                    answer = make()
                    self._store(id, fingerprint, answer, caller)
                    return answer
        except Timeout as error:
            raise StillAnswering(
                "A key names one request at a time. The first one with this key is still being answered. Send it again in a while."
            ) from error
        if stored[0] != fingerprint:
            raise KeyReused(
                "A key names one request: the same address and the same body. Received it with another one before. Make up a new key."
            )
        return Answer(stored[1], stored[2], is_repeated=True)

    def close(self) -> None:
        with self._mutex:
            if self._opened:
                self._opened.close()
                self._opened = None

    def _stored(self, id: bytes) -> tuple[bytes, int, bytes] | None:
        with self._mutex, closing(self._database().cursor()) as cursor:
            asked = cursor.execute("select request, status, body from answers where id = ? and made_at > ?", (id, time.time() - self._keep))
            found: tuple[bytes, int, bytes] | None = asked.fetchone()
            return found

    def _store(self, id: bytes, fingerprint: bytes, answer: Answer, caller: str) -> None:
        now = time.time()
        with self._mutex, self._database() as database:  # one transaction, on disk when it ends
            row = (id, fingerprint, answer.status, answer.body, caller, now)
            database.execute("insert or replace into answers values (?, ?, ?, ?, ?, ?)", row)
            database.execute("delete from answers where made_at <= ?", (now - self._keep,))
            database.execute(
                "delete from answers where caller = ? and made_at < "
                "(select made_at from answers where caller = ? order by made_at desc limit 1 offset ?)",
                (caller, caller, self._most - 1),
            )

    def _database(self) -> sqlite3.Connection:
        if self._opened is None:
            database = sqlite3.connect(self._file, timeout=self._patience_s, check_same_thread=False)
            self._file.chmod(0o600)
            for pragma in ("journal_mode = wal", "synchronous = full", "secure_delete = on"):
                database.execute(f"pragma {pragma}")
            database.executescript(_SCHEMA)
            self._opened = database
        return self._opened


def _digest(*parts: bytes) -> bytes:
    """SHA-256 of the parts, each behind its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
