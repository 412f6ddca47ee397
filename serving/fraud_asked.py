"""Orders that the API was asked about, in one SQLite file of the house: what the loaded records do not count yet.

Records come once a day; who orders five times in an hour is seen only by whoever was asked about each of the five. An order is on disk
before it is answered, for all processes, and forgotten after KEEP: by then the records count it.
"""

import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from feature_repo.order_features import KINDS, AskedOrder, to_us

KEEP = timedelta(days=40)

_SCHEMA = """
create table if not exists orders (
    order_id text primary key, placed_us integer not null, amount real not null,
    user_id text, payment_id text, device_id text, address_id text
) without rowid;
create index if not exists by_time on orders (placed_us);
create index if not exists by_user on orders (user_id, placed_us);
create index if not exists by_payment on orders (payment_id, placed_us);
create index if not exists by_device on orders (device_id, placed_us);
create index if not exists by_address on orders (address_id, placed_us);
"""
_COLUMNS = "order_id, placed_us, amount, user_id, payment_id, device_id, address_id"


class AskedOrders:
    """The orders of one house. Safe to use from many threads and processes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._mutex = threading.Lock()
        self._opened: sqlite3.Connection | None = None

    def add(self, order: AskedOrder, counted_to: datetime) -> None:
        """Keeps an order; asked about again it is there once, as it was asked last. What was placed KEEP before the records' end goes."""
        ids = tuple(getattr(order, f"{kind}_id") for kind in KINDS)
        placed = to_us(order.placed_at)
        with self._mutex, self._database() as database:
            database.execute("insert or replace into orders values (?, ?, ?, ?, ?, ?, ?)", (order.order_id, placed, order.amount, *ids))
            database.execute("delete from orders where placed_us < ?", (to_us(counted_to - KEEP),))

    def since(self, order: AskedOrder, start: datetime) -> list[AskedOrder]:
        """Other orders placed in `[start, order.placed_at)` by any of its instruments, oldest first."""
        found: dict[str, AskedOrder] = {}
        with self._mutex, closing(self._database().cursor()) as cursor:
            for kind in order.instruments:
                query = f"select {_COLUMNS} from orders where {kind}_id = ? and placed_us >= ? and placed_us < ?"
                asked = cursor.execute(query, (getattr(order, f"{kind}_id"), to_us(start), to_us(order.placed_at)))
                found |= {row[0]: _order(row) for row in asked.fetchall() if row[0] != order.order_id}
        return sorted(found.values(), key=lambda one: (one.placed_at, one.order_id))

    def amounts(self, order_ids: Iterable[str]) -> dict[str, float]:
        """The totals of those orders that are known."""
        with self._mutex, closing(self._database().cursor()) as cursor:
            found = (cursor.execute("select order_id, amount from orders where order_id = ?", (one,)).fetchone() for one in order_ids)
            return {row[0]: row[1] for row in found if row}

    def _database(self) -> sqlite3.Connection:
        if self._opened is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self._file, timeout=10, check_same_thread=False)
            self._file.chmod(0o600)
            for pragma in ("journal_mode = wal", "synchronous = full", "secure_delete = on"):
                database.execute(f"pragma {pragma}")
            database.executescript(_SCHEMA)
            self._opened = database
        return self._opened


def _order(row: tuple) -> AskedOrder:
    placed_at = datetime.fromtimestamp(0, UTC).replace(tzinfo=None) + timedelta(microseconds=row[1])
    return AskedOrder(row[0], placed_at, row[2], *row[3:])
