"""Online Retail: invoice lines of a UK gift shop, 1 December 2010 to 9 December 2011.

Publisher: D. Chen, S. L. Sain and K. Guo, UCI Machine Learning Repository, data set Online Retail. Licence: CC BY 4.0. Offered: on that
repository's page of the data set, as the spreadsheet `Online Retail.xlsx`. Reads that file, or its sheet as Parquet or CSV; a file is the
published one when its counts are (`PUBLISHED`).

Reads InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID. Every line is kept, so rows and money add up to the
published file:

* events: a line of a credit note (invoice `C...`) or with a negative quantity is a `return`, with the quantity positive; any other a
  `purchase`. A line without customer is a guest. `order_id` is the invoice, `event_id` the invoice and the line's number on it. The shop's
  own bad-debt lines (two negative prices) go through as they are: `quality` judges them.
* items: every stock code, its title the most frequent description (of sold lines, where there are any) and its price the median price of
  sold lines. Codes that are no goods (`NO_GOODS`: postage, fees, discounts, manual lines, samples) stand in the catalogue as out of stock,
  so that their lines are known and nobody is ever recommended one. Goods have no stock information (null).
"""

import logging
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import pyarrow as pa

from sources.cells import read_csv, typed_columns
from sources.errors import DataNotFound, FileRefused
from sources.files import landing_table, read_parquet
from sources.landing import Kind
from sources.published import is_published

log = logging.getLogger(__name__)

MD5 = "da6d62510c50f94ff88eb5a230a6efad"  # of the sheet as Parquet
PUBLISHED = {"lines": 541_909, "invoices": 25_900, "codes": 4070, "customers": 4372, "without customer": 135_080}
COLUMNS: dict[str, Kind] = {
    "InvoiceNo": "string",
    "StockCode": "string",
    "Description": "string",
    "Quantity": "float",
    "InvoiceDate": "timestamp",
    "UnitPrice": "float",
    "CustomerID": "string",
}
NO_GOODS = r"(?i)POST|DOT|C2|M|D|S|B|PADS|CRUK|AMAZONFEE|BANK CHARGES"


def read(data: Path, seed: int, options: dict[str, Any]) -> dict[str, pa.Table]:
    """items and events of the file, or of the only file of a known kind in the folder, `data`."""
    path = _the_file(data)
    lines = _lines(path)
    if not is_published(path, MD5) and (counted := _counts(lines)) != PUBLISHED:
        log.warning(
            "%s is not the file of 541,909 lines that this source was checked with; reading it all the same: %s", path.name, counted
        )
    return {"items": _items(lines), "events": _events(lines)}


def _the_file(data: Path) -> Path:
    files = [data] if data.is_file() else sorted(path for path in data.iterdir() if path.suffix in _READERS)
    if len(files) != 1 or files[0].suffix not in _READERS:
        raise DataNotFound(
            f"Source online_retail reads one {', '.join(_READERS)} file with the publisher's columns. {data} gives "
            f"{[path.name for path in files]}. Keep the publisher's sheet alone."
        )
    return files[0]


def read_sheet(path: Path) -> pa.Table:
    """The first sheet's cells as text, an empty cell as null, by the names in its first row; read as a stream, 50,000 rows at a time.

    Raises `FileRefused`, naming the file, where it is no spreadsheet or its first row has no names.
    """
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(path, read_only=True, data_only=True)
        rows = book.worksheets[0].iter_rows(values_only=True)
        names = [str(name) for name in next(rows, ()) if name is not None]
    except (BadZipFile, KeyError, OSError, InvalidFileException) as problem:
        raise FileRefused(f"{path} is not a whole .xlsx file: {problem}. Download the file again.") from problem
    schema = pa.schema([(name, pa.string()) for name in names])
    batches = []
    while some := list(islice(rows, 50_000)):
        columns = [[_cell(row[place] if place < len(row) else None) for row in some] for place in range(len(names))]
        batches.append(pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=schema))
    book.close()
    return pa.Table.from_batches(batches, schema=schema)


def _cell(value: Any) -> str | None:
    """A sheet's cell as a CSV would hold it: 536365 whether the sheet has it as a number or as text."""
    if value is None or value == "":
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


_READERS = {".xlsx": read_sheet, ".parquet": read_parquet, ".csv": read_csv}


def _counts(lines: pd.DataFrame) -> dict[str, int]:
    return {
        "lines": len(lines),
        "invoices": lines["InvoiceNo"].nunique(),
        "codes": lines["StockCode"].nunique(),
        "customers": lines["CustomerID"].nunique(),
        "without customer": int(lines["CustomerID"].isna().sum()),
    }


def _lines(path: Path) -> pd.DataFrame:
    """One row per invoice line, in the file's order: the columns of `COLUMNS`, and `line`, its number on its invoice."""
    rows = _READERS[path.suffix](path)
    if "InvoiceDate" in rows.column_names and pa.types.is_string(rows["InvoiceDate"].type):
        rows = rows.set_column(rows.column_names.index("InvoiceDate"), "InvoiceDate", _times(rows["InvoiceDate"]))
    lines = typed_columns(rows, COLUMNS, path, "Online Retail").to_pandas()
    lines["CustomerID"] = lines["CustomerID"].str.removesuffix(".0")
    return lines.assign(line=lines.groupby("InvoiceNo").cumcount() + 1)


def _times(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times written as the publisher's sheet shows them, else the cells as they are."""
    times = pd.to_datetime(cells.to_pandas(), format="%m/%d/%Y %H:%M", errors="coerce")
    return cells if times.isna().any() else pa.chunked_array([pa.array(times.to_numpy().astype("datetime64[us]"))])


def _items(lines: pd.DataFrame) -> pa.Table:
    sold = lines[lines["UnitPrice"] > 0]
    titles = _most_frequent(lines) | _most_frequent(sold)
    codes = pd.Series(sorted(set(lines["StockCode"])))
    columns = {
        "item_id": codes,
        "title": codes.map(titles),
        "price": codes.map(sold.groupby("StockCode")["UnitPrice"].median()),
        "in_stock": codes.str.fullmatch(NO_GOODS).map({True: False, False: None}),
    }
    return landing_table("items", columns, [lines["InvoiceDate"].min().date()] * len(codes))


def _most_frequent(lines: pd.DataFrame) -> dict[str, str]:
    """The most frequent description of each stock code, the first in the alphabet where several are."""
    described = lines.assign(Description=lines["Description"].str.strip())
    counts = described[described["Description"].fillna("") != ""].groupby(["StockCode", "Description"]).size().reset_index(name="n")
    best = counts.sort_values(["n", "Description"], ascending=[False, True], kind="stable").drop_duplicates("StockCode")
    return dict(zip(best["StockCode"], best["Description"], strict=True))


def _events(lines: pd.DataFrame) -> pa.Table:
    is_return = lines["InvoiceNo"].str.startswith("C") | (lines["Quantity"] < 0)
    columns = {
        "event_id": lines["InvoiceNo"] + "-" + lines["line"].astype(str).str.zfill(4),  # sorts in the order of the invoice
        "user_id": lines["CustomerID"],
        "item_id": lines["StockCode"],
        "event_type": np.where(is_return, "return", "purchase"),
        "occurred_at": lines["InvoiceDate"],
        "order_id": lines["InvoiceNo"],
        "quantity": lines["Quantity"].abs(),
        "unit_price": lines["UnitPrice"],
    }
    return landing_table("events", columns, lines["InvoiceDate"].to_numpy().astype("datetime64[D]"))
