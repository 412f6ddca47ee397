"""From cells as a shop wrote them to columns typed by the contract, without losing one: a cell that does not parse stays as it is.

Judging rows is the work of `quality`; here a column is either typed (every cell parsed) or text, in which times that did parse are written
as `YYYY-MM-DD HH:MM:SS.ffffff` in UTC, so that an offset is not lost on a reader that ignores it.
"""

import codecs
import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from sources.errors import FileRefused
from sources.files import ARROW_TYPES
from sources.landing import Kind
from sources.published import file_content

FLAGS = {"true": True, "t": True, "yes": True, "y": True, "1": True, "false": False, "f": False, "no": False, "n": False, "0": False}


def _as_cp1252(problem: UnicodeError) -> tuple[str, int]:
    if not isinstance(problem, UnicodeDecodeError):
        raise problem
    return problem.object[problem.start : problem.end].decode("cp1252", errors="replace"), problem.end


codecs.register_error("portrait-cp1252", _as_cp1252)


def read_csv(path: Path) -> pa.Table:
    """The file's cells as text, an empty cell as null; lines may end in LF, CR LF or CR alone, and the file may be a `.gz`.

    Bytes that are no UTF-8 are read as Windows-1252, cell by cell.

    Raises `FileRefused`, naming the file, where it is empty or its rows do not fit its header.
    """
    text = file_content(path).decode("utf-8-sig", errors="portrait-cp1252")
    header = next(csv.reader(io.StringIO(text, newline="")), [])  # newline="": a CR alone ends a line too
    try:
        return arrow_csv.read_csv(
            pa.BufferReader(text.encode()),
            read_options=arrow_csv.ReadOptions(use_threads=False),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowException as problem:
        raise FileRefused(f"{path} is not a CSV file with a header: {str(problem).splitlines()[0]} Deliver the file again.") from problem


def typed_columns(rows: pa.Table, kinds: Mapping[str, Kind], path: Path, what: str) -> pa.Table:
    """The columns named in `kinds`, typed by it. Raises `FileRefused`, naming `what` the publisher's file is, where one is missing or has
    a cell that does not parse."""
    if missing := [name for name in kinds if name not in rows.column_names]:
        raise FileRefused(
            f"{what} has the columns {list(kinds)}. {path} lacks {', '.join(missing)}. Check that it is the publisher's file."
        )
    columns = {name: parse(rows[name], kind) for name, kind in kinds.items()}
    for name, kind in kinds.items():
        if columns[name].type != ARROW_TYPES[kind] or columns[name].null_count > rows[name].null_count:
            raise FileRefused(f"Every {name} must be a {kind}. {path} has cells that are not. Check that it is the publisher's file.")
    return pa.table(columns)


def parse(cells: pa.ChunkedArray, kind: Kind) -> pa.ChunkedArray:
    """`cells` as the contract's type of `kind`, or as text where any cell does not parse."""
    if kind in ("string", "json"):
        return _text(cells)
    if kind == "timestamp" and pa.types.is_timestamp(cells.type):
        return cells.cast(pa.timestamp("us", cells.type.tz), safe=False).cast(pa.timestamp("us"))
    if not _is_text(cells.type):
        try:
            return cells.cast(ARROW_TYPES[kind])
        except pa.ArrowException:
            return _text(cells)
    typed = _PARSERS[kind](cells)
    if typed.null_count == cells.null_count:
        return typed
    return pc.coalesce(typed.cast(pa.string()), _text(cells)) if kind == "timestamp" else _text(cells)


def parsed_or_null(cells: pa.ChunkedArray, kind: Kind) -> pa.ChunkedArray:
    """`cells` as the contract's type of `kind`, null where a cell does not parse."""
    column = parse(cells, kind)
    return _PARSERS[kind](column) if _is_text(column.type) else column


def parse_free(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """A free (`x_`) column: numbers where every cell is one, else text."""
    if not _is_text(cells.type) and not pa.types.is_boolean(cells.type):
        return parse(cells, "float")
    typed = _floats(cells) if _is_text(cells.type) else cells.cast(pa.int8()).cast(pa.float64())
    return typed if typed.null_count == cells.null_count else _text(cells)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _text(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(cells.type) and pc.all(pc.equal(pc.floor(cells), cells)).as_py() is not False:
        cells = cells.cast(pa.int64(), safe=False)  # an id that pandas made a float: 17850.0 is 17850
    if pa.types.is_nested(cells.type):
        return pa.chunked_array(
            [pa.array([None if cell is None else json.dumps(cell, default=str) for cell in cells.to_pylist()], pa.string())]
        )
    return cells.cast(pa.string())


def _times(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    times = pd.to_datetime(cells.to_pandas(), format="ISO8601", utc=True, errors="coerce").dt.tz_localize(None)
    return pa.chunked_array([pa.array(times.to_numpy().astype("datetime64[us]"), from_pandas=True)], type=pa.timestamp("us"))


def _floats(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    numbers = pd.to_numeric(cells.to_pandas().astype(object), errors="coerce").to_numpy(np.float64)
    return pa.chunked_array([pa.array(numbers, from_pandas=True)], type=pa.float64())


def _ints(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    numbers = _floats(cells).to_numpy()
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
    return pa.chunked_array([pa.array(np.where(whole, numbers, 0).astype(np.int64), mask=~whole)], type=pa.int64())


def _flags(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([FLAGS.get(str(cell).strip().lower()) for cell in cells.to_pylist()], pa.bool_())])


def _lists(kind: pa.DataType) -> Callable[[pa.ChunkedArray], pa.ChunkedArray]:
    def parse_lists(cells: pa.ChunkedArray) -> pa.ChunkedArray:
        return pa.chunked_array([pa.array([_list(cell, kind) for cell in cells.to_pylist()], kind)])

    return parse_lists


def _list(cell: str | None, kind: pa.DataType) -> list | None:
    try:
        return pa.scalar(json.loads(cell), kind).as_py() if cell else None
    except (ValueError, TypeError, pa.ArrowException):
        return None


_PARSERS = {
    "timestamp": _times,
    "date": lambda cells: _times(cells).cast(pa.date32(), safe=False),
    "float": _floats,
    "int": _ints,
    "bool": _flags,
    "string_list": _lists(ARROW_TYPES["string_list"]),
    "float_list": _lists(ARROW_TYPES["float_list"]),
}
