"""The warehouse: one DuckDB file, opened by one process at a time, that always holds every landing table.

Schemas: `landing` (the tables of `sources/landing.py`, the ledger `_loads`, the list `_absent`) and `quarantine` (`rows`, `releases`);
dbt adds its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

from quality.errors import NothingDelivered, WarehouseBusy, WindowInvalid
from settings import get_settings
from sources.landing import LANDING, LandingTable

if TYPE_CHECKING:
    import duckdb

SQL_TYPES = {
    "string": "varchar",
    "timestamp": "timestamp",
    "date": "date",
    "float": "double",
    "int": "bigint",
    "bool": "boolean",
    "string_list": "varchar[]",
    "float_list": "double[]",
    "json": "varchar",
}

#: `_loads` accounts for every row of every day that was loaded, days on which nothing came included; `repaired` is JSON `{repair: rows}`.
#: `_absent` says why a table has never been delivered; `releases` which quarantined rows were fixed and released.
#: `_profiles` (`quality/profile.py`), `_comparisons` and `_references` (`quality/distribution.py`) are for comparing days.
_BOOKS = """
create schema if not exists landing;
create schema if not exists quarantine;
create table if not exists quarantine.rows (id varchar, landing_table varchar, ds date, rule varchar, detail varchar, row_json varchar);
create table if not exists quarantine.releases (id varchar, released_at_ds date, fixes_json varchar);
create table if not exists landing._loads (
    landing_table varchar, ds date, rows_in bigint, accepted bigint, quarantined bigint, exact_duplicates bigint, late bigint,
    repaired varchar
);
create table if not exists landing._absent (landing_table varchar, reason varchar);
create table if not exists landing._profiles (landing_table varchar, ds date, metric varchar, part varchar, value double);
create table if not exists landing._comparisons (landing_table varchar, ds date, rule varchar, part varchar, excess double);
create table if not exists landing._references (landing_table varchar, start date, "end" date);
"""


def stored_name(column: str) -> str:
    """The warehouse's name of a landing column: `known_at` is the warehouse's own, so the shop's becomes `shop_known_at`."""
    return "shop_known_at" if column == "known_at" else column


def landing_columns(table: LandingTable) -> dict[str, str]:
    """`{column: SQL type}` of a landing table in the warehouse, in order."""
    columns = {stored_name(column.name): SQL_TYPES[column.kind] for column in table.columns}
    if table.free_prefix:
        columns["covariates"] = "varchar"
    return columns | {"ds": "date", "known_at": "timestamp", "repairs": "varchar[]"}


@contextmanager
def open_warehouse() -> Iterator["duckdb.DuckDBPyConnection"]:
    """A connection to the warehouse of this house, with the landing tables in place; closed at the end.

    Raises:
        WarehouseBusy: another process has the file open.
    """
    import duckdb

    path = get_settings().warehouse
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = duckdb.connect(str(path), config={"memory_limit": get_settings().warehouse_memory})
    except duckdb.IOException as error:
        if "lock" not in str(error):
            raise
        raise WarehouseBusy(
            f"One process at a time may open the warehouse. Received a lock held by another process on {path.name}. "
            "Wait until its task ends, or run every task that opens it in Airflow's pool `warehouse` of one slot."
        ) from None
    try:
        connection.execute("set timezone = 'UTC'")
        connection.begin()
        connection.execute(_BOOKS)
        for table in LANDING.values():
            columns = ", ".join(f'"{name}" {kind}' for name, kind in landing_columns(table).items())
            connection.execute(f"create table if not exists landing.{table.name} ({columns})")
        connection.commit()
        yield connection
    finally:
        connection.close()


def check_delivered() -> None:
    """Raises NothingDelivered where this house has no landing folder; a question asked of it must not make one."""
    settings = get_settings()
    if not settings.landing_dir.is_dir():
        raise NothingDelivered(
            f"A question needs a house with a delivery. Received {settings.home}, where nothing was delivered. Run `portrait ingest`, or "
            "name another house in PORTRAIT_HOME."
        )


def check_window(start: date, end: date) -> None:
    """Raises WindowInvalid unless `[start, end)` holds at least one day."""
    if start >= end:
        raise WindowInvalid(
            f"A window [start, end) must hold at least one day. Received start {start}, end {end}. For one day, end is the day after."
        )
