"""Loads a window of landing files into the warehouse: each day replaces itself, bad rows go to quarantine, every row is accounted for.

`rows in = accepted + quarantined + exact duplicates`, per table, where rows in is what the files' own footers say.
"""

import tempfile
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from quality.delivered import (
    DayFile,
    absent_tables,
    column_types,
    day_files,
    delivered_period,
    held_still,
    is_not_utf8,
    schema_groups,
    texts_as_bytes,
    unreadable,
)
from quality.errors import DeliveryRefused
from quality.ledger import LoadReport, TableLoad, accounted, record
from quality.profile import store_profile
from quality.quarantine import remember_releases, store_counts
from quality.repairs import add_functions
from quality.row_rules import BURST, BURST_EVENTS, SUPERSEDED
from quality.staging import create_staged, insert_group
from quality.warehouse import check_window, open_warehouse, stored_name
from sources.landing import LANDING, LandingTable

if TYPE_CHECKING:
    import duckdb


def load_window(landing_dir: Path, start: date, end: date) -> LoadReport:
    """Replaces the days `[start, end)` of every table that has a folder in `landing_dir`; all tables in one transaction.

    A day on which nothing came is recorded too, as long as the delivery as a whole reaches over it.

    Raises:
        WindowInvalid: the window holds no day.
        DeliveryRefused: no table or no file of the window, an unreadable file, a required column missing.
        RowsLost: the counts do not add up.
        WarehouseBusy: another process has the warehouse open.
    """
    check_window(start, end)
    absent = absent_tables(landing_dir)
    files = {name: day_files(landing_dir, table, start, end) for name, table in LANDING.items() if name not in absent}
    if not any(files.values()) and not _inside(delivered_period(landing_dir), start, end):
        raise DeliveryRefused(
            f"A window must hold at least one delivered day. Received [{start}, {end}) and no file in it in {landing_dir.name}/. "
            "Choose a window that the delivery covers."
        )
    with tempfile.TemporaryDirectory(prefix="portrait-load-") as copies, open_warehouse() as connection:
        add_functions(connection)
        files = {name: held_still(landing_dir, days, Path(copies) / "held" / name) for name, days in files.items()}
        readable: set[str] = set()
        while True:
            connection.begin()
            try:
                tables = _replace_tables(connection, files, absent, start, end)
            except _NotUtf8 as fault:
                if fault.table in readable:
                    raise unreadable(LANDING[fault.table], fault) from fault
                connection.rollback()  # DuckDB gives such a file up whole: read its texts as bytes, and start again
                readable.add(fault.table)
                folder = Path(copies) / fault.table
                folder.mkdir()
                files[fault.table] = texts_as_bytes(files[fault.table], folder)
                continue
            connection.commit()
            store_counts(connection)
            return LoadReport(start, end, tables, absent)


class _NotUtf8(Exception):
    """A file of `table` holds text that is not UTF-8."""

    def __init__(self, table: str, message: str) -> None:
        super().__init__(message)
        self.table = table


def _inside(period: tuple[date, date] | None, start: date, end: date) -> bool:
    return period is not None and period[0] <= start and end <= period[1] + timedelta(days=1)


def _replace_tables(
    connection: "duckdb.DuckDBPyConnection", files: Mapping[str, list[DayFile]], absent: Mapping[str, str], start: date, end: date
) -> dict[str, TableLoad]:
    connection.execute("delete from landing._absent")
    connection.execute("delete from quarantine.releases where released_at_ds >= ? and released_at_ds < ?", [start, end])
    if absent:
        connection.executemany("insert into landing._absent values (?, ?)", list(absent.items()))
    for name, days in files.items():
        _replace_table(connection, LANDING[name], days, start, end)
        remember_releases(connection, days)
    return {name: accounted(connection, LANDING[name], start, end) for name in files}


def _replace_table(connection: "duckdb.DuckDBPyConnection", table: LandingTable, files: list[DayFile], start: date, end: date) -> None:
    window = {"name": table.name, "start": start, "end": end}
    connection.execute(f"delete from landing.{table.name} where ds >= $start and ds < $end", {"start": start, "end": end})
    for books in ("quarantine.rows", "landing._loads"):
        connection.execute(f"delete from {books} where landing_table = $name and ds >= $start and ds < $end", window)
    _stage(connection, table, files)
    _accept(connection, table)
    record(connection, table, start, end)
    store_profile(connection, table, start, end)


