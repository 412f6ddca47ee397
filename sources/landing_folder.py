"""Source `landing`: a folder that is already in landing form, the door for any shop's own records.

Publisher and licence: the shop's own. Reads, for any of the landing tables, `<table>.parquet`, `<table>.csv` or a folder `<table>/` of such
files, at will partitioned as `<table>/ds=YYYY-MM-DD/`. Gives the same tables with the contract's columns in the contract's types; extra
columns are dropped, except with the free `x_` prefix where the table has one.

A required column that is missing refuses the delivery; a cell that does not parse does not: its column stays text in this delivery's files,
and `quality` judges the row. Rows of unpartitioned files become known on the UTC day of the table's time (events: `received_at`, else
`occurred_at`); rows without a believable one (unparseable, before 1990, after today) on the delivery's earliest day. What a shop
knew before its first delivered event (a customer of ten years) is known on the day of that event: the window is that of the events.

Delivered again, unpartitioned files replace all of their table from the delivery's first day to its last; a folder of `ds=` days replaces
the days that the delivery has, so that a shop may correct two days and keep those between. A table that is not handed in stays.
"""

import logging
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sources.cells import parse, parse_free, parsed_or_null, read_csv
from sources.errors import DataNotFound, FileRefused
from sources.files import read_parquet
from sources.landing import LANDING, LandingTable

log = logging.getLogger(__name__)

FIRST_BELIEVABLE_DAY = date(1990, 1, 1)
_READERS = {".parquet": read_parquet, ".csv": read_csv}


def read(data: Path, seed: int, options: dict[str, Any]) -> dict[str, pa.Table]:
    """Every landing table found in the folder `data`, with `ds`; cells that do not parse are kept as text."""
    if not data.is_dir():
        raise DataNotFound(f"Source landing reads a folder of landing tables. {data} is a file. Point at its folder.")
    for entry in sorted(data.iterdir()):
        if entry.name[0] not in "._" and entry.name.split(".")[0] not in LANDING:
            log.warning("%s is no landing table and is left out; tables are %s", entry.name, ", ".join(LANDING))
    found = {name: _read_table(table, _files(data, name)) for name, table in LANDING.items()}
    tables = {name: rows for name, rows in found.items() if rows is not None and rows.num_rows}
    if not tables:
        raise DataNotFound(
            f"Source landing reads at least one of {', '.join(LANDING)} (.parquet or .csv) with a row in it. {data} has none."
        )
    if "events" in tables and (opening := pc.min(tables["events"]["ds"]).as_py()):
        without_days = tables.keys() & whole_tables(data) - {"events"}
        tables |= {name: _not_before(tables[name], opening) for name in without_days}
    earliest = min((day for rows in tables.values() if (day := pc.min(rows["ds"]).as_py())), default=None)
    if earliest is None:
        raise DataNotFound(
            f"A delivery needs one day at least. No row in {data} has a time. Put the files into <table>/ds=YYYY-MM-DD/ folders."
        )
    return {name: _typed_by_day(LANDING[name], _fill_ds(rows, earliest)) for name, rows in tables.items()}


def whole_tables(data: Path) -> set[str]:
    """Tables handed in without days, with rows or without."""
    files = {name: _files(data, name) for name in LANDING}
    return {name for name, paths in files.items() if paths and not any(path.parent.name.startswith("ds=") for path in paths)}


def _files(data: Path, table: str) -> list[Path]:
    beside = [path for suffix in _READERS if (path := data / f"{table}{suffix}").is_file()]
    within = sorted(path for path in (data / table).rglob("*") if path.suffix in _READERS and path.name[0] not in "._")
    if len(beside) + bool(within) > 1:
        raise FileRefused(
            f"A table comes once. {table} is in {data} as {[path.name for path in beside]} and {len(within)} files of a folder. Keep one."
        )
    return beside or within


def _read_table(table: LandingTable, files: list[Path]) -> pa.Table | None:
    """All rows of one table: contract and free columns as the files have them (text where they differ), and `ds`, null where unknown."""
    if not files:
        return None
    parts = [_read_file(table, path) for path in files]
    kinds: dict[str, set[pa.DataType]] = {}
    for part in parts:
        for field in part.schema:
            kinds.setdefault(field.name, set()).add(field.type)
    mixed = [name for name, seen in kinds.items() if len(seen - {pa.null()}) > 1]
    for name in mixed:
        parts = [
            part.set_column(part.column_names.index(name), name, parse(part[name], "string")) if name in part.column_names else part
            for part in parts
        ]
    return pa.concat_tables(parts, promote_options="default")


def _read_file(table: LandingTable, path: Path) -> pa.Table:
    rows = _READERS[path.suffix](path)
    missing = [name for name in table.required if name not in rows.column_names]
    if missing:
        raise FileRefused(
            f"Table {table.name} requires the columns {list(table.required)}. {path} lacks {', '.join(missing)}. "
            "Add it and deliver the file again."
        )
    free = sorted(name for name in rows.column_names if table.free_prefix and name.startswith(table.free_prefix))
    kept = rows.select([name for name in table.names if name in rows.column_names] + free)
    partition = path.parent.name
    return kept.append_column("ds", _ds_of_folder(path, rows.num_rows) if partition.startswith("ds=") else _ds_of_rows(table, rows))


def _ds_of_folder(path: Path, rows: int) -> pa.Array:
    try:
        return pa.array([date.fromisoformat(path.parent.name.removeprefix("ds="))] * rows, pa.date32())
    except ValueError as problem:
        raise FileRefused(f"A partition is named ds=YYYY-MM-DD. {path} lies in '{path.parent.name}'. Rename the folder.") from problem


def _ds_of_rows(table: LandingTable, rows: pa.Table) -> pa.ChunkedArray | pa.Array:
    times = [name for name in (table.time, "occurred_at" if table.name == "events" else None) if name in rows.column_names]
    if not times:
        return pa.nulls(rows.num_rows, pa.date32())
    return pc.coalesce(*[_believable_day(parsed_or_null(rows[name], "timestamp")) for name in times])


def _believable_day(times: pa.ChunkedArray) -> pa.ChunkedArray:
    days = times.cast(pa.date32(), safe=False)
    believable = pc.and_(pc.greater_equal(days, FIRST_BELIEVABLE_DAY), pc.less_equal(days, datetime.now(UTC).date()))
    return pc.if_else(believable, days, pa.scalar(None, pa.date32()))


def _fill_ds(rows: pa.Table, earliest: date) -> pa.Table:
    filled = pc.fill_null(rows["ds"], earliest)
    return rows.set_column(rows.column_names.index("ds"), "ds", filled)


def _not_before(rows: pa.Table, opening: date) -> pa.Table:
    known = pc.max_element_wise(rows["ds"], pa.scalar(opening, pa.date32()), skip_nulls=False)
    return rows.set_column(rows.column_names.index("ds"), "ds", known)


def _typed_by_day(table: LandingTable, rows: pa.Table) -> pa.Table:
    """`rows` with every column of the contract, typed; a column with a cell that does not parse stays text."""
    free = [name for name in rows.column_names if name not in (*table.names, "ds")]
    given = {column.name: column.kind for column in table.columns}
    nothing = pa.nulls(rows.num_rows, pa.string())
    columns = {name: parse(rows[name] if name in rows.column_names else pa.chunked_array([nothing]), kind) for name, kind in given.items()}
    return pa.table({**columns, **{name: parse_free(rows[name]) for name in free}, "ds": rows["ds"]})
