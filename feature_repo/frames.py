"""Point-in-time frames, as known: a row asked for as of t was counted up to t and had become known by t.

Of the rows with `features_at <= t` and `created_at <= t` the newest `features_at` wins, then the newest `created_at`; past the view's ttl
it is unknown. Both conditions together say `greatest(features_at, created_at) <= t`, so once the rows are gone that can never win (a newer
version was known no later: only corrections of older days are such), one `asof join` of the keys finds the winner, and a hash join its
values. That grows with labels plus rows, not with labels times a user's rows, and DuckDB spills what does not fit. Feast's own
`get_historical_features(filter_by_created_timestamp=True)` picks the same rows (a test compares), but carries every array through its
inequality join, returns rows in any order and drops columns that end in `_y`.
"""

import itertools
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow
import pyarrow.parquet

from feature_repo.contract import CREATED_AT, FEATURES_AT, Mart, mart, service, service_entity, views
from feature_repo.published import ROW_GROUP, connect, from_clause, is_published

LABEL_TIME = "event_timestamp"
LABELS_AT_ONCE = 200_000  # of a frame that goes to a file


def training_frame(service_name: str, labels: pd.DataFrame) -> pd.DataFrame:
    """`labels` with the service's features beside each row, as known at its `event_timestamp`.

    `labels` has the entity's key (`user_id`), `event_timestamp` (UTC; without a zone it is read as UTC) and any other columns. Rows, their
    order, their index and the given columns stay as they are; duplicates are allowed. Where nothing was known, features are null (NaN for
    numbers). Lists are numpy arrays. Raises ValueError where a column is missing, taken by a feature, or a time is null.
    """
    key, features = _check_columns(service_name, list(labels.columns))
    times = pd.to_datetime(labels[LABEL_TIME], utc=True).dt.tz_localize(None).astype("datetime64[us]")
    _check_times(int(times.isna().sum()))
    with connect() as connection:
        connection.register(
            "asked", pd.DataFrame({"label": range(len(labels)), key: labels[key].astype(str).to_numpy(), "t": times.to_numpy()})
        )
        found = [
            _fetch(connection, f"from ({_as_known_query(views()[view], chosen)}) order by label").drop(columns="label")
            for view, chosen in service(service_name).items()
        ]
    numbers = {
        c.name: "float64"
        for view in service(service_name)
        for c in views()[view].features
        if c.kind in ("int", "float") and c.name in features
    }
    values = pd.concat(found, axis=1).astype(numbers)  # one dtype, whether or not a value is missing
    return pd.concat([labels.reset_index(drop=True), values], axis=1).set_axis(labels.index)


def training_frame_to_parquet(service_name: str, labels: Path, out: Path) -> int:
    """The frame of a Parquet file of labels as another Parquet file, for frames larger than memory; returns its rows.

    The same columns, rows and order as `training_frame`, with null where nothing was known. Some labels are joined at a time, and fewer
    where their frame does not fit even with spilling; what is joined is written as it comes. So memory grows neither with the number of
    labels nor with how wide a row is. `out` appears when it is whole.
    """
    beside = out.with_suffix(".tmp")
    given = pyarrow.parquet.ParquetFile(labels)
    key, features = _check_columns(service_name, given.schema_arrow.names)
    known = " ".join(f"join ({_as_known_query(views()[view], chosen)}) using (label)" for view, chosen in service(service_name).items())
    query = f"select {', '.join(features)} from asked {known} order by label"
    nothing = pyarrow.RecordBatch.from_pylist([], schema=given.schema_arrow)
    writer, at_once = None, LABELS_AT_ONCE
    with connect() as connection:
        for batch in itertools.chain([nothing], given.iter_batches(LABELS_AT_ONCE)):
            times = batch.column(LABEL_TIME)
            _check_times(times.null_count)
            moments = times.cast(pyarrow.timestamp("us", times.type.tz), safe=False).cast(pyarrow.int64())  # UTC, with a zone or without
            number = pyarrow.array(range(batch.num_rows), pyarrow.int64())
            ids = batch.column(key).cast(pyarrow.string())
            asked = pyarrow.table({"label": number, key: ids, "t": moments.cast(pyarrow.timestamp("us"))})
            done = 0
            while writer is None or done < batch.num_rows:
                connection.register("asked", asked.slice(done, at_once))
                try:
                    with connection.sql(query).to_arrow_reader(ROW_GROUP) as found:
                        schema = pyarrow.schema([*batch.schema, *found.schema])
                        writer = writer or pyarrow.parquet.ParquetWriter(beside, schema)
                        for joined in found:
                            columns = [*batch.slice(done, joined.num_rows).columns, *joined.columns]
                            writer.write_batch(pyarrow.record_batch(columns, schema=schema), row_group_size=ROW_GROUP)
                            done += joined.num_rows
                except duckdb.OutOfMemoryException:
                    if at_once == 1:
                        raise
                    at_once = at_once // 2
    assert writer is not None
    writer.close()
    beside.replace(out)
    return given.metadata.num_rows