def _stage(connection: "duckdb.DuckDBPyConnection", table: LandingTable, files: list[DayFile]) -> None:
    """Fills `delivered_files` and `staged` with everything in the files, judged row by row."""
    import duckdb

    connection.execute("create or replace temp table delivered_files (path varchar, ds date, file_number int, rows_in bigint)")
    connection.execute(create_staged(table))
    if not files:
        return
    groups = schema_groups(connection, table, files)
    connection.execute(
        """
        insert into delivered_files
        select given.path, given.ds, given.file_number, footer.num_rows
        from (select unnest($paths) as path, unnest($days) as ds, unnest(range(len($paths))) as file_number) as given
        join parquet_file_metadata($paths) as footer on footer.file_name = given.path
        """,
        {"paths": [file.path for file in files], "days": [file.ds for file in files]},
    )
    for paths in groups:
        try:
            connection.execute(insert_group(table, column_types(connection, paths)), [paths])
        except duckdb.InvalidInputException as error:
            if is_not_utf8(error):
                raise _NotUtf8(table.name, str(error)) from error
            raise unreadable(table, error) from error


def _accept(connection: "duckdb.DuckDBPyConnection", table: LandingTable) -> None:
    """Moves `staged` on: broken rows to quarantine, one row of every key and day to the landing table.

    Of rows with the same key in a day, exact copies are dropped first; then the latest `received_at` wins, else the last in file order,
    and the others are superseded.
    """
    columns = [f'"{column.name}"' for column in table.columns] + (["covariates"] if table.free_prefix else [])
    key = ", ".join(["ds", *(f'"{name}"' for name in table.key)])
    for name in table.key:
        if table.column(name).nullable:
            whole_row = ", ".join(f"coalesce({column}::varchar, chr(0))" for column in columns)
            connection.execute(
                f'update staged set "{name}" = md5(concat_ws(chr(31), {whole_row})) where "{name}" is null and broken is null'
            )
    as_kept = f"to_json({{{', '.join(f'{column}: {column}::varchar' for column in columns)}}})::varchar"
    if table.name == "events":
        _refuse_bursts(connection, as_kept)
    newest = ("received_at desc nulls last, " if "received_at" in table.names else "") + "file_number desc, row_number desc"
    connection.execute(
        f"""
        create or replace temp table contested as
        with repeated as (
            select {key} from staged where broken is null group by all having count(*) > 1
        ),
        copies as (
            select
                staged.*,
                row_number() over (partition by ds, {", ".join(columns)} order by file_number desc, row_number desc) as copy,
            from staged
            semi join repeated using ({key})
            where broken is null
        )
        select *, case when copy = 1 then row_number() over (partition by copy = 1, {key} order by {newest}) end as place from copies
        """
    )
    connection.execute(
        f"""
        insert into quarantine.rows
        with refused as (
            select ds, broken[1] as rule, array_to_string(broken, ', ') as detail, row_json, file_number, row_number
            from staged where broken is not null
            union all
            select
                ds, '{SUPERSEDED}', '{SUPERSEDED}: a newer row of the same key came on the same day',
                {as_kept}, file_number, row_number
            from contested where place > 1
        ),
        numbered as (
            select *, row_number() over (partition by ds, row_json order by file_number, row_number) as occurrence from refused
        )
        select md5(concat_ws(chr(31), '{table.name}', ds, occurrence, row_json)), '{table.name}', ds, rule, detail, row_json
        from numbered order by file_number, row_number
        """
    )
    stored = [f'"{stored_name(column.name)}"' for column in table.columns] + (["covariates"] if table.free_prefix else [])
    connection.execute(
        f"""
        insert into landing.{table.name} ({", ".join(stored)}, ds, known_at, repairs)
        select {", ".join(columns)}, ds, ds + interval 1 day, repairs from staged anti join contested using ({key}) where broken is null
        union all
        select {", ".join(columns)}, ds, ds + interval 1 day, repairs from contested where place = 1
        """
    )


def _refuse_bursts(connection: "duckdb.DuckDBPyConnection", as_kept: str) -> None:
    """Breaks the rule BURST in `staged`; users with few events in all of their day are not looked at by the second."""
    connection.execute(
        f"""
        update staged set broken = ['{BURST}'], row_json = {as_kept}
        from (
            select ds as of_day, user_id as of_user, date_trunc('second', occurred_at) as of_second
            from staged
            semi join (
                select ds, user_id from staged where broken is null and user_id is not null group by all having count(*) > {BURST_EVENTS}
            ) as busy using (ds, user_id)
            where broken is null
            group by all
            having count(distinct event_id) > {BURST_EVENTS}
        ) as bursts
        where broken is null and ds = of_day and user_id = of_user and date_trunc('second', occurred_at) = of_second
        """
    )
