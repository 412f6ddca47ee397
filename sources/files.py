"""Landing files: tables typed by the contract, partitioned by day, written to deterministic Parquet and read back."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sources.errors import DataNotFound, FileRefused
from sources.landing import LANDING, Kind

ARROW_TYPES: dict[Kind, pa.DataType] = {
    "string": pa.string(),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
    "float": pa.float64(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "string_list": pa.list_(pa.string()),
    "float_list": pa.list_(pa.float64()),
    "json": pa.string(),
}


def landing_table(name: str, columns: Mapping[str, Any], ds: Sequence[date] | np.ndarray | pa.Array) -> pa.Table:
    """Landing table `name` with all its columns, typed by the contract; columns not given are null. `ds` has one day per row.

    NaN and NaT in numpy columns become null.
    """
    arrays, names = [], []
    for column in LANDING[name].columns:
        given, kind = columns.get(column.name), ARROW_TYPES[column.kind]
        if given is None:
            arrays.append(pa.nulls(len(ds), kind))
        else:
            arrays.append(given if isinstance(given, pa.Array | pa.ChunkedArray) else pa.array(given, type=kind, from_pandas=True))
        names.append(column.name)
    return pa.table([*arrays, pa.array(ds, type=pa.date32())], names=[*names, "ds"])


def write_partitions(tables: Mapping[str, pa.Table], landing_dir: Path) -> dict[str, tuple[int, date, date]]:
    """Write each table's rows to `<table>/ds=YYYY-MM-DD/part-0.parquet`, in the order they come; yields (rows, first day, last day).

    Of a table that is written, days of this delivery on which it now has no rows are removed; each file appears whole or not at all.
    """
    days = {table: pc.unique(rows["ds"]).sort() for table, rows in tables.items() if rows.num_rows}
    touched = {day for of_table in days.values() for day in of_table.to_pylist()}
    written = {}
    for name, of_table in days.items():
        order = pc.sort_indices(tables[name]["ds"])  # stable
        rows = tables[name].take(order).combine_chunks()
        numbers = rows["ds"].cast(pa.int32()).to_numpy()
        kept = of_table.to_pylist()
        for day in touched.difference(kept):
            shutil.rmtree(landing_dir / name / f"ds={day}", ignore_errors=True)
        for day, number in zip(kept, of_table.cast(pa.int32()).to_pylist(), strict=True):
            first, last = np.searchsorted(numbers, [number, number + 1])
            _write_day(rows.slice(first, last - first).drop_columns("ds"), landing_dir / name / f"ds={day}")
        written[name] = (rows.num_rows, kept[0], kept[-1])
    return written


def _write_day(rows: pa.Table, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fresh, target = folder / ".part-0.parquet.tmp", folder / "part-0.parquet"
    pq.write_table(rows.replace_schema_metadata(None), fresh, compression="zstd", coerce_timestamps="us")
    fresh.replace(target)
    for other in folder.iterdir():
        if other != target:
            other.unlink()


def read_table(landing_dir: Path, table: str, start: date | None = None, end: date | None = None) -> pa.Table:
    """Rows of `table` with `start <= ds < end`, oldest day first, with a `ds` column (date); typed by the contract, empty where none came.

    A column that some day holds as text (cells that did not parse) is text in the whole result.
    Raises `DataNotFound` for an unknown table and `FileRefused` for a file that cannot be read.
    """
    if table not in LANDING:
        raise DataNotFound(f"A landing table is one of {sorted(LANDING)}. Received '{table}'.")
    parts = [landing_table(table, {}, [])]
    for path in sorted((landing_dir / table).glob("ds=*/part-*.parquet")):
        day = date.fromisoformat(path.parent.name.removeprefix("ds="))
        if (start is None or day >= start) and (end is None or day < end):
            rows = read_parquet(path)
            parts.append(rows.append_column("ds", pa.array([day] * rows.num_rows, pa.date32())))
    text = {field.name for part in parts[1:] for field in part.schema if field.type == pa.string()}
    return pa.concat_tables([_as_text(part, text) for part in parts], promote_options="default").combine_chunks()


def read_parquet(path: Path) -> pa.Table:
    """The rows of one Parquet file, dictionaries decoded; raises `FileRefused`, naming the file, where it is not whole."""
    try:
        rows = pq.read_table(path, partitioning=None)
        plain = [field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field for field in rows.schema]
        return rows.cast(pa.schema(plain))
    except (pa.ArrowException, OSError) as problem:
        raise FileRefused(f"{path} is not a whole Parquet file: {str(problem).splitlines()[0]} Deliver the file again.") from problem


def _as_text(rows: pa.Table, names: set[str]) -> pa.Table:
    for name in names.intersection(rows.column_names):
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].cast(pa.string()))
    return rows
