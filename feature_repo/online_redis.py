"""Feast's Redis online store, with rows written a batch at a time and never replaced by older ones.

On the wire all is stock Feast's (a hash per entity, Feast's hashed field names, `_ts:<view>`), so a stock store on the same server reads
the same values. Beside it stand, per view, one more field in each hash (`_at:<view>`: event and created time in digits that compare as
text) and one sorted set (`_created:<project>:<view>`: which entity became known when). A Lua script checks and writes, so no writer,
whatever the order, replaces a newer version by an older one; stock compares event times alone, outside the write. For one server or a
Sentinel master, not for Redis Cluster (a script's keys would lie on several nodes). `key_ttl_seconds` has no effect: a view's ttl has.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import pyarrow
import pyarrow.compute
from feast import FeatureView, RepoConfig
from feast.infra.online_stores.helpers import _mmh3, _redis_key, compute_versioned_name
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.utils import to_naive_utc
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import Field, StrictStr
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError
from redis.retry import Retry

from feature_repo.contract import CREATED_AT, FEATURES_AT, views
from feature_repo.online_clock import StoredRow, is_expired, now
from feature_repo.online_encoding import BINARY, by_distinct, encode, entity_keys, id_of, join, key_head
from settings import get_settings

FeastRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
EPOCH, BEGINNING = datetime(1970, 1, 1), datetime(1, 1, 1)  # noqa: DTZ001 (naive UTC)
CONNECT_SECONDS, ANSWER_SECONDS = 1.0, 5.0
ROWS_A_CALL = 256  # the server does nothing else meanwhile: a few milliseconds

#: KEYS: the sorted set, then a hash a row. ARGV: arguments a row, the `_at` field, then per row: at, replaced at, created, fields.
WRITE = """
local width, field, base = tonumber(ARGV[1]), ARGV[2], 3
for row = 2, #KEYS do
  local held = redis.call('HGET', KEYS[row], field)
  if not held or held <= ARGV[base] or held == ARGV[base + 1] then
    redis.call('HSET', KEYS[row], field, ARGV[base], unpack(ARGV, base + 3, base + width - 1))
    redis.call('ZADD', KEYS[1], ARGV[base + 2], KEYS[row])
  end
  base = base + width
end
return 1
"""

#: KEYS as above. ARGV: the `_at` field, number of fields, the fields, then each row's at.
FORGET = """
local count = tonumber(ARGV[2])
for row = 2, #KEYS do
  if redis.call('HGET', KEYS[row], ARGV[1]) == ARGV[count + 1 + row] then
    redis.call('HDEL', KEYS[row], ARGV[1], unpack(ARGV, 3, count + 2))
    redis.call('ZREM', KEYS[1], KEYS[row])
  end
end
return 1
"""


class PortraitRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """Found by Feast by name; the server is the settings'."""

    type: Literal["feature_repo.online_redis.PortraitRedisOnlineStore"] = "feature_repo.online_redis.PortraitRedisOnlineStore"  # type: ignore[assignment]
    connection_string: StrictStr = Field(default_factory=lambda: get_settings().redis)


