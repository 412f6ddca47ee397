"""What the publishers' adapters do with small, hand-made and broken files."""

import logging
from datetime import datetime
from pathlib import Path

import pytest

from sources.errors import DataNotFound, FileRefused
from sources.files import read_table
from sources.registry import deliver

at = datetime.fromisoformat  # naive UTC

INVOICES = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
1,10,LAMP,2,12/1/2010 8:26,2.50,17850.0,United Kingdom
1,10,LAMP,1,12/1/2010 8:26,3.50,17850.0,United Kingdom
1,POST,POSTAGE,1,12/1/2010 8:26,4.00,17850.0,United Kingdom
C2,10,lamp returned,-1,12/2/2010 9:00,2.50,17850.0,United Kingdom
3,10,damaged,-5,12/3/2010 9:00,0,,United Kingdom
"""


@pytest.fixture
def given(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    return folder


def test_online_retail_reads_the_publishers_columns_from_csv_with_a_note(given: Path, house: Path, caplog):
    (given / "invoices.csv").write_text(INVOICES)
    with caplog.at_level(logging.WARNING):
        deliver("online_retail", given, house, seed=7, options={})
    assert "invoices.csv is not the file of 541,909 lines" in caplog.text
    events = [
        tuple(row[name] for name in ("event_id", "user_id", "event_type", "quantity", "occurred_at"))
        for row in read_table(house, "events").to_pylist()
    ]
    assert events == [
        ("1-0001", "17850", "purchase", 2.0, at("2010-12-01 08:26:00")),
        ("1-0002", "17850", "purchase", 1.0, at("2010-12-01 08:26:00")),
        ("1-0003", "17850", "purchase", 1.0, at("2010-12-01 08:26:00")),
        ("C2-0001", "17850", "return", 1.0, at("2010-12-02 09:00:00")),
        ("3-0001", None, "return", 5.0, at("2010-12-03 09:00:00")),
    ]
    items = [(row["item_id"], row["title"], row["price"], row["in_stock"]) for row in read_table(house, "items").to_pylist()]
    assert items == [("10", "LAMP", 2.5, None), ("POST", "POSTAGE", 4.0, False)]  # median of 2.50, 3.50, 2.50


def test_online_retail_refuses_a_file_by_column(given: Path, house: Path):
    (given / "invoices.csv").write_text(INVOICES.replace("StockCode", "Stock"))
    with pytest.raises(FileRefused, match=r"invoices.csv lacks StockCode"):
        deliver("online_retail", given, house, seed=7, options={})
    (given / "invoices.csv").write_text(INVOICES.replace("12/3/2010 9:00", "soon"))
    with pytest.raises(FileRefused, match=r"Every InvoiceDate must be a timestamp"):
        deliver("online_retail", given, house, seed=7, options={})
    (given / "invoices.csv").write_text(INVOICES.replace("-5", "some"))
    with pytest.raises(FileRefused, match=r"Every Quantity must be a float"):
        deliver("online_retail", given, house, seed=7, options={})


def test_online_retail_refuses_a_truncated_file_and_two_files(given: Path, house: Path):
    (given / "online_retail.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(FileRefused, match=r"online_retail.parquet is not a whole Parquet file"):
        deliver("online_retail", given, house, seed=7, options={})
    (given / "more.csv").write_text(INVOICES)
    with pytest.raises(DataNotFound, match=r"gives \['more.csv', 'online_retail.parquet'\]"):
        deliver("online_retail", given, house, seed=7, options={})


def test_amazon_sequences_refuses_a_line_that_is_no_sequence(given: Path, house: Path):
    for text, line in (("1 2 3\n4\n", "Line 2 of .* is '4'"), ("1 2\n\n", "Line 2"), ("a,b\tc\n", "Line 1"), ("", "has no line")):
        (given / "Toys.txt").write_text(text)
        with pytest.raises(FileRefused, match=line):
            deliver("amazon_sequences", given, house, seed=7, options={})


def test_amazon_sequences_refuses_broken_attributes_and_a_second_data_set(given: Path, house: Path):
    (given / "Toys.txt").write_text("1 2\n")
    (given / "Toys_item2attributes.json").write_text("[1, 2]")
    with pytest.raises(FileRefused, match=r"The attributes must be JSON"):
        deliver("amazon_sequences", given, house, seed=7, options={})
    (given / "Beauty.txt").write_text("1 2\n")
    with pytest.raises(DataNotFound, match=r"one \*.txt. .* has 2"):
        deliver("amazon_sequences", given, house, seed=7, options={})


def test_movielens_names_the_file_that_is_missing_or_broken(given: Path, house: Path):
    (given / "u.data").write_text("1\t2\t3\t881250949\n")
    with pytest.raises(DataNotFound, match=r"needs u.genre"):
        deliver("movielens", given, house, seed=7, options={})
    (given / "u.genre").write_text("unknown|0\nDrama|1\n")
    (given / "u.user").write_text("1|24|M\n")
    with pytest.raises(FileRefused, match=r"Every line of u.user must have 5 fields: \['user_id', 'age'"):
        deliver("movielens", given, house, seed=7, options={})


def test_another_edition_of_movielens_is_read_with_a_note_for_each_file_that_differs(given: Path, house: Path, caplog):
    (given / "u.data").write_text("1\t2\t3\t881250949\n1\t3\t5\t881250950\n")
    (given / "u.genre").write_text("unknown|0\nDrama|1\n")
    (given / "u.user").write_text("1|24|M|writer|94043\n")
    (given / "u.item").write_text("".join(f"{number}|Film (1995)|01-Jan-1995|||0|1\n" for number in (2, 3)))
    assert deliver("movielens", given, house).tables["events"].rows == 2
    for name in ("u.data", "u.genre", "u.user", "u.item"):
        assert f"{name} is not the published file that this source was checked with" in caplog.text
    assert caplog.text.count("reading it all the same: 1 users, 2 films, 2 ratings") == 4


def test_another_set_of_sequences_is_read_with_a_note_for_each_file(given: Path, house: Path, caplog):
    (given / "Toys.txt").write_text("1 2 3\n4 2\n")
    (given / "Toys_item2attributes.json").write_text('{"2": [7]}')
    assert deliver("amazon_sequences", given, house).tables["events"].rows == 3
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"{name} is not the published file that this source was checked with; reading it all the same: 2 users, 2 items, 3 purchases"
        for name in ("Toys.txt", "Toys_item2attributes.json")
    ]
