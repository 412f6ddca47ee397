"""The simulated shop as a source: size, options, streaming, the same bytes, and what a fresh delivery replaces."""

from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from sources import shop
from sources.errors import UnknownOption
from sources.landing import LANDING
from sources.registry import OWN_TABLES, SOURCES, deliver
from tests.sources.conftest import Shop
from tests.sources.test_registry import file_bytes

SMALL = {"users": 60, "items": 200, "events_per_user": 30, "days": 60}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path):
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        deliver("shop", None, tmp_path / name / "landing", seed=seed, options=SMALL)
    assert file_bytes(tmp_path / "one") == file_bytes(tmp_path / "two")
    assert file_bytes(tmp_path / "one") != file_bytes(tmp_path / "three")


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shop, "BLOCK_USERS", 40)
    for workers in (1, 3):
        deliver("shop", None, tmp_path / str(workers) / "landing", seed=7, options={**SMALL, "users": 150, "workers": workers})
    assert file_bytes(tmp_path / "1") == file_bytes(tmp_path / "3")
    names = {path.name for path in (tmp_path / "3" / "landing" / "users").rglob("*.parquet")}
    assert {f"part-{block}.parquet" for block in range(4)} <= names


def test_blocks_share_items_and_no_ids_of_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shop, "BLOCK_USERS", 40)
    blocks = Shop(tmp_path, **SMALL | {"users": 150, "dirt": 0})
    for table, key in (
        ("users", "user_id"),
        ("events", "event_id"),
        ("orders", "order_id"),
        ("items", "item_id"),
        ("reviews", "review_id"),
    ):
        assert blocks.table(table)[key].is_unique
    assert sorted(blocks.table("users")["user_id"]) == [f"u{number:06d}" for number in range(150)]
    assert blocks.table("events").groupby("session_id")["user_id"].nunique().max() == 1
    assert blocks.truth("users")["user_id"].tolist() == sorted(blocks.truth("users")["user_id"])


def test_a_fresh_delivery_replaces_the_days_it_covers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    landing = tmp_path / "landing"
    before = landing / "events" / "ds=2023-01-01"
    live = landing / "live_events" / "ds=2024-02-14"
    for folder in (before, live):
        folder.mkdir(parents=True)
        (folder / "part-0.parquet").write_bytes(b"of another delivery")
    monkeypatch.setattr(shop, "BLOCK_USERS", 20)
    deliver("shop", None, landing, seed=7, options=SMALL)
    assert len(list(landing.glob("events/ds=*/part-2.parquet"))) > 30
    monkeypatch.undo()
    deliver("shop", None, landing, seed=7, options=SMALL)
    deliver("shop", None, tmp_path / "fresh" / "landing", seed=7, options=SMALL)
    covered = {folder.name for folder in (tmp_path / "fresh" / "landing").glob("*/ds=*")}
    stale = {path.parent.name for path in landing.glob("*/ds=*/part-2*.parquet")}
    assert len(covered) > 30 and not stale & covered
    for folder in (before, live):
        assert (folder / "part-0.parquet").read_bytes() == b"of another delivery"
        (folder / "part-0.parquet").unlink()
    kept = {path: content for path, content in file_bytes(landing).items() if "ds=" not in path or path.split("/")[1] in covered}
    assert kept == file_bytes(tmp_path / "fresh" / "landing")


