"""The publisher's own spreadsheet."""

import logging
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from openpyxl import Workbook

from sources.errors import FileRefused
from sources.files import read_table
from sources.registry import deliver

HEADER = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
#: Cells as the publisher's sheet has them: invoices, codes and customers are numbers where they can be.
ROWS = [
    [536365, "85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 6, datetime(2010, 12, 1, 8, 26), 2.55, 17850, "United Kingdom"],  # noqa: DTZ001
    [536365, 71053, "WHITE METAL LANTERN", 6, datetime(2010, 12, 1, 8, 26), 3.39, 17850.0, "United Kingdom"],  # noqa: DTZ001
    ["C536379", "D", "Discount", -1, datetime(2010, 12, 1, 9, 41), 27.5, 14527, "United Kingdom"],  # noqa: DTZ001
    [536414, 22139, None, 56, datetime(2010, 12, 2, 11, 52), 0, None, "United Kingdom"],  # noqa: DTZ001
]


def sheet(path: Path, rows: list[list], header: list[str] = HEADER) -> Path:
    book = Workbook()
    for row in [header, *rows]:
        book.active.append(row)
    book.save(path)
    return path


def test_the_spreadsheet_gives_what_the_same_rows_as_parquet_and_csv_give(tmp_path: Path, caplog):
    sheet(tmp_path / "Online Retail.xlsx", ROWS)
    text = pd.DataFrame(ROWS, columns=HEADER).astype({"InvoiceNo": str, "StockCode": str, "CustomerID": float})
    text.to_parquet(tmp_path / "rows.parquet", index=False)
    text.assign(InvoiceDate=text["InvoiceDate"].dt.strftime("%m/%d/%Y %H:%M")).to_csv(tmp_path / "rows.csv", index=False)
    found = []
    for name in ("Online Retail.xlsx", "rows.parquet", "rows.csv"):
        with caplog.at_level(logging.WARNING):
            deliver("online_retail", tmp_path / name, tmp_path / f"landing {name}")
        assert f"{name} is not the file of 541,909 lines" in caplog.text
        found.append([read_table(tmp_path / f"landing {name}", table) for table in ("items", "events")])
    assert found[0] == found[1] == found[2]
    events = [(row["item_id"], row["user_id"], row["event_type"], row["quantity"]) for row in found[0][1].to_pylist()]
    assert events == [
        ("85123A", "17850", "purchase", 6.0),
        ("71053", "17850", "purchase", 6.0),
        ("D", "14527", "return", 1.0),
        ("22139", None, "purchase", 56.0),
    ]


def test_a_sheet_that_is_none_or_lacks_a_column_is_refused(tmp_path: Path):
    (tmp_path / "broken.xlsx").write_bytes(b"PK and no more")
    with pytest.raises(FileRefused, match=r"broken.xlsx is not a whole .xlsx file"):
        deliver("online_retail", tmp_path / "broken.xlsx", tmp_path / "landing")
    sheet(tmp_path / "short.xlsx", [row[1:] for row in ROWS], HEADER[1:])
    with pytest.raises(FileRefused, match=r"short.xlsx lacks InvoiceNo"):
        deliver("online_retail", tmp_path / "short.xlsx", tmp_path / "landing")
    sheet(tmp_path / "later.xlsx", [[*ROWS[0][:4], "soon", *ROWS[0][5:]]])
    with pytest.raises(FileRefused, match=r"Every InvoiceDate must be a timestamp. .*later.xlsx"):
        deliver("online_retail", tmp_path / "later.xlsx", tmp_path / "landing")