class PortraitRedisOnlineStore(RedisOnlineStore):
    """The newest (event time, created time) of every entity, whoever writes, in any order."""

    def _get_client(self, online_store_config: RedisOnlineStoreConfig) -> Any:
        """Stock's client, which tells at once that the server is away: by redis-py's own retries a read would wait for some ten seconds.

        One try more is left, for a kept connection that the server has closed. `PORTRAIT_REDIS` may name other timeouts.
        """
        if not self._client:
            client = super()._get_client(online_store_config)
            client.set_retry(Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)))
            given = client.connection_pool.connection_kwargs
            for name, seconds in (("socket_connect_timeout", CONNECT_SECONDS), ("socket_timeout", ANSWER_SECONDS)):
                given[name] = given.get(name) or seconds
        return self._client

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[FeastRow], progress: Callable[[int], Any] | None
    ) -> None:
        """Feast's own door (`materialize`, push, `write_to_online_store`): the same guard as `write_arrow`."""
        name = _name(config, table)
        for features, rows in itertools.groupby(data, key=lambda row: tuple(row[1])):
            fields = [_mmh3(f"{name}:{feature}") for feature in features]
            keys, written = [], []
            for key, values, event_time, created_time in rows:
                event, created = to_naive_utc(event_time), None if created_time is None else to_naive_utc(created_time)
                cells = [_at(event, created).encode(), b"", b"%d" % _score(created), f"_ts:{name}".encode(), _moment(event)]
                for field, value in zip(fields, values.values(), strict=True):
                    cells += [field, value.SerializeToString()]
                keys.append(_redis_key(config.project, key))
                written.append(b"".join(map(_argument, cells)))
            self._write(config, name, keys, written, 5 + 2 * len(fields))
            if progress:
                progress(len(keys))

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: list[FeastRow], progress: Callable[[int], Any] | None
    ) -> None:
        """The same, off the event loop."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def write_arrow(self, config: RepoConfig, table: FeatureView, rows: pyarrow.RecordBatch, replaced: Mapping[str, StoredRow]) -> None:
        """Writes whole rows of a view of the contract; each row appears at once.

        A row is written where nothing newer by (features_at, created_at) is stored. `replaced` names, by id, a newer version that no longer
        exists and may therefore be replaced, if it is still the stored one.
        """
        view, name, project = views()[table.name], _name(config, table), config.project.encode()
        ids = rows.column(view.key).to_pylist()
        events, created = rows.column(FEATURES_AT), rows.column(CREATED_AT)
        over = {one: _at(row.features_at, row.created_at).encode() for one, row in replaced.items()}
        columns = [
            join(_binary_of(events, lambda time: _digits(time).encode()), _binary_of(created, lambda time: _digits(time).encode())),
            pyarrow.array([over.get(one, b"") for one in ids], BINARY),
            _binary_of(created, lambda time: b"%d" % _score(time)),
            f"_ts:{name}".encode(),
            _binary_of(events, _moment),
        ]
        for column in view.features:
            columns += [_mmh3(f"{name}:{column.name}"), encode(rows.column(column.name), column.kind)]
        keys = [key + project for key in entity_keys(view.key, ids)]
        self._write(config, name, keys, _arguments(columns).to_pylist(), len(columns))

    def _write(self, config: RepoConfig, name: str, keys: Sequence[bytes], rows: Sequence[bytes], width: int) -> None:
        """Each of `rows` is what the script takes for its key: `width` arguments, from its at to its last value."""
        index, tail = _argument(_index(config, name)), _argument(b"%d" % width) + _argument(f"_at:{name}".encode())
        calls = []
        for start in range(0, len(keys), ROWS_A_CALL):
            some = keys[start : start + ROWS_A_CALL]
            head = [b"*%d\r\n" % (3 + 1 + len(some) + 2 + width * len(some)), _argument(b"EVAL"), _argument(WRITE.encode())]
            head += [_argument(b"%d" % (1 + len(some))), index, *map(_argument, some), tail]
            calls.append(b"".join([*head, *rows[start : start + ROWS_A_CALL]]))
        self._send(config, calls)

    def _send(self, config: RepoConfig, calls: Sequence[bytes]) -> None:
        """A call is sent while the server does the one before."""
        pool = self._get_client(config.online_store).connection_pool
        connection = pool.get_connection()
        waiting = 0
        try:
            for call in calls:
                connection.send_packed_command([call])
                waiting += 1
                if waiting > 1:
                    connection.read_response()
                    waiting -= 1
            while waiting:
                connection.read_response()
                waiting -= 1
        except BaseException:
            connection.disconnect()  # answers may still be on their way
            raise
        finally:
            pool.release(connection)

    def rows_created_after(self, config: RepoConfig, table: FeatureView, since: datetime) -> list[StoredRow]:
        """The stored versions that became known after `since` (naive UTC), by the sorted set of that time."""
        client, name, head = self._get_client(config.online_store), _name(config, table), key_head(table.join_keys[0])
        keys = client.zrangebyscore(_index(config, name), f"({_score(since)}", "+inf")
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hget(key, f"_at:{name}")
            held = pipe.execute()
        return [_stored_row(id_of(key, head), at.decode()) for key, at in zip(keys, held, strict=True) if at]

    def forget(self, config: RepoConfig, table: FeatureView, rows: Sequence[StoredRow]) -> None:
        """Deletes these versions where they are still the stored ones."""
        client, name, project = self._get_client(config.online_store), _name(config, table), config.project.encode()
        fields = [f"_ts:{name}", *[_mmh3(f"{name}:{feature.name}") for feature in table.features]]
        for start in range(0, len(rows), ROWS_A_CALL):
            some = rows[start : start + ROWS_A_CALL]
            keys = [key + project for key in entity_keys(table.join_keys[0], [row.id for row in some])]
            ats = [_at(row.features_at, row.created_at) for row in some]
            client.eval(FORGET, 1 + len(keys), _index(config, name), *keys, f"_at:{name}", len(fields), *fields, *ats)

    def flush(self, config: RepoConfig, table: FeatureView) -> None:
        """Deletes every row of a view."""
        self.delete_table(config, table)

    def delete_table(self, config: RepoConfig, table: FeatureView) -> None:
        """Stock's deletion of a view, and of what stands beside its rows here."""
        client, name = self._get_client(config.online_store), _name(config, table)
        with client.pipeline(transaction=False) as pipe:
            for key in client.zrange(_index(config, name), 0, -1):
                pipe.hdel(key, f"_at:{name}")
            pipe.execute()
        super().delete_table(config, table)
        client.delete(_index(config, name))

    def horizon(self, config: RepoConfig) -> datetime | None:
        """Up to when the store was last brought up to date (naive UTC)."""
        held = self._get_client(config.online_store).get(f"_horizon:{config.project}")
        return datetime.fromisoformat(held.decode()) if held else None

    def set_horizon(self, config: RepoConfig, horizon: datetime) -> None:
        """Remembers up to when the store is up to date (naive UTC)."""
        self._get_client(config.online_store).set(f"_horizon:{config.project}", horizon.isoformat())

    def online_read(
        self, config: RepoConfig, table: FeatureView, entity_keys: list[EntityKey], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Stock's read, less the rows past the view's ttl."""
        return self._alive(config, table, super().online_read(config, table, entity_keys, requested_features))

    async def online_read_async(
        self, config: RepoConfig, table: FeatureView, entity_keys: list[EntityKey], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """The same, awaited."""
        return self._alive(config, table, await super().online_read_async(config, table, entity_keys, requested_features))

    def _alive(self, config: RepoConfig, table: FeatureView, rows: list[tuple]) -> list[tuple]:
        if not table.ttl:
            return rows
        at = now(lambda: self.horizon(config))
        return [(None, None) if time is None or is_expired(to_naive_utc(time), table.ttl, at) else (time, values) for time, values in rows]

    def _read_features_per_fv(self, config: RepoConfig, grouped_refs: list, *args: Any, **named: Any) -> None:
        """Stock reads all views in one pipeline, past `online_read`; a service with a view that has a ttl is read view by view."""
        past = OnlineStore if any(view.ttl for view, _ in grouped_refs) else RedisOnlineStore
        past._read_features_per_fv(self, config, grouped_refs, *args, **named)

    async def _read_features_per_fv_async(self, config: RepoConfig, grouped_refs: list, *args: Any, **named: Any) -> None:
        """The same, awaited."""
        past = OnlineStore if any(view.ttl for view, _ in grouped_refs) else RedisOnlineStore
        await past._read_features_per_fv_async(self, config, grouped_refs, *args, **named)

    def read_values(
        self, config: RepoConfig, wanted: Sequence[tuple[FeatureView, Sequence[str]]], ids: Sequence[str]
    ) -> list[list[tuple[datetime | None, dict[str, bytes]]]]:
        """For each wanted view, for each id: (features_at in naive UTC, serialised values by feature), and (None, {}) where unknown."""
        project = config.project.encode()
        with self._get_client(config.online_store).pipeline(transaction=False) as pipe:
            for view, features in wanted:
                name = _name(config, view)
                fields = [f"_ts:{name}", *[_mmh3(f"{name}:{feature}") for feature in features]]
                for key in entity_keys(view.join_keys[0], ids):
                    pipe.hmget(key + project, fields)
            found = iter(pipe.execute())
        answers: list[list[tuple[datetime | None, dict[str, bytes]]]] = []
        for _, features in wanted:
            rows = [next(found) for _ in ids]
            answers.append(
                [
                    (
                        EPOCH + timedelta(seconds=(time := Timestamp.FromString(row[0])).seconds, microseconds=time.nanos // 1000),
                        dict(zip(features, row[1:], strict=True)),
                    )
                    if row[0]
                    else (None, {})
                    for row in rows
                ]
            )
        return answers


def _argument(text: bytes) -> bytes:
    """One argument of a command as Redis's protocol has it (https://redis.io/docs/latest/develop/reference/protocol-spec)."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


def _arguments(columns: Sequence[pyarrow.BinaryArray | bytes]) -> pyarrow.BinaryArray:
    """Row by row, the columns' values as arguments, one after the other; bytes stand for themselves in every row."""
    pieces: list[pyarrow.BinaryArray | bytes] = []
    for column in columns:
        if isinstance(column, bytes):
            pieces.append(_argument(column))
        else:
            lengths = pyarrow.compute.binary_length(column).cast(pyarrow.string()).cast(BINARY)
            pieces += [b"$", lengths, b"\r\n", column, b"\r\n"]
    return join(*pieces)


def _binary_of(times: pyarrow.TimestampArray, say: Callable[[Any], bytes]) -> pyarrow.BinaryArray:
    return pyarrow.array(by_distinct(times, lambda held: [say(time) for time in held.to_pylist()]), BINARY)


def _name(config: RepoConfig, view: FeatureView) -> str:
    return compute_versioned_name(view, config.registry.enable_online_feature_view_versioning)


def _index(config: RepoConfig, name: str) -> bytes:
    return f"_created:{config.project}:{name}".encode()


def _moment(time: datetime) -> bytes:
    """The field `_ts:<view>` as stock writes it; `time` is naive UTC."""
    message = Timestamp()
    message.FromDatetime(time)
    return message.SerializeToString()


def _score(time: datetime | None) -> int:
    """Microseconds since 1970, exact in a sorted set's double; 0 where no created time was given."""
    return 0 if time is None else (time - EPOCH) // timedelta(microseconds=1)


def _at(features_at: datetime, created_at: datetime | None) -> str:
    """Both times' digits: versions compare as these texts do."""
    return _digits(features_at) + _digits(created_at)


def _digits(time: datetime | None) -> str:
    """Microseconds since the year 1 in 18 digits, which compare as text. No time is the oldest."""
    return f"{((time or BEGINNING) - BEGINNING) // timedelta(microseconds=1):018d}"


def _stored_row(one: str, at: str) -> StoredRow:
    features_at, created_at = (BEGINNING + timedelta(microseconds=int(digits)) for digits in (at[:18], at[18:]))
    return StoredRow(one, features_at, created_at)
