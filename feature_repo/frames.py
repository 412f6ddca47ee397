"""Point-in-time frames, as known: a row asked for as of t was counted up to t and had become known by t.

Of the rows with `features_at <= t` and `created_at <= t` the newest `features_at` wins, then the newest `created_at`. Feast's own
`get_historical_features(filter_by_created_timestamp=True)` picks the same rows (a test compares), but carries every array through its
inequality join (13 s where this takes 2), returns rows in any order and drops columns that end in `_y`. So the join is done here in
DuckDB: first which row wins, by its keys alone, then the values of the winners.
"""

from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pandas as pd

from feature_repo.contract import CREATED_AT, FEATURES_AT, Mart, mart, service, service_entity, views
from feature_repo.published import from_clause

LABEL_TIME = "event_timestamp"


def training_frame(service_name: str, labels: pd.DataFrame) -> pd.DataFrame:
    """`labels` with the service's features beside each row, as known at its `event_timestamp`.

    `labels` has the entity's key (`user_id`), `event_timestamp` (UTC; without a zone it is read as UTC) and any other columns. Rows, their
    order, their index and the given columns stay as they are; duplicates are allowed. Where nothing was known, features are null (NaN for
    numbers). Lists are numpy arrays. Raises ValueError where a column is missing, taken by a feature, or a time is null.
    """
    key = f"{service_entity(service_name)}_id"
    features = [feature for chosen in service(service_name).values() for feature in chosen]
    if missing := [name for name in (key, LABEL_TIME) if name not in labels.columns]:
        raise ValueError(f"Labels must have the columns ['{key}', '{LABEL_TIME}']. Received {list(labels.columns)}. Add {missing}.")
    if taken := [name for name in labels.columns if name in features]:
        raise ValueError(
            f"A label column must not have a feature's name. Received {taken} for {service_name}. Rename it, e.g. 'label_{taken[0]}'."
        )
    times = pd.to_datetime(labels[LABEL_TIME], utc=True).dt.tz_localize(None).astype("datetime64[us]")
    if times.isna().any():
        raise ValueError(f"Every label must have a time. Received {int(times.isna().sum())} null values of {LABEL_TIME}. Drop those rows.")

    with duckdb.connect() as connection:
        connection.register(
            "asked", pd.DataFrame({"label": range(len(labels)), key: labels[key].astype(str).to_numpy(), "t": times.to_numpy()})
        )
        found = [_fetch(connection, _as_known_query(mart(view), chosen)) for view, chosen in service(service_name).items()]
    numbers = {
        c.name: "float64"
        for view in service(service_name)
        for c in mart(view).features
        if c.kind in ("int", "float") and c.name in features
    }
    values = pd.concat(found, axis=1).astype(numbers)  # one dtype, whether or not a value is missing
    return pd.concat([labels.reset_index(drop=True), values], axis=1).set_axis(labels.index)


def _fetch(connection: duckdb.DuckDBPyConnection, query: str, **parameters: Any) -> pd.DataFrame:
    """Through Arrow: unlike DuckDB's own frames, nulls become NaN or None, never pandas' NA, which numpy cannot compute with."""
    return connection.sql(query, params=parameters).to_arrow_table().to_pandas()


def _as_known_query(view: Mart, features: tuple[str, ...]) -> str:
    source, key = from_clause(view.name), view.key
    return f"""
        with winner as (
            select label, {key}, max(row({FEATURES_AT}, {CREATED_AT})) as newest
            from asked join {source} using ({key})
            where {FEATURES_AT} <= t and {CREATED_AT} <= t
            group by all
        ),
        won as (select label, winner.{key}, newest[1] as {FEATURES_AT}, newest[2] as {CREATED_AT} from asked left join winner using (label))
        select {", ".join(features)}
        from won
        left join {source} using ({key}, {FEATURES_AT}, {CREATED_AT})
        order by label
    """


def rows_as_of(view: str, as_of: datetime) -> pd.DataFrame:
    """The newest row of every entity as known at `as_of` (UTC): all columns of the view, sorted by key; times without zone."""
    with duckdb.connect() as connection:
        return _fetch(connection, newest_rows_query(mart(view)), as_of=naive_utc(as_of))


def newest_rows_query(view: Mart, changed: str = "true") -> str:
    """SQL, with the parameter `$as_of`, for the newest row as known of every entity that has a row for which `changed` holds."""
    source, key = from_clause(view.name), view.key
    return f"""
        with winner as (
            select {key}, max(row({FEATURES_AT}, {CREATED_AT})) as newest
            from {source}
            where {FEATURES_AT} <= $as_of and {CREATED_AT} <= $as_of and {key} in (select {key} from {source} where {changed})
            group by {key}
        ),
        won as (select {key}, newest[1] as {FEATURES_AT}, newest[2] as {CREATED_AT} from winner)
        select {", ".join(column.name for column in view.columns)}
        from {source} join won using ({key}, {FEATURES_AT}, {CREATED_AT})
        order by {key}
    """


def horizon() -> datetime | None:
    """The newest time at which anything in the published views became known (UTC, without zone); None where they are empty.

    "Now" for the online store: what is served is what was known then.
    """
    with duckdb.connect() as connection:
        newest = [connection.execute(f"select max({CREATED_AT}) from {from_clause(name)}").fetchone() for name in views()]
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
    with duckdb.connect() as connection:
        return _fetch(connection, query, start=start, end=end)


def naive_utc(time: datetime) -> datetime:
    """The same moment in UTC without a zone; a time without one is UTC already."""
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
