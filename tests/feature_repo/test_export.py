"""What is published, and what is no longer."""

from datetime import date, datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from feature_repo.contract import marts, views
from feature_repo.export import MartExport, export_marts
from feature_repo.frames import horizon, read_mart, rows_as_of
from feature_repo.published import SCHEMA_FILE, mart_dir
from settings import get_settings
from tests.feature_repo.conftest import MAY
from tests.feature_repo.warehouse import day, features, small_shop, write_warehouse


def published(mart: str) -> dict[str, bytes]:
    return {str(file.relative_to(mart_dir(mart))): file.read_bytes() for file in sorted(mart_dir(mart).rglob("*")) if file.is_file()}


def test_rows_lie_under_the_day_of_their_export_time(shop: Path) -> None:
    assert list(published("user_features")) == [f"day=2024-05-0{number}/part-0.parquet" for number in (2, 3, 4, 5)] + ["schema.parquet"]
    corrected = pq.read_table(shop / "offline" / "user_features" / "day=2024-05-05" / "part-0.parquet", partitioning=None).to_pylist()
    assert [(row["user_id"], row["features_at"], row["events_7d"]) for row in corrected] == [("ann", datetime(2024, 5, 2), 7)]  # noqa: DTZ001


def test_files_have_the_contracts_columns_and_microseconds(shop: Path) -> None:
    for name, mart in marts().items():
        schema = pq.read_schema(mart_dir(name) / "schema.parquet")
        assert schema.names == [column.name for column in mart.columns]
        times = {str(schema.field(column.name).type) for column in mart.columns if column.kind == "timestamp"}
        assert times == {"timestamp[us]"}


def test_the_same_warehouse_gives_the_same_bytes(shop: Path) -> None:
    before = {name: published(name) for name in marts()}
    export_marts(*MAY)
    assert {name: published(name) for name in marts()} == before


def test_vanished_days_are_dropped_and_days_before_the_window_are_left(shop: Path) -> None:
    rows = small_shop()
    rows["user_features"] = [features("ann", 2, 2, events_7d=99), features("ann", 4, 4, events_7d=5)]  # days 3 and 5 are gone
    write_warehouse(rows)
    done = export_marts(date(2024, 5, 3), date(2024, 5, 4)).marts["user_features"]
    assert done == MartExport(rows=1, days_written=1, days_dropped=2)
    kept = read_mart("user_features")
    assert kept[["events_7d"]].to_numpy().tolist() == [[1], [5]]  # day 2 as first published: the window starts after it


def test_labels_are_rewritten_whole(shop: Path) -> None:
    rows = small_shop()
    rows["trait_labels"] = [{"user_id": "ann", "trait": "gender", "value": "x", "known_at": day(1)}]
    write_warehouse(rows)
    export_marts(date(2024, 5, 20), date(2024, 5, 21))
    assert read_mart("trait_labels")["value"].tolist() == ["x"]


def test_a_view_that_is_not_published_yet_does_not_hide_what_is_known(shop: Path) -> None:
    known = horizon()
    (mart_dir("credit_behaviour") / SCHEMA_FILE).unlink()  # as in a house whose last export was by an earlier release
    assert known is not None and horizon() == known
    for name in views():
        (mart_dir(name) / SCHEMA_FILE).unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="A mart must be exported before it is read"):
        horizon()


def test_empty_marts_are_readable(house: Path) -> None:
    write_warehouse({})
    report = export_marts(*MAY)
    assert "user_features: 0 rows in 0 days, 0 days dropped" in report.as_text()
    assert horizon() is None
    for name, mart in marts().items():
        assert list(read_mart(name).columns) == [column.name for column in mart.columns]
        assert read_mart(name).empty
    assert rows_as_of("user_features", day(9)).empty


def test_read_mart_cuts_by_the_export_time(shop: Path) -> None:
    assert read_mart("user_features", start=date(2024, 5, 3), end=date(2024, 5, 5))["user_id"].tolist() == ["ann", "bob"]
    assert read_mart("user_features", start=date(2024, 5, 5))["events_7d"].tolist() == [7]
    assert read_mart("user_features", end=date(2024, 5, 3))["events_7d"].tolist() == [1]


def test_what_cannot_be_published_says_why(house: Path) -> None:
    with pytest.raises(ValueError, match=r"A window must end after it starts. Received \[2024-05-01, 2024-05-01\)"):
        export_marts(date(2024, 5, 1), date(2024, 5, 1))
    with pytest.raises(FileNotFoundError, match=r"The warehouse must exist .*Run ingest and features first"):
        export_marts(*MAY)
    with pytest.raises(FileNotFoundError, match=r"A mart must be exported before it is read. Found nothing in .*offline/trait_labels"):
        read_mart("trait_labels")
    write_warehouse({"trait_labels": [{"user_id": "ann", "trait": "age", "value": "40"}]})
    with pytest.raises(ValueError, match=r"Every row of trait_labels must have known_at. Received 1 without"):
        export_marts(*MAY)
    with duckdb.connect(str(get_settings().warehouse)) as connection:
        connection.execute("drop table marts.user_features")
    with pytest.raises(LookupError, match=r"Found no marts.user_features in the warehouse. Run dbt build first"):
        export_marts(*MAY)
