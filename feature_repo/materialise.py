"""Brings the online store up to date for a window, in any order of windows.

Feast's own `materialize` writes the newest row *of the window*, so an older window overwrites a newer value, and its incremental form never
sees late rows. Here the window only says which entities changed; what is written is each one's newest row as known over all published
history, through Feast's own write path. So windows may come in any order, twice, or be killed half-way and run again: the store ends equal.
"""

from datetime import UTC, date
from typing import TYPE_CHECKING

import duckdb
import pyarrow

from feature_repo.contract import CREATED_AT, FEATURES_AT, Mart, views
from feature_repo.frames import horizon, newest_rows_query
from feature_repo.store import apply

if TYPE_CHECKING:
    from feast import FeatureView

BATCH_ENTITIES = 2048  # one transaction of the online store


def materialise(start: date, end: date) -> dict[str, int]:
    """Writes the newest known row of every entity that has a version created after `start`; returns entities written, by view.

    Loading `[start, end)` rebuilds every version created after `start`, also those after `end`, so the window's end takes nobody out.
    Raises ValueError on an empty window and FileNotFoundError where the marts were not exported.
    """
    if end <= start:
        raise ValueError(f"A window must end after it starts. Received [{start}, {end}). Give the day after the last one as its end.")
    known = horizon()
    if known is None:
        return dict.fromkeys(views(), 0)
    store = apply()
    written = {}
    with duckdb.connect() as connection:
        for name, view in views().items():
            feast_view = store.get_feature_view(name)
            query = newest_rows_query(view, changed=f"{CREATED_AT} > timestamp '{start}'")
            written[name] = 0
            for rows in connection.sql(query, params={"as_of": known}).to_arrow_reader(BATCH_ENTITIES):
                store.provider.online_write_batch(store.config, feast_view, _online_rows(rows, view, feast_view), None)
                written[name] += rows.num_rows
    return written


def _online_rows(rows: pyarrow.RecordBatch, view: Mart, feast_view: "FeatureView") -> list[tuple]:
    """`(entity key, {feature: value}, features_at, created_at)` per row; a null stays a value that is not set, never NaN."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import python_values_to_proto_values

    values = {
        field.name: python_values_to_proto_values(rows.column(field.name).to_pylist(), field.dtype.to_value_type())
        for field in feast_view.features
    }
    times = [[time.replace(tzinfo=UTC) for time in rows.column(name).to_pylist()] for name in (FEATURES_AT, CREATED_AT)]
    keys = [EntityKey(join_keys=[view.key], entity_values=[Value(string_val=key)]) for key in rows.column(view.key).to_pylist()]
    return [(key, {name: column[row] for name, column in values.items()}, times[0][row], times[1][row]) for row, key in enumerate(keys)]
