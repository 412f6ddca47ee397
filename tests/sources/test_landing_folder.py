"""Source `landing`: a shop's own files, clean and dirty."""

import logging
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.errors import DataNotFound, FileRefused
from sources.files import read_table
from sources.landing import LANDING, LandingTable
from sources.registry import Delivery, deliver

at = datetime.fromisoformat  # naive UTC

SAMPLES = {
    "string": ["a", "b"],
    "timestamp": [at("2024-05-01 09:00:00"), at("2024-05-02 09:00:00")],
    "float": [1.5, 2.0],
    "int": [1, 2],
    "bool": [True, False],
    "float_list": [[0.5, 1.0], [1.5, 2.0]],
    "json": ["{}", '{"a": 1}'],
}


def sample(table: LandingTable) -> pa.Table:
    return pa.table({column.name: SAMPLES[column.kind] for column in table.columns})


def hand_in(given: Path, landing: Path) -> Delivery:
    return deliver("landing", given, landing, seed=7, options={})


@pytest.fixture
def given(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    return folder


def test_all_tables_go_in_and_come_out_unchanged(given: Path, house: Path):
    for name, table in LANDING.items():
        pq.write_table(sample(table), given / f"{name}.parquet")
    delivery = hand_in(given, house)
    assert delivery.missing == {}
    for name, table in LANDING.items():
        assert read_table(house, name).drop_columns("ds").to_pylist() == sample(table).to_pylist(), name


@pytest.mark.parametrize(("table", "column"), [(name, column) for name, table in LANDING.items() for column in table.required])
def test_a_missing_required_column_refuses_the_file_by_name(given: Path, tmp_path: Path, table: str, column: str):
    pq.write_table(sample(LANDING[table]).drop_columns(column), given / f"{table}.parquet")
    pq.write_table(sample(LANDING["users"]), given / "users.parquet") if table != "users" else None
    with pytest.raises(FileRefused, match=rf"Table {table} requires the columns .*{table}\.parquet lacks {column}\."):
        hand_in(given, tmp_path / "landing")
    assert not (tmp_path / "landing").exists()


def test_a_missing_required_column_in_one_partition_names_that_file(given: Path, house: Path):
    for day, columns in (("2024-05-01", "item_id,event_type,occurred_at"), ("2024-05-02", "event_type,occurred_at")):
        (given / "events" / f"ds={day}").mkdir(parents=True)
        (given / "events" / f"ds={day}" / "part-0.csv").write_text(columns + "\n")
    with pytest.raises(FileRefused, match=r"ds=2024-05-02/part-0.csv lacks item_id"):
        hand_in(given, house)


def test_a_truncated_parquet_file_is_named(given: Path, house: Path):
    path = given / "users.parquet"
    pq.write_table(sample(LANDING["users"]), path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FileRefused, match=r"users.parquet is not a whole Parquet file: .* Deliver the file again"):
        hand_in(given, house)


def test_a_csv_file_whose_rows_do_not_fit_its_header_is_named(given: Path, house: Path):
    (given / "users.csv").write_text("user_id,country\na,b,c\n")
    with pytest.raises(FileRefused, match=r"users.csv is not a CSV file with a header"):
        hand_in(given, house)
    (given / "users.csv").write_text("")
    with pytest.raises(FileRefused, match=r"users.csv is not a CSV file with a header"):
        hand_in(given, house)


def test_a_folder_without_any_landing_table_is_refused_and_unknown_files_are_named(given: Path, house: Path, caplog):
    (given / "event.csv").write_text("item_id\na\n")
    with caplog.at_level(logging.WARNING), pytest.raises(DataNotFound, match=r"at least one of users, user_traits, .*has none"):
        hand_in(given, house)
    assert "event.csv is no landing table" in caplog.text


def test_a_table_that_comes_twice_is_refused(given: Path, house: Path):
    (given / "users.csv").write_text("user_id\na\n")
    pq.write_table(sample(LANDING["users"]), given / "users.parquet")
    with pytest.raises(FileRefused, match=r"A table comes once. users is in"):
        hand_in(given, house)


def test_a_delivery_without_any_day_says_how_to_give_one(given: Path, house: Path):
    (given / "item_attributes.csv").write_text("item_id,attribute,value\na,colour,red\n")
    with pytest.raises(DataNotFound, match=r"No row in .* has a time. Put the files into"):
        hand_in(given, house)


def test_a_badly_named_partition_is_refused(given: Path, house: Path):
    (given / "users" / "ds=yesterday").mkdir(parents=True)
    (given / "users" / "ds=yesterday" / "a.csv").write_text("user_id\na\n")
    with pytest.raises(FileRefused, match=r"A partition is named ds=YYYY-MM-DD. .* lies in 'ds=yesterday'"):
        hand_in(given, house)


def test_rows_become_known_on_the_day_of_their_time(given: Path, house: Path):
    (given / "events.csv").write_text(
        "item_id,event_type,occurred_at,received_at\n"
        "a,view,2024-05-02 23:59:00,2024-05-03 00:01:00\n"
        "b,view,2024-05-02T23:59:00Z,\n"
        "c,view,2024-05-03T01:30:00+02:00,\n"
    )
    (given / "item_attributes.csv").write_text("item_id,attribute,value\na,colour,red\n")
    (given / "users" / "ds=2024-05-01").mkdir(parents=True)
    (given / "users" / "ds=2024-05-01" / "part-0.csv").write_text("user_id,registered_at\nu,2020-01-01\n")
    delivery = hand_in(given, house)
    events = read_table(house, "events").to_pylist()
    assert {row["item_id"]: row["ds"].day for row in events} == {"a": 3, "b": 2, "c": 2}
    assert {row["item_id"]: row["occurred_at"] for row in events}["c"] == at("2024-05-02 23:30:00")
    assert read_table(house, "item_attributes")["ds"].to_pylist() == [date(2024, 5, 1)]
    assert read_table(house, "users")["ds"].to_pylist() == [date(2024, 5, 1)]
    assert (delivery.start, delivery.end) == (date(2024, 5, 1), date(2024, 5, 4))


def test_rows_without_a_believable_time_go_to_the_earliest_day_and_keep_their_cells(given: Path, house: Path):
    (given / "events.csv").write_text(
        "item_id,event_type,occurred_at,quantity,unit_price\n"
        "a,view,2024-05-02T10:00:00+02:00,1,2.5\n"
        "b,view,soon,many,3\n"
        "c,view,2999-01-01 00:00:00,2,4\n"
        "d,view,0001-01-01 00:00:00,2,4\n"
        "e,view,,2,4\n"
    )
    hand_in(given, house)
    rows = read_table(house, "events").to_pylist()
    assert {row["ds"] for row in rows} == {date(2024, 5, 2)}
    assert [row["occurred_at"] for row in rows] == [
        "2024-05-02 08:00:00.000000",
        "soon",
        "2999-01-01 00:00:00",
        "0001-01-01 00:00:00",
        None,
    ]
    assert [row["quantity"] for row in rows] == ["1", "many", "2", "2", "2"]
    assert [row["unit_price"] for row in rows] == [2.5, 3.0, 4.0, 4.0, 4.0]


def test_extra_columns_are_dropped_except_the_free_prefix(given: Path, house: Path):
    (given / "campaign_exposures.csv").write_text(
        "x_segment,campaign_id,user_id,assigned_at,treatment,x_recency,colour,visited\nold,c,u,2024-05-01,mail,10,red,yes\nnew,c,v,2024-05-01,control,2.5,red,0\n"
    )
    hand_in(given, house)
    rows = read_table(house, "campaign_exposures")
    assert set(rows.schema.names) == {*LANDING["campaign_exposures"].names, "x_recency", "x_segment", "ds"}
    assert rows["x_recency"].to_pylist() == [10.0, 2.5]
    assert rows["x_segment"].to_pylist() == ["old", "new"]
    assert rows["visited"].to_pylist() == [True, False]


def test_parquet_of_any_flavour_is_brought_to_the_contract(given: Path, house: Path):
    berlin = timezone(timedelta(hours=2))
    pq.write_table(
        pa.table(
            {
                "user_id": pa.array([17850.0, None]),
                "item_id": pa.array([1, 2]),
                "event_type": pa.array(["view", "view"]).dictionary_encode(),
                "occurred_at": pa.array([datetime(2024, 5, 1, 10, tzinfo=berlin)] * 2, pa.timestamp("ns", "+02:00")),
                "quantity": pa.array([1, 2], pa.int16()),
            }
        ),
        given / "events.parquet",
    )
    hand_in(given, house)
    first, second = read_table(house, "events").to_pylist()
    assert (first["user_id"], second["user_id"], first["item_id"]) == ("17850", None, "1")
    assert (first["occurred_at"], first["quantity"], first["event_type"]) == (at("2024-05-01 08:00:00"), 1.0, "view")


def test_files_of_one_table_may_differ_in_type_and_columns(given: Path, house: Path):
    for day, rows in (("2024-05-01", {"item_id": [7], "price": [1.5]}), ("2024-05-02", {"item_id": ["x7"], "title": ["Lamp"]})):
        folder = given / "items" / f"ds={day}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table(rows), folder / "part-0.parquet")
    hand_in(given, house)
    rows = [(row["item_id"], row["price"], row["title"]) for row in read_table(house, "items").to_pylist()]
    assert rows == [("7", 1.5, None), ("x7", None, "Lamp")]


def test_mixed_encodings_and_line_breaks_in_cells_are_read(given: Path, house: Path):
    (given / "items.csv").write_bytes(
        "item_id,title,listed_at\n1,Café,2024-05-01\n".encode() + "2,Café,2024-05-01\n".encode("cp1252") + b'3,"two\nlines",2024-05-01\n'
    )
    hand_in(given, house)
    assert read_table(house, "items")["title"].to_pylist() == ["Café", "Café", "two\nlines"]


def test_what_was_known_before_the_first_event_opens_with_it(given: Path, house: Path):
    (given / "events.csv").write_text("item_id,event_type,occurred_at\na,view,2024-05-02\n")
    (given / "users.csv").write_text("user_id,registered_at\nold,2014-01-01\nnew,2024-05-03\n")
    delivery = hand_in(given, house)
    assert read_table(house, "users").to_pydict()["ds"] == [date(2024, 5, 2), date(2024, 5, 3)]
    assert (delivery.start, delivery.end) == (date(2024, 5, 2), date(2024, 5, 4))
