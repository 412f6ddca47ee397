"""Landing files: types of the contract, whole files, windows."""

from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.errors import DataNotFound, FileRefused
from sources.files import ARROW_TYPES, landing_table, read_table, write_partitions
from sources.landing import LANDING

at = datetime.fromisoformat  # naive UTC

DAYS = [date(2024, 5, 2), date(2024, 5, 1), date(2024, 5, 2)]


def orders() -> pa.Table:
    columns = {"order_id": ["1", "2", "3"], "placed_at": [at("2024-05-01 01:02:03.000004")] * 3, "amount": [1.5, None, 3.0]}
    return landing_table("orders", columns, DAYS)


@pytest.mark.parametrize("name", sorted(LANDING))
def test_every_table_has_the_contracts_columns_and_types(name: str):
    table = landing_table(name, {}, DAYS)
    assert table.schema.names == [*LANDING[name].names, "ds"]
    assert all(table.schema.field(column.name).type == ARROW_TYPES[column.kind] for column in LANDING[name].columns)


def test_times_are_naive_microseconds_in_the_file(tmp_path: Path):
    write_partitions({"orders": orders()}, tmp_path)
    schema = pq.read_schema(tmp_path / "orders" / "ds=2024-05-02" / "part-0.parquet")
    assert schema.field("placed_at").type == pa.timestamp("us")
    assert "ds" not in schema.names


def test_rows_keep_their_order_within_a_day_and_windows_are_half_open(tmp_path: Path):
    assert write_partitions({"orders": orders()}, tmp_path) == {"orders": (3, date(2024, 5, 1), date(2024, 5, 2))}
    assert read_table(tmp_path, "orders")["order_id"].to_pylist() == ["2", "1", "3"]
    assert read_table(tmp_path, "orders", date(2024, 5, 1), date(2024, 5, 2))["order_id"].to_pylist() == ["2"]
    assert read_table(tmp_path, "orders", start=date(2024, 5, 2))["ds"].to_pylist() == [date(2024, 5, 2)] * 2
    assert read_table(tmp_path, "orders", start=date(2024, 5, 3)).num_rows == 0


def test_a_table_that_never_came_reads_as_empty_and_typed(tmp_path: Path):
    assert read_table(tmp_path, "reviews").schema == landing_table("reviews", {}, []).schema


def test_a_table_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(DataNotFound, match=r"A landing table is one of .*Received 'event'"):
        read_table(tmp_path, "event")


def test_a_truncated_landing_file_is_named(tmp_path: Path):
    write_partitions({"orders": orders()}, tmp_path)
    path = tmp_path / "orders" / "ds=2024-05-02" / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(FileRefused, match=r"ds=2024-05-02/part-0.parquet is not a whole Parquet file"):
        read_table(tmp_path, "orders")


def test_texts_that_are_no_utf8_are_read_as_cp1252(tmp_path: Path):
    write_partitions({"items": landing_table("items", {"item_id": ["1"], "title": ["Thé"]}, [date(2024, 5, 1)])}, tmp_path)
    raw = landing_table(
        "items", {"item_id": ["2", "3"], "title": pa.array(["Crème".encode("cp1252"), None], pa.binary())}, [date(2024, 5, 2)] * 2
    )
    write_partitions({"items": raw}, tmp_path)
    assert read_table(tmp_path, "items")["title"].to_pylist() == ["Thé", "Crème", None]


def test_a_column_that_is_text_on_one_day_is_text_on_all(tmp_path: Path):
    write_partitions({"orders": orders()}, tmp_path)
    dirty = landing_table("orders", {"order_id": ["4"], "amount": pa.array(["much"])}, [date(2024, 5, 3)])
    write_partitions({"orders": dirty}, tmp_path)
    rows = read_table(tmp_path, "orders")
    assert rows["amount"].to_pylist() == [None, "1.5", "3", "much"]
    assert rows.schema.field("placed_at").type == pa.timestamp("us")
