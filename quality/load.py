"""Loads a window of landing files into the warehouse: each day replaces itself, bad rows go to quarantine, every row is accounted for.

`rows in = accepted + quarantined + exact duplicates`, per table, where rows in is what the files' own footers say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from quality.delivered import DayFile, absent_tables, column_types, day_files, schema_groups, unreadable
from quality.errors import DeliveryRefused, RowsLost
from quality.row_rules import SUPERSEDED
from quality.staging import create_staged, insert_group
from quality.warehouse import check_window, open_warehouse, stored_name
from sources.landing import LANDING, LandingTable

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class TableLoad:
    """What became of one table's rows. `quarantined` counts rows by the rule they broke first; `superseded` is one of these rules."""

    rows_in: int
    accepted: int
    quarantined: Mapping[str, int]
    exact_duplicates: int
    superseded: int


@dataclass(frozen=True)
class LoadReport:
    """What a load of `[start, end)` did: a TableLoad for every delivered table, a reason for every other."""

    start: date
    end: date
    tables: Mapping[str, TableLoad]
    missing: Mapping[str, str]

    def as_text(self) -> str:
        """The report for a task's log, one line a table and one a broken rule."""
        lines = [f"Loaded [{self.start}, {self.end})"]
        for name, load in self.tables.items():
            quarantined = sum(load.quarantined.values())
            lines.append(
                f"  {name}: {load.rows_in} rows in = {load.accepted} accepted + {quarantined} quarantined "
                f"+ {load.exact_duplicates} exact duplicates"
            )
            lines += [f"    {rule}: {count}" for rule, count in load.quarantined.items()]
        return "\n".join(lines + [f"  {name}: not delivered ({reason})" for name, reason in self.missing.items()])


def load_window(landing_dir: Path, start: date, end: date) -> LoadReport:
    """Replaces the days `[start, end)` of every table that has a folder in `landing_dir`; all tables in one transaction.

    Raises:
        WindowInvalid: the window holds no day.
        DeliveryRefused: no table or no file of the window, an unreadable file, a required column missing.
        RowsLost: the counts do not add up.
        WarehouseBusy: another process has the warehouse open.
    """
    check_window(start, end)
    absent = absent_tables(landing_dir)
    files = {name: day_files(landing_dir, table, start, end) for name, table in LANDING.items() if name not in absent}
    if not any(files.values()):
        raise DeliveryRefused(
            f"A window must hold at least one delivered day. Received [{start}, {end}) and no file in it in {landing_dir.name}/. "
            "Choose a window that the delivery covers."
        )
    with open_warehouse() as connection:
        connection.begin()
        connection.execute("delete from landing._absent")
        if absent:
            connection.executemany("insert into landing._absent values (?, ?)", list(absent.items()))
        tables = {name: _replace_table(connection, LANDING[name], days, start, end) for name, days in files.items()}
        connection.commit()
    return LoadReport(start, end, tables, absent)


def _replace_table(connection: "duckdb.DuckDBPyConnection", table: LandingTable, files: list[DayFile], start: date, end: date) -> TableLoad:
    window = {"name": table.name, "start": start, "end": end}
    connection.execute(f"delete from landing.{table.name} where ds >= $start and ds < $end", {"start": start, "end": end})
    for books in ("quarantine.rows", "landing._loads"):
        connection.execute(f"delete from {books} where landing_table = $name and ds >= $start and ds < $end", window)
    if not files:
        return TableLoad(0, 0, {}, 0, 0)
    _stage(connection, table, files)
    _accept(connection, table)
    connection.execute(
        """
        insert into landing._loads
        with read as (select ds, sum(rows_in)::bigint as rows_in from delivered_files group by ds),
        accepted as (select ds, count(*) as accepted from accepted_days group by ds),
        quarantined as (select ds, count(*) as quarantined from quarantine.rows where landing_table = $name group by ds),
        duplicates as (select ds, count(*) as exact_duplicates from contested where copy > 1 group by ds)
        select $name, ds, rows_in, coalesce(accepted, 0), coalesce(quarantined, 0), coalesce(exact_duplicates, 0)
        from read left join accepted using (ds) left join quarantined using (ds) left join duplicates using (ds)
        """.replace("accepted_days", f"landing.{table.name}"),
        {"name": table.name},
    )
    return _accounted(connection, window)


def _stage(connection: "duckdb.DuckDBPyConnection", table: LandingTable, files: list[DayFile]) -> None:
    """Fills `delivered_files` and `staged` with everything in the files, judged row by row."""
    import duckdb

    groups = schema_groups(connection, table, files)
    connection.execute(
        """
        create or replace temp table delivered_files as
        select given.path, given.ds, given.file_number, footer.num_rows as rows_in
        from (select unnest($paths) as path, unnest($days) as ds, unnest(range(len($paths))) as file_number) as given
        join parquet_file_metadata($paths) as footer on footer.file_name = given.path
        """,
        {"paths": [file.path for file in files], "days": [file.ds for file in files]},
    )
    connection.execute(create_staged(table))
    for paths in groups:
        try:
            connection.execute(insert_group(table, column_types(connection, paths)), [paths])
        except duckdb.InvalidInputException as error:
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
    connection.execute(
        f"""
        insert into quarantine.rows
        select '{table.name}', ds, broken[1], array_to_string(broken, ', '), row_json from staged where broken is not null
        order by file_number, row_number
        """
    )
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
        select
            '{table.name}', ds, '{SUPERSEDED}', '{SUPERSEDED}: a newer row of the same key came on the same day',
            to_json({{{", ".join(f"{column}: {column}::varchar" for column in columns)}}})::varchar
        from contested where place > 1
        order by file_number, row_number
        """
    )
    stored = [f'"{stored_name(column.name)}"' for column in table.columns] + (["covariates"] if table.free_prefix else [])
    connection.execute(
        f"""
        insert into landing.{table.name} ({", ".join(stored)}, ds, known_at)
        select {", ".join(columns)}, ds, ds + interval 1 day from staged anti join contested using ({key}) where broken is null
        union all
        select {", ".join(columns)}, ds, ds + interval 1 day from contested where place = 1
        """
    )


def _accounted(connection: "duckdb.DuckDBPyConnection", window: dict) -> TableLoad:
    """The table's counts over the window, checked to add up."""
    inside = "where landing_table = $name and ds >= $start and ds < $end"
    sums = "coalesce(sum(rows_in), 0), coalesce(sum(accepted), 0), coalesce(sum(exact_duplicates), 0)"
    rows_in, accepted, duplicates = connection.execute(f"select {sums} from landing._loads {inside}", window).fetchone() or (0, 0, 0)
    rules = connection.execute(f"select rule, count(*) from quarantine.rows {inside} group by rule order by rule", window).fetchall()
    quarantined = dict(rules)
    if rows_in != accepted + sum(quarantined.values()) + duplicates:
        raise RowsLost(
            f"Rows in must equal accepted, quarantined and exact duplicates together. Received {rows_in} rows of {window['name']} and "
            f"accounted for {accepted} + {sum(quarantined.values())} + {duplicates}. Nothing was changed; report this with the files."
        )
    return TableLoad(int(rows_in), int(accepted), quarantined, int(duplicates), quarantined.get(SUPERSEDED, 0))
