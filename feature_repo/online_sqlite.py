"""Feast's SQLite online store, with rows written a batch at a time and never replaced by older ones.

The table is stock Feast's (a row per entity and feature, values as serialised protobuf, `value_text` beside them), so a stock store opened
on the same file reads the same values. What differs: the table is clustered by its key (`without rowid`: one tree to write and one page to
read per entity, where stock has three trees), a write is one guarded upsert per entity, and ttl is enforced at read. Times are stored as
Feast stores them; a `created_ts` within a second (live events) keeps its fraction, which stock never selects in plain reads.
"""

import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pyarrow
from feast import Entity, FeatureView, RepoConfig
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id, extract_text_and_num
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig, _initialize_conn
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.utils import to_naive_utc
from pydantic import Field, StrictStr

from feature_repo.contract import CREATED_AT, FEATURES_AT, Kind, views
from feature_repo.online_clock import StoredRow, is_expired, now
from feature_repo.online_encoding import by_distinct, encode, entity_keys, id_of, key_head
from settings import get_settings

FeastRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
BUSY_SECONDS = 60  # a live event waits for a batch that is being written
#: The pages of one batch are written once, when it ends. Readers keep SQLite's own 2 MB: one a thread, with nothing won by more.
BATCH_CACHE_KIB = 65536
NULL = float("nan")  # what SQLite stores as null. Python puts None and bytes through its adapters, slowly; floats and bytearrays not


class PortraitSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """Found by Feast by name; the file lies in the house."""

    type: Literal["feature_repo.online_sqlite.PortraitSqliteOnlineStore"] = "feature_repo.online_sqlite.PortraitSqliteOnlineStore"  # type: ignore[assignment]
    path: StrictStr = Field(default_factory=lambda: str(get_settings().feast_dir.resolve() / "online.db"))