def _check_columns(service_name: str, columns: list[str]) -> tuple[str, list[str]]:
    """The entity's key and the service's features, where labels with these columns can be joined to them."""
    key = f"{service_entity(service_name)}_id"
    features = [feature for chosen in service(service_name).values() for feature in chosen]
    if missing := [name for name in (key, LABEL_TIME) if name not in columns]:
        raise ValueError(f"Labels must have the columns ['{key}', '{LABEL_TIME}']. Received {columns}. Add {missing}.")
    if taken := [name for name in columns if name in features]:
        raise ValueError(
            f"A label column must not have a feature's name. Received {taken} for {service_name}. Rename it, e.g. 'label_{taken[0]}'."
        )
    return key, features


def _check_times(without: int) -> None:
    if without:
        raise ValueError(f"Every label must have a time. Received {without} null values of {LABEL_TIME}. Drop those rows.")


def _fetch(connection: duckdb.DuckDBPyConnection, query: str, **parameters: Any) -> pd.DataFrame:
    """Through Arrow: unlike DuckDB's own frames, nulls become NaN or None, never pandas' NA, which numpy cannot compute with."""
    return connection.sql(query, params=parameters).to_arrow_table().to_pandas()


def _as_known_query(view: Mart, features: tuple[str, ...]) -> str:
    """SQL: for every row of `asked` (label, key, t), its label and the features known at t."""
    source, key = from_clause(view.name), view.key
    alive = "true" if view.ttl_days is None else f"{FEATURES_AT} >= t - to_days({view.ttl_days})"
    return f"""
        with corrections as (
            select {key}, {FEATURES_AT}, {CREATED_AT}
            from {source}
            where {CREATED_AT} <> {FEATURES_AT} and {key} in (select {key} from asked)
        ),
        never_newest as (
            select distinct {key}, older.{FEATURES_AT}, older.{CREATED_AT}
            from corrections as older join {source} as newer using ({key})
            where greatest(newer.{FEATURES_AT}, newer.{CREATED_AT}) <= greatest(older.{FEATURES_AT}, older.{CREATED_AT})
                and row(newer.{FEATURES_AT}, newer.{CREATED_AT}) > row(older.{FEATURES_AT}, older.{CREATED_AT})
        ),
        winners as (
            select {key}, {FEATURES_AT}, {CREATED_AT}, greatest({FEATURES_AT}, {CREATED_AT}) as known_from
            from {source} anti join never_newest using ({key}, {FEATURES_AT}, {CREATED_AT})
        ),
        won as (
            select label, asked.{key}, case when {alive} then {FEATURES_AT} end as {FEATURES_AT}, {CREATED_AT}
            from asked asof left join winners on asked.{key} = winners.{key} and t >= known_from
        )
        select label, {", ".join(features)}
        from won left join {source} using ({key}, {FEATURES_AT}, {CREATED_AT})
    """


def rows_as_of(view: str, as_of: datetime) -> pd.DataFrame:
    """The newest row of every entity as known at `as_of` (UTC): all columns of the view, sorted by key; times without zone."""
    with connect() as connection:
        return _fetch(connection, newest_rows_query(views()[view]), as_of=naive_utc(as_of))


def newest_rows_query(view: Mart, changed: str = "true") -> str:
    """SQL, with the parameter `$as_of`, for the newest row as known of every entity that has a row for which `changed` holds."""
    columns = ", ".join(column.name for column in view.columns)
    keys = f"({view.key}, {FEATURES_AT}, {CREATED_AT})"
    return f"select {columns} from {from_clause(view.name)} join ({newest_keys_query(view, changed)}) using {keys} order by {view.key}"


def newest_keys_query(view: Mart, changed: str) -> str:
    """The same rows' key and two times alone."""
    source, key = from_clause(view.name), view.key
    return f"""
        select {key}, newest[1] as {FEATURES_AT}, newest[2] as {CREATED_AT}
        from (
            select {key}, max(row({FEATURES_AT}, {CREATED_AT})) as newest
            from {source}
            where {FEATURES_AT} <= $as_of and {CREATED_AT} <= $as_of and {key} in (select {key} from {source} where {changed})
            group by {key}
        )
    """


def horizon() -> datetime | None:
    """The newest time at which anything in the published views became known (UTC, without zone); None where they are empty.

    "Now" for the online store: what is served is what was known then. A view that a newer release of the project brought is not published
    before the next `ingest`, and tells nothing. Raises FileNotFoundError where no view is published.
    """
    published = [name for name in views() if is_published(name)] or list(views())
    with connect() as connection:
        newest = [connection.execute(f"select max({CREATED_AT}) from {from_clause(name)}").fetchone() for name in published]
    return max((row[0] for row in newest if row and row[0]), default=None)


def read_mart(name: str, start: date | None = None, end: date | None = None) -> pd.DataFrame:
    """Every published row of a mart whose export time lies in `[start, end)`, sorted by its columns; times UTC, without zone."""
    wanted = mart(name)
    columns = ", ".join(column.name for column in wanted.columns)
    query = f"""
        select {columns} from {from_clause(name)}
        where ($start is null or {wanted.export} >= $start::timestamp) and ($end is null or {wanted.export} < $end::timestamp)
        order by all
    """
    with connect() as connection:
        return _fetch(connection, query, start=start, end=end)


def naive_utc(time: datetime) -> datetime:
    """The same moment in UTC without a zone; a time without one is UTC already."""
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
