"""Landing files: tables typed by the contract, partitioned by day, written to deterministic Parquet and read back."""

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
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

#: Identities, each value once in a table: a dictionary of them would only cost time.
NEVER_REPEATS = ("event_id", "review_id")


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


def write_partitions(tables: Mapping[str, pa.Table], landing_dir: Path, whole: Collection[str] = ()) -> dict[str, tuple[int, date, date]]:
    """Write each table's rows to `<table>/ds=YYYY-MM-DD/part-0.parquet`, in the order they come; yields (rows, first day, last day).

    What was there before goes as `put_in_place` says; each file appears whole or not at all.
    """
    written: dict[str, tuple[int, date, date]] = {}
    with staging(landing_dir) as staged:
        for name, rows in tables.items():
            for day, of_day in split_days(rows):
                write_parquet(of_day, staged / name / f"ds={day}" / "part-0.parquet")
                written[name] = _counted(written.get(name), of_day.num_rows, day)
        put_in_place(staged, landing_dir, whole)
    return written


def _counted(so_far: tuple[int, date, date] | None, rows: int, day: date) -> tuple[int, date, date]:
    """`(rows, first day, last day)` with `rows` of `day` added."""
    return (so_far[0] + rows, min(so_far[1], day), max(so_far[2], day)) if so_far else (rows, day, day)


def merge_counts(parts: Iterable[Mapping[str, tuple[int, date, date]]]) -> dict[str, tuple[int, date, date]]:
    """`(rows, first day, last day)` by table, of several parts of one delivery together."""
    merged: dict[str, tuple[int, date, date]] = {}
    for part in parts:
        for name, (rows, first, last) in part.items():
            merged[name] = _counted(_counted(merged.get(name), rows, first), 0, last)
    return merged


@contextmanager
def staging(landing_dir: Path) -> Iterator[Path]:
    """An empty folder on the landing folder's own disk, for files of a delivery that is not complete; gone afterwards."""
    folder = landing_dir / ".delivery"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def split_days(rows: pa.Table) -> Iterator[tuple[date, pa.Table]]:
    """`(day, its rows without ds)` by rising `ds`; rows of a day keep their order."""
    numbers = rows["ds"].cast(pa.int32()).to_numpy()
    if (np.diff(numbers) < 0).any():
        order = np.argsort(numbers, kind="stable")
        rows, numbers = rows.take(pa.array(order)), numbers[order]
    rows = rows.drop_columns("ds")
    firsts = np.flatnonzero(np.diff(numbers, prepend=-1))
    for first, last in zip(firsts.tolist(), [*firsts[1:].tolist(), len(numbers)], strict=True):
        yield date(1970, 1, 1) + timedelta(days=int(numbers[first])), rows.slice(first, last - first)


def write_parquet(rows: pa.Table, path: Path) -> None:
    """One deterministic Parquet file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    repeats = [field.name for field in rows.schema if field.name not in NEVER_REPEATS]
    pq.write_table(rows.replace_schema_metadata(None), path, compression="zstd", coerce_timestamps="us", use_dictionary=repeats)


def put_in_place(staged: Path, landing_dir: Path, whole: Collection[str]) -> None:
    """Move `staged/<table>/ds=<day>/*` into the landing folder, where it replaces what an earlier delivery left.

    A table in `whole` is delivered from the first staged day to the last: any other day of it in between goes, and all of them where it has
    no rows now. Any other table is delivered on the staged days: of it only days go on which other tables alone have rows now.
    """
    folders = {table.name: {folder.name for folder in table.iterdir()} for table in staged.iterdir()}
    touched = set().union(*folders.values())
    for table in {*folders, *whole}:
        days = folders.get(table, set())
        for folder in (landing_dir / table).glob("ds=*"):
            covered = min(touched) <= folder.name <= max(touched) if table in whole else folder.name in touched
            if covered and folder.name not in days:
                shutil.rmtree(folder)
        for day in sorted(days):
            target = landing_dir / table / day
            target.mkdir(parents=True, exist_ok=True)
            fresh = {file.name for file in (staged / table / day).iterdir()}
            for name in fresh:
                (staged / table / day / name).replace(target / name)
            for other in target.iterdir():
                if other.name not in fresh:
                    other.unlink()


def read_table(landing_dir: Path, table: str, start: date | None = None, end: date | None = None) -> pa.Table:
    """Rows of `table` with `start <= ds < end`, oldest day first, with a `ds` column (date); typed by the contract, empty where none came.

    A column that some day holds as text (cells that did not parse) is text in the whole result; bytes are read as UTF-8, else as cp1252.
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
    text = {field.name for part in parts[1:] for field in part.schema if field.type in (pa.string(), pa.binary())}
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
        column = rows[name]
        if column.type == pa.binary():
            column = pa.array([_decoded(value) for value in column.to_pylist()], pa.string())
        rows = rows.set_column(rows.column_names.index(name), name, column.cast(pa.string()))
    return rows


def _decoded(text: bytes | None) -> str | None:
    if text is None:
        return None
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("cp1252", errors="replace")