def test_a_delivery_that_breaks_off_changes_no_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    deliver("shop", None, tmp_path / "landing", seed=7, options=SMALL)
    before = file_bytes(tmp_path)

    def breaks(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(shop, "write_block", breaks)
    with pytest.raises(OSError, match="no space left"):
        deliver("shop", None, tmp_path / "landing", seed=8, options=SMALL)
    assert file_bytes(tmp_path) == before


def test_the_truth_stays_out_of_the_landing_folder(house: Path):
    delivery = deliver("shop", None, house / "landing", seed=7, options=SMALL)
    assert sorted(path.name for path in (house / "landing").iterdir()) == ["_delivery.json", *sorted(delivery.tables)]
    assert sorted(path.name for path in house.iterdir()) == ["landing", "truth"]
    truth = {"users", "tastes", "campaign", "credit", "fraud", "bots", "items"}
    assert {path.name for path in (house / "truth").iterdir()} == {f"{name}.parquet" for name in truth} | {"dirt.json", "shop.json"}


def test_every_table_that_a_shop_can_deliver_has_rows(clean_shop: Shop):
    assert set(clean_shop.delivery.tables) == set(LANDING) - set(OWN_TABLES) == set(SOURCES["shop"].tables)
    for name, table in clean_shop.delivery.tables.items():
        assert table.rows == len(clean_shop.table(name)) > 0
        assert (clean_shop.table(name)["ds"].min(), clean_shop.table(name)["ds"].max()) == (table.first_ds, table.last_ds)
        assert not clean_shop.table(name).drop(columns="ds").isna().all().any(), name


def test_size_and_window_are_options_given_as_text(house: Path):
    options = {**{k: str(v) for k, v in SMALL.items()}, "end": "2023-06-30", "dirt": "0"}
    delivery = deliver("shop", None, house / "landing", seed=7, options=options)
    assert (delivery.start, delivery.end) == (date(2023, 5, 2), date(2023, 7, 1))
    assert (delivery.tables["users"].rows, delivery.tables["items"].rows) == (60, 200)


def test_a_size_stands_for_numbers_that_can_be_chosen_one_by_one():
    large = shop.ShopOptions.of({"size": "large", "items": "3000"})
    assert (large.users, large.items, large.users * large.events_per_user) == (500_000, 3_000, 50_000_000)
    medium, small = shop.ShopOptions.of({"size": "medium"}), shop.ShopOptions.of({})
    assert (medium.users, medium.users * medium.events_per_user) == (50_000, 5_000_000)
    assert (small.users, small.users * small.events_per_user) == (5_000, 400_000)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("users", "many", "Option users of source shop is a whole number. Received 'many'"),
        ("end", "31.3.2024", "Option end of source shop is a day, YYYY-MM-DD. Received '31.3.2024'"),
        ("days", 30, "Option days of source shop is at least 60. Received 30"),
        ("items", 20, "Option items of source shop is at least 144. Received 20"),
        ("size", "huge", r"Option size of source shop is one of \['large', 'medium', 'small'\]. Received 'huge'"),
        ("dirt", 0.5, "Option dirt of source shop is a share of rows, 0 to 0.03. Received 0.5"),
        ("dirt", "nan", "Option dirt of source shop is a share of rows, 0 to 0.03. Received nan"),
        ("dirt", "some", "Option dirt of source shop is a number. Received 'some'"),
        ("workers", 0, "Option workers of source shop is at least 1. Received 0"),
    ],
)
def test_options_out_of_range_are_refused(house: Path, option: str, value: object, message: str):
    with pytest.raises(UnknownOption, match=message):
        deliver("shop", None, house / "landing", seed=7, options={option: value})
    assert list(house.iterdir()) == []


def test_the_smallest_shop_has_every_part_of_the_truth(tmp_path: Path):
    deliver("shop", None, tmp_path / "landing", seed=7, options={"users": 10, "items": 144, "events_per_user": 1, "days": 60})
    assert pq.read_table(tmp_path / "truth" / "users.parquet").num_rows == 10


def test_the_default_shop_has_the_promised_size(clean_shop: Shop):
    events = clean_shop.table("events")
    assert (len(clean_shop.table("users")), len(clean_shop.table("items"))) == (5000, 2000)
    assert 380_000 < len(events) < 420_000
    assert (events["ds"].min(), events["ds"].max()) == (date(2024, 1, 2), date(2024, 3, 31))
    assert 500 < 5000 - events["user_id"].nunique() < 1000  # users without any event


def test_rows_are_delivered_on_the_day_they_are_received(clean_shop: Shop):
    events = clean_shop.table("events")
    assert (events["ds"] == events["received_at"].dt.date).all()
    assert (events["received_at"] > events["occurred_at"]).all()
    for table, column in (("orders", "placed_at"), ("chargebacks", "reported_at"), ("reviews", "created_at"), ("user_traits", "known_at")):
        rows = clean_shop.table(table)
        assert (rows["ds"] == rows[column].clip(lower=pd.Timestamp(2024, 1, 2)).dt.date).all(), table