class PortraitSqliteOnlineStore(SqliteOnlineStore):
    """The newest (event time, created time) of every entity, whoever writes, in any order."""

    def __init__(self) -> None:
        self._connections = threading.local()  # a connection is a transaction: threads must not share one

    def _get_conn(self, config: RepoConfig, *, makes_file: bool = False) -> sqlite3.Connection:
        """This thread's connection to the file that lies at the path now: one whose file was replaced would read the old one for ever.

        FileNotFoundError where none lies there, unless it is to be made: an empty one in its place would be kept open just so.
        """
        path = Path(self._get_db_path(config))
        found = _identity(path)
        if found is None and not makes_file:
            raise FileNotFoundError(
                f"The online store must lie at {path}. Nothing is there. Bring it back, or run `ingest`, which makes it from the features."
            )
        if found is None or getattr(self._connections, "file", None) != found:
            connection = _initialize_conn(str(path))
            connection.execute(f"pragma busy_timeout = {BUSY_SECONDS * 1000}")
            connection.execute("pragma journal_mode = wal")  # readers go on while a batch is written
            connection.execute("pragma synchronous = normal")  # a power cut may lose the last batches, which are materialised again
            connection.execute("pragma wal_autocheckpoint = 20000")
            self._connections.open, self._connections.file = connection, _identity(path)
        return self._connections.open

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Makes and drops the views' tables, `feast apply`'s part of the work."""
        with self._get_conn(config, makes_file=True) as connection:
            connection.execute(f"create table if not exists {_quoted(config.project + '_horizon')} (only integer primary key, at text)")
            for view in tables_to_keep:
                table = _table(config, view)
                connection.execute(
                    f"create table if not exists {_quoted(table)} (entity_key blob, feature_name text, value blob, value_text text,"
                    " vector_value blob, event_ts timestamp, created_ts timestamp, primary key (entity_key, feature_name)) without rowid"
                )
                first = view.features[0].name  # the rows that stand for their entities in `rows_created_after`
                connection.execute(
                    f"create index if not exists {_quoted(f'{table}_created_{first}')} on {_quoted(table)} (created_ts, event_ts)"
                    f" where feature_name = '{first}'"
                )
            for view in tables_to_delete:
                connection.execute(f"drop table if exists {_quoted(_table(config, view))}")

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[FeastRow], progress: Callable[[int], Any] | None
    ) -> None:
        """Feast's own door (`materialize`, push, `write_to_online_store`): the same guard as `write_arrow`, in one transaction."""
        with self._get_conn(config) as connection:
            for key, values, event_time, created_time in data:
                cells = [cell for value in values.values() for cell in (value.SerializeToString(), extract_text_and_num(value, False)[0])]
                created = None if created_time is None else _seconds(to_naive_utc(created_time))
                row = (serialize_entity_key(key, 3), int(_seconds(to_naive_utc(event_time))), created, None, None, *cells)
                connection.execute(_upsert(_table(config, table), tuple(values)), row)
                if progress:
                    progress(1)

    def write_arrow(self, config: RepoConfig, table: FeatureView, rows: pyarrow.RecordBatch, replaced: Mapping[str, StoredRow]) -> None:
        """Writes whole rows of a view of the contract, in one transaction.

        A row is written where nothing newer by (features_at, created_at) is stored. `replaced` names, by id, a newer version that no longer
        exists and may therefore be replaced, if it is still the stored one.
        """
        view = views()[table.name]
        ids = rows.column(view.key).to_pylist()
        events, created = (by_distinct(rows.column(name), _seconds_of) for name in (FEATURES_AT, CREATED_AT))
        events = [int(time) for time in events]
        over = list(zip(events, created, strict=True))  # its own version: as good as none, for that one it may replace anyway
        if replaced:
            over = [_pair(replaced[one]) if one in replaced else own for one, own in zip(ids, over, strict=True)]
        cells: list[Iterable[Any]] = []
        for column in view.features:
            cells += values_and_texts(rows.column(column.name), column.kind)
        keys = map(bytearray, entity_keys(view.key, ids))
        sql = _upsert(_table(config, table), tuple(column.name for column in view.features))
        with self._get_conn(config) as connection:
            connection.execute(f"pragma cache_size = -{BATCH_CACHE_KIB}")
            connection.executemany(sql, zip(keys, events, created, *zip(*over, strict=True), *cells, strict=True))

    def rows_created_after(self, config: RepoConfig, table: FeatureView, since: datetime) -> list[StoredRow]:
        """The stored versions that became known after `since` (naive UTC), by an index on that time."""
        sql = (
            f"select entity_key, event_ts + 0, created_ts + 0 from {_quoted(_table(config, table))}"  # + 0: not through Feast's converters
            f" where feature_name = '{table.features[0].name}' and created_ts > ?"
        )
        head = key_head(table.join_keys[0])
        found = self._get_conn(config).execute(sql, [_seconds(since)]).fetchall()
        return [StoredRow(id_of(key, head), datetime.fromtimestamp(at), datetime.fromtimestamp(created)) for key, at, created in found]  # noqa: DTZ006

    def forget(self, config: RepoConfig, table: FeatureView, rows: Sequence[StoredRow]) -> None:
        """Deletes these versions where they are still the stored ones."""
        keys = entity_keys(table.join_keys[0], [row.id for row in rows])
        sql = f"delete from {_quoted(_table(config, table))} where entity_key = ? and event_ts = ? and created_ts is ?"
        with self._get_conn(config) as connection:
            connection.executemany(sql, [(key, *_pair(row)) for key, row in zip(keys, rows, strict=True)])

    def flush(self, config: RepoConfig, table: FeatureView) -> None:
        """Deletes every row of a view."""
        with self._get_conn(config) as connection:
            connection.execute(f"delete from {_quoted(_table(config, table))}")

    def horizon(self, config: RepoConfig) -> datetime | None:
        """Up to when the store was last brought up to date (naive UTC); None in a file that only stock Feast has written."""
        table, connection = f"{config.project}_horizon", self._get_conn(config)
        if not connection.execute("select 1 from sqlite_master where name = ?", [table]).fetchone():
            return None
        row = connection.execute(f"select at from {_quoted(table)}").fetchone()
        return datetime.fromisoformat(row[0]) if row else None

    def set_horizon(self, config: RepoConfig, horizon: datetime) -> None:
        """Remembers up to when the store is up to date (naive UTC)."""
        with self._get_conn(config) as connection:
            connection.execute(f"insert or replace into {_quoted(config.project + '_horizon')} values (0, ?)", [horizon.isoformat()])

    def online_read(
        self, config: RepoConfig, table: FeatureView, entity_keys: list[EntityKey], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Stock's read, less the rows past the view's ttl."""
        rows = super().online_read(config, table, entity_keys, requested_features)
        if not table.ttl:
            return rows
        at = now(lambda: self.horizon(config))
        return [(None, None) if time is None or is_expired(to_naive_utc(time), table.ttl, at) else (time, values) for time, values in rows]

    def read_values(
        self, config: RepoConfig, wanted: Sequence[tuple[FeatureView, Sequence[str]]], ids: Sequence[str]
    ) -> list[list[tuple[datetime | None, dict[str, bytes]]]]:
        """For each wanted view, for each id: (features_at in naive UTC, serialised values by feature), and (None, {}) where unknown."""
        connection = self._get_conn(config)
        answers: list[list[tuple[datetime | None, dict[str, bytes]]]] = []
        for view, _ in wanted:
            sql = f"select feature_name, value, event_ts + 0 from {_quoted(_table(config, view))} where entity_key = ?"
            answers.append([])
            for key in entity_keys(view.join_keys[0], ids):
                found = connection.execute(sql, (key,)).fetchall()
                at = datetime.fromtimestamp(found[0][2]) if found else None  # noqa: DTZ006 (as Feast's converter reads it)
                answers[-1].append((at, {name: value for name, value, _ in found}))
        return answers


def values_and_texts(column: pyarrow.Array, kind: Kind) -> list[Iterable[Any]]:
    """A column's serialised values, and the text that Feast's SQL stores keep beside a string, number or boolean."""
    if kind.endswith("_list"):
        return [map(bytearray, encode(column, kind).to_pylist()), itertools.repeat(NULL, len(column))]
    values = by_distinct(column, lambda held: list(map(bytearray, encode(held, kind).to_pylist())))
    if kind == "timestamp":
        return [values, itertools.repeat(NULL, len(column))]
    return [values, by_distinct(column, lambda held: [NULL if value is None else str(value) for value in held.to_pylist()])]


def _seconds_of(times: pyarrow.TimestampArray) -> list[float]:
    return [_seconds(time) for time in times.to_pylist()]


def _seconds(time: datetime) -> float:
    """As stock's adapter stores a naive time, but with the fraction that it cuts off; SQLite keeps a whole number as an integer."""
    return time.timestamp()


def _pair(row: StoredRow) -> tuple[int, float | None]:
    return int(_seconds(row.features_at)), None if row.created_at is None else _seconds(row.created_at)


def _identity(path: Path) -> tuple[int, int] | None:
    """What stays the same of a file that is moved, and differs where another lies in its place."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _table(config: RepoConfig, view: FeatureView) -> str:
    return compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning)


@cache
def _upsert(table: str, features: tuple[str, ...]) -> str:
    """SQL for one entity: parameters (key, event time, created time, replaced event and created time, then value and text per feature)."""
    in_key_order = sorted(enumerate(features), key=lambda feature: feature[1])
    cells = ", ".join(f"(?1, '{name}', ?{6 + 2 * place}, ?{7 + 2 * place}, ?2, ?3)" for place, name in in_key_order)
    return (
        f"insert into {_quoted(table)} (entity_key, feature_name, value, value_text, event_ts, created_ts) values {cells}"
        " on conflict (entity_key, feature_name) do update set value = excluded.value, value_text = excluded.value_text,"
        " event_ts = excluded.event_ts, created_ts = excluded.created_ts"
        " where (excluded.event_ts, coalesce(excluded.created_ts, 0)) >= (event_ts, coalesce(created_ts, 0))"
        " or (event_ts, created_ts) = (?4, ?5)"
    )
