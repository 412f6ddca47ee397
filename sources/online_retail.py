"""Online Retail: invoice lines of a UK gift shop, 1 December 2010 to 9 December 2011.

Publisher: D. Chen, S. L. Sain and K. Guo, UCI Machine Learning Repository, data set Online Retail. Licence: CC BY 4.0. Offered: on that
repository's page of the data set, as a spreadsheet; here its sheet as Parquet or CSV.

Reads InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID. Every line is kept, so rows and money add up to the
published file:

* events: a line of a credit note (invoice `C...`) or with a negative quantity is a `return`, with the quantity positive; any other a
  `purchase`. A line without customer is a guest. `order_id` is the invoice, `event_id` the invoice and the line's number on it. The shop's
  own bad-debt lines (two negative prices) go through as they are: `quality` judges them.
* items: every stock code, its title the most frequent description (of sold lines, where there are any) and its price the median price of
  sold lines. Codes that are no goods (`NO_GOODS`: postage, fees, discounts, manual lines, samples) stand in the catalogue as out of stock,
  so that their lines are known and nobody is ever recommended one. Goods have no stock information (null).
"""

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sources.cells import parse, read_csv
from sources.errors import DataNotFound, FileRefused
from sources.files import landing_table, read_parquet
from sources.landing import Kind

log = logging.getLogger(__name__)

MD5 = "da6d62510c50f94ff88eb5a230a6efad"
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
    """items and events of the file, or of the only Parquet or CSV file in the folder, `data`."""
    lines = _lines(_the_file(data))
    return {"items": _items(lines), "events": _events(lines)}


def _the_file(data: Path) -> Path:
    files = [data] if data.is_file() else sorted(path for path in data.iterdir() if path.suffix in (".parquet", ".csv"))
    if len(files) != 1 or files[0].suffix not in (".parquet", ".csv"):
        raise DataNotFound(
            f"Source online_retail reads one .parquet or .csv file with the publisher's columns. {data} gives "
            f"{[path.name for path in files]}. Save the publisher's sheet as one of them."
        )
    if hashlib.md5(files[0].read_bytes(), usedforsecurity=False).hexdigest() != MD5:
        log.warning("%s is not the file of 541,909 lines that this source was checked with; reading it all the same", files[0].name)
    return files[0]


def _lines(path: Path) -> pd.DataFrame:
    """One row per invoice line, in the file's order: the columns of `COLUMNS`, and `line`, its number on its invoice."""
    rows = read_parquet(path) if path.suffix == ".parquet" else read_csv(path)
    missing = [name for name in COLUMNS if name not in rows.column_names]
    if missing:
        raise FileRefused(
            f"Online Retail has the columns {list(COLUMNS)}. {path} lacks {', '.join(missing)}. Check that it is the publisher's sheet."
        )
    columns = {name: _column(rows[name], name, kind, path) for name, kind in COLUMNS.items()}
    lines = pd.DataFrame(columns)
    return lines.assign(line=lines.groupby("InvoiceNo").cumcount() + 1)


def _column(cells: pa.ChunkedArray, name: str, kind: Kind, path: Path) -> pd.Series:
    column = parse(cells, kind)
    if kind == "timestamp" and pa.types.is_string(column.type):
        times = pd.to_datetime(cells.to_pandas(), format="%m/%d/%Y %H:%M", errors="coerce")  # as the publisher's sheet shows them
        column = pa.chunked_array([pa.array(times)])
    if column.null_count > cells.null_count or (kind != "string" and pa.types.is_string(column.type)):
        raise FileRefused(f"Every {name} must be a {kind}. {path} has cells that are not. Check that it is the publisher's sheet.")
    return column.to_pandas().str.removesuffix(".0") if name == "CustomerID" else column.to_pandas()


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
