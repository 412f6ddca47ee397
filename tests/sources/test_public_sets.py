"""The publishers' own files, counted; skipped where they are not on the machine."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from sources.files import read_table
from sources.order_only import spread_over_period
from sources.registry import Delivery, deliver
from tests.conftest import shared_data

at = datetime.fromisoformat  # naive UTC


def counts(delivery: Delivery) -> dict[str, int]:
    return {name: table.rows for name, table in delivery.tables.items()}


@pytest.mark.slow
def test_online_retail_keeps_every_line_and_all_money(house: Path, caplog):
    delivery = deliver("online_retail", shared_data("online_retail"), house, seed=7, options={})
    assert caplog.text == ""  # the documented file, by checksum
    assert counts(delivery) == {"items": 4070, "events": 541_909}
    assert (delivery.start, delivery.end) == (date(2010, 12, 1), date(2011, 12, 10))
    events = read_table(house, "events").to_pandas()
    assert events["user_id"].isna().sum() == 135_080
    assert events["user_id"].nunique() == 4372
    assert events["order_id"].nunique() == 25_900
    assert events["event_id"].is_unique
    assert (events["event_type"] == "return").sum() == 9288 + 1336  # credit notes, and stock written off
    sign = np.where(events["event_type"] == "return", -1, 1)
    assert (events["quantity"] * events["unit_price"] * sign).sum() == pytest.approx(9_747_747.93, abs=0.01)
    assert (events["quantity"] >= 0).all()
    items = read_table(house, "items").to_pandas().set_index("item_id")
    assert items.loc["85123A", "title"] == "WHITE HANGING HEART T-LIGHT HOLDER"
    assert sorted(items.index[items["in_stock"] == False]) == sorted(  # noqa: E712 - null is not False
        ["AMAZONFEE", "B", "BANK CHARGES", "C2", "CRUK", "D", "DOT", "M", "PADS", "POST", "S", "m"]
    )


def test_movielens_100k_keeps_its_own_times(house: Path, caplog):
    delivery = deliver("movielens", shared_data("ml-100k"), house, seed=7, options={})
    assert caplog.text == ""
    assert counts(delivery) | {"item_attributes": 0} == {
        "users": 943,
        "user_traits": 3 * 943,
        "items": 1682,
        "item_attributes": 0,
        "events": 100_000,
    }
    events = read_table(house, "events").to_pylist()
    mine = next(row for row in events if row["user_id"] == "196" and row["item_id"] == "242")
    assert (mine["rating"], mine["occurred_at"], mine["event_type"]) == (3.0, at("1997-12-04 15:55:49"), "rate")
    traits = {(row["user_id"], row["trait"]): row["value"] for row in read_table(house, "user_traits").to_pylist()}
    assert [traits["1", trait] for trait in ("gender", "age_band", "occupation")] == ["male", "18-24", "technician"]
    attributes = [(row["attribute"], row["value"]) for row in read_table(house, "item_attributes").to_pylist() if row["item_id"] == "1"]
    assert sorted(attributes) == [("genre", "Animation"), ("genre", "Children's"), ("genre", "Comedy"), ("year", "1995")]


@pytest.mark.slow
def test_movielens_1m_keeps_the_order_of_the_file(house: Path, caplog):
    delivery = deliver("movielens", shared_data("ml-1m"), house, seed=7, options={})
    assert caplog.text == ""
    assert counts(delivery) | {"item_attributes": 0} == {
        "users": 6040,
        "user_traits": 3 * 6040,
        "items": 3883,
        "item_attributes": 0,
        "events": 1_000_209,
    }
    events = read_table(house, "events")
    assert len(pc.unique(events["item_id"])) == 3706
    first = events.filter(pc.equal(events["user_id"], "1")).sort_by("occurred_at")
    assert first["item_id"].to_pylist()[:4] == ["1193", "661", "914", "3408"]
    assert (delivery.start, delivery.end) == (date(2000, 5, 1), date(2000, 10, 28))
    traits = {(row["user_id"], row["trait"]): row["value"] for row in read_table(house, "user_traits").to_pylist()}
    assert [traits["1", trait] for trait in ("gender", "age_band", "occupation")] == ["female", "under 18", "k-12 student"]
    assert traits["2", "age_band"] == "56+"


def test_amazon_beauty_is_whole_and_in_order(house: Path, caplog):
    delivery = deliver("amazon_sequences", shared_data("amazon_beauty"), house, seed=7, options={})
    assert caplog.text == ""
    assert counts(delivery) | {"item_attributes": 0} == {"items": 12_101, "events": 198_502, "item_attributes": 0}
    events = read_table(house, "events")
    assert len(pc.unique(events["user_id"])) == 22_363
    third = events.filter(pc.equal(events["user_id"], "2")).sort_by("occurred_at")
    assert third["item_id"].to_pylist() == ["6", "7", "8", "9", "10", "4", "11"]
    attributes = read_table(house, "item_attributes")
    assert attributes.filter(pc.equal(attributes["item_id"], "4"))["value"].to_pylist() == ["1", "2", "3"]


def test_the_jth_of_n_events_stands_at_j_and_a_half_of_n():
    times = spread_over_period(np.array(["a", "b", "a", "a"]), date(2024, 1, 1))
    days = (times - np.datetime64("2024-01-01", "us")) / np.timedelta64(1, "D")
    assert days.tolist() == [30.0, 90.0, 90.0, 150.0]  # 180 days: 1/6, 3/6 and 5/6 of them for a, half for b


def test_hillstrom_has_three_random_arms_with_the_published_rates(house: Path, caplog):
    delivery = deliver("hillstrom", shared_data("hillstrom"), house)
    assert caplog.text == ""  # the published file, by checksum
    assert counts(delivery) == {"campaign_exposures": 64_000}
    rows = read_table(house, "campaign_exposures").to_pandas()
    arms = rows.groupby("treatment")[["visited", "converted", "spend"]].agg(["size", "mean"])
    assert arms["visited"]["size"].to_dict() == {"control": 21_306, "mens_email": 21_307, "womens_email": 21_387}
    assert arms["visited"]["mean"].round(4).to_dict() == {"control": 0.1062, "mens_email": 0.1828, "womens_email": 0.1514}
    assert rows["converted"].sum() == 578
    assert len([name for name in rows if name.startswith("x_")]) == 8


def test_credit_default_has_every_client_and_every_default(house: Path, caplog):
    delivery = deliver("credit_default", shared_data("credit_default"), house)
    assert caplog.text == ""
    assert counts(delivery) == {"credit_applications": 30_000}
    rows = read_table(house, "credit_applications").to_pandas()
    assert rows["defaulted"].sum() == 6636
    assert rows["amount"].sum() == 30_000 * 167_484.32266666667
    assert rows["x_education"].value_counts().to_dict()["code 5"] == 280
    assert len([name for name in rows if name.startswith("x_")]) == 22  # the 23 published ones without LIMIT_BAL


def test_complete_journey_keeps_every_line_and_all_money(house: Path, caplog):
    delivery = deliver("complete_journey", shared_data("complete_journey"), house)
    assert caplog.text == ""
    assert counts(delivery) == {
        "users": 2406,  # the 2,405 of the sample, and one that is only in other tables
        "user_traits": 801 * 7 - 233 - 137,  # unknown home ownership and marital status
        "items": 92_331,
        "item_attributes": 92_331,
        "events": 100_000,
        "campaign_exposures": 6589 + 5804,  # every one when made, and those that ended within the file again
    }
    events = read_table(house, "events").to_pandas()
    assert (events["quantity"] * events["unit_price"]).sum() == pytest.approx(312_753.23, abs=0.01)
    assert events["unit_price"].isna().sum() == 577  # lines without pieces
    exposures = read_table(house, "campaign_exposures").to_pandas()
    assert len(exposures[["campaign_id", "user_id"]].drop_duplicates()) == 6589
    assert exposures["propensity"].isna().all()
