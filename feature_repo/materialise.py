"""Brings the online store up to date for a window, in any order of windows.

Feast's own `materialize` writes the newest row *of the window*, so an older window overwrites a newer value, and its incremental form never
sees late rows. Here the window only says which entities changed: those with a version created after its start, offline or online. What is
written is each one's newest row as known over all published history, by stores that never let an older version replace a newer one. A
version online that history no longer has (a day was reloaded without it) is replaced, or forgotten with its entity. Events that came live
since then are applied on top (`live.py`). So windows may come in any order, twice, or be killed anywhere and run again: the store ends
equal, and `rebuild` makes it from nothing.
"""

from datetime import date, datetime, time
from typing import TYPE_CHECKING

import duckdb
import pyarrow

from feature_repo.contract import CREATED_AT, FEATURES_AT, Mart, views
from feature_repo.frames import horizon, newest_keys_query
from feature_repo.online_clock import StoredRow, is_live
from feature_repo.published import connect, from_clause
from feature_repo.store import apply, online_store

if TYPE_CHECKING:
    from feast import FeatureStore

BATCH_ENTITIES = 4096  # one transaction of the online store
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (naive UTC; stands for "before everything")


def materialise(start: date, end: date) -> dict[str, int]:
    """Writes the newest known row of every entity that has a version created after `start`; returns entities written, by view.

    Loading `[start, end)` rebuilds every version created after `start`, also those after `end`, so the window's end takes nobody out.
    Raises ValueError on an empty window and FileNotFoundError where the marts were not exported.
    """
    if end <= start:
        raise ValueError(f"A window must end after it starts. Received [{start}, {end}). Give the day after the last one as its end.")
    from feature_repo import live

    known = horizon()
    store = apply()
    with connect() as connection:
        written = {
            name: _materialise_view(connection, store, view, datetime.combine(start, time()), known) for name, view in views().items()
        }
    if known is not None:
        online_store(store).set_horizon(store.config, known)
        live.replay(None, known)
    return written


def rebuild() -> dict[str, int]:
    """Empties the online store and writes it again from all published history; returns entities written, by view."""
    horizon()  # raises where there is nothing to rebuild from
    store = apply()
    for name in views():
        online_store(store).flush(store.config, store.get_feature_view(name))
    return materialise(EPOCH.date(), date.max)


def _materialise_view(
    connection: duckdb.DuckDBPyConnection, store: "FeatureStore", view: Mart, start: datetime, known: datetime | None
) -> int:
    online, feast_view = online_store(store), store.get_feature_view(view.name)
    stored = online.rows_created_after(store.config, feast_view, start)
    connection.register("stored", _as_table(stored))
    changed = f"{CREATED_AT} > timestamp '{start}' or {view.key} in (select id from stored)"
    connection.execute(f"create or replace temp table newest as {newest_keys_query(view, changed)}", {"as_of": known or EPOCH})
    gone, replaced = _no_longer_known(connection, view, stored, known)
    if gone:
        online.forget(store.config, feast_view, gone)
    columns = ", ".join(column.name for column in view.columns)
    query = f"""
        select {columns}
        from {from_clause(view.name)} join newest using ({view.key}, {FEATURES_AT}, {CREATED_AT})
        order by strlen({view.key}), {view.key}
    """  # as the keys lie in the store
    written = 0
    for rows in connection.sql(query).to_arrow_reader(BATCH_ENTITIES):
        online.write_arrow(store.config, feast_view, rows, replaced)
        written += rows.num_rows
    return written


def _as_table(stored: list[StoredRow]) -> pyarrow.Table:
    stamp = pyarrow.timestamp("us")
    return pyarrow.table(
        {
            "id": pyarrow.array([row.id for row in stored], pyarrow.string()),
            FEATURES_AT: pyarrow.array([row.features_at for row in stored], stamp),
            CREATED_AT: pyarrow.array([row.created_at for row in stored], stamp),
        }
    )


def _no_longer_known(
    connection: duckdb.DuckDBPyConnection, view: Mart, stored: list[StoredRow], known: datetime | None
) -> tuple[list[StoredRow], dict[str, StoredRow]]:
    """Of the online versions, those whose entity has no row any more, and those newer than the newest there is, by id.

    Versions of live events that no batch has seen yet are left: they became known after the horizon, and not at a midnight.
    """
    query = f"""
        select id, newest.{view.key} is null
        from stored left join newest on id = {view.key}
        where newest.{view.key} is null or row(newest.{FEATURES_AT}, newest.{CREATED_AT}) < row(stored.{FEATURES_AT}, stored.{CREATED_AT})
    """
    rows = {row.id: row for row in stored}
    found = [(rows[one], is_gone) for one, is_gone in connection.execute(query).fetchall() if not is_live(rows[one], known)]
    return [row for row, is_gone in found if is_gone], {row.id: row for row, is_gone in found if not is_gone}
