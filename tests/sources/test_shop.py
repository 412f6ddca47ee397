"""The simulated shop: size, rhythm, funnels, sequences, and a campaign whose effects are known."""

from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from sources.errors import UnknownOption
from sources.registry import deliver
from sources.shop import ShopOptions, Simulation, simulate
from tests.sources.test_registry import file_bytes

SMALL = {"users": 60, "items": 200, "events_per_user": 30}


@pytest.fixture(scope="module")
def shop() -> Simulation:
    return simulate(7, ShopOptions())


@pytest.fixture(scope="module")
def events(shop: Simulation) -> pd.DataFrame:
    return shop.tables["events"].to_pandas()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path):
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        deliver("shop", None, tmp_path / name, seed=seed, options=SMALL)
    assert file_bytes(tmp_path / "one") == file_bytes(tmp_path / "two")
    assert file_bytes(tmp_path / "one") != file_bytes(tmp_path / "three")


def test_the_truth_stays_out_of_the_landing_folder(house: Path):
    delivery = deliver("shop", None, house, seed=7, options=SMALL)
    assert sorted(path.name for path in house.iterdir()) == ["_delivery.json", *sorted(delivery.tables)]
    names = {path.name for path in house.rglob("*") if path.is_file()}
    assert names == {"_delivery.json", "part-0.parquet"}


def test_size_and_window_are_options_given_as_text(house: Path):
    delivery = deliver("shop", None, house, seed=7, options={**{k: str(v) for k, v in SMALL.items()}, "days": "60", "end": "2023-06-30"})
    assert (delivery.start, delivery.end) == (date(2023, 5, 2), date(2023, 7, 1))
    assert (delivery.tables["users"].rows, delivery.tables["items"].rows) == (60, 200)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("users", "many", "Option users of source shop is a whole number. Received 'many'"),
        ("end", "31.3.2024", "Option end of source shop is a day, YYYY-MM-DD. Received '31.3.2024'"),
        ("days", 30, "Option days of source shop is at least 60. Received 30"),
        ("items", 20, "Option items of source shop is at least 144. Received 20"),
    ],
)
def test_options_out_of_range_are_refused(house: Path, option: str, value: object, message: str):
    with pytest.raises(UnknownOption, match=message):
        deliver("shop", None, house, seed=7, options={option: value})


def test_the_default_shop_has_the_promised_size(shop: Simulation, events: pd.DataFrame):
    assert (shop.tables["users"].num_rows, shop.tables["items"].num_rows) == (5000, 2000)
    assert 380_000 < len(events) < 420_000
    assert (events["ds"].min(), events["ds"].max()) == (date(2024, 1, 2), date(2024, 3, 31))
    assert 300 < 5000 - events["user_id"].nunique() < 1000  # users without any event
    assert 0.05 < events["user_id"].isna().mean() < 0.08  # guests
    assert 0.38 < shop.tables["user_traits"].num_rows / 2 / 5000 < 0.42


def test_rows_are_delivered_on_the_day_they_are_received(events: pd.DataFrame):
    assert (events["ds"] == events["received_at"].dt.date).all()
    assert (events["received_at"] > events["occurred_at"]).all()
    late = events["received_at"] - events["occurred_at"] > timedelta(hours=20)
    assert 0.008 < late.mean() < 0.012


def test_events_are_unique_but_for_a_few_exact_duplicates(events: pd.DataFrame):
    assert 10 <= events.duplicated().sum() <= 30
    assert events.drop_duplicates()["event_id"].is_unique


def test_visits_narrow_from_views_to_purchases(events: pd.DataFrame):
    share = events["event_type"].value_counts(normalize=True)
    assert share["view"] > 0.7
    assert 0.08 < share["cart"] < 0.15
    assert 0.4 < share["purchase"] / share["cart"] < 0.65
    assert 0.03 < share["return"] / share["purchase"] < 0.10
    settled = events[events["occurred_at"] < "2024-03-29"]  # later, a cart may still be on its way
    carted = set(zip(*events.loc[events["event_type"] == "cart", ["session_id", "item_id"]].to_numpy().T, strict=True))
    bought = events[events["event_type"] == "purchase"]
    paid = settled[settled["event_type"] == "purchase"]
    assert len(set(zip(paid["session_id"], paid["item_id"], strict=True)) - carted) < 3  # a visit may straddle the end of the campaign
    assert bought[["order_id", "quantity", "unit_price"]].notna().all().all()
    returned = events[events["event_type"] == "return"]
    assert set(zip(returned["order_id"], returned["item_id"], strict=True)) <= set(zip(bought["order_id"], bought["item_id"], strict=True))


def test_nothing_happens_before_a_user_registers_or_an_item_is_listed(shop: Simulation, events: pd.DataFrame):
    users = shop.tables["users"].to_pandas().set_index("user_id")["registered_at"]
    items = shop.tables["items"].to_pandas().set_index("item_id")["listed_at"]
    known = events.dropna(subset=["user_id"])
    assert (known["occurred_at"] >= known["user_id"].map(users)).all()
    assert (events["occurred_at"] >= events["item_id"].map(items)).all()


def test_weekends_are_busier_and_popularity_has_a_long_tail(events: pd.DataFrame):
    by_weekday = events["occurred_at"].dt.dayofweek.value_counts(normalize=True)
    assert by_weekday[[5, 6]].min() > 1.2 * by_weekday[[0, 1, 2, 3]].max()
    shares = events["item_id"].value_counts(normalize=True)
    assert shares.iloc[:400].sum() > 0.4  # a fifth of the items


def test_the_item_before_tells_far_more_than_popularity(events: pd.DataFrame):
    views = events[(events["event_type"] == "view") & events["user_id"].notna()].sort_values(["user_id", "occurred_at"], kind="stable")
    pairs = views.assign(before=views.groupby("user_id")["item_id"].shift()).dropna(subset=["before"])
    last = pairs.groupby("user_id").tail(1)
    past = pairs.drop(last.index)
    counts = past.groupby(["before", "item_id"]).size().reset_index(name="n").sort_values(["before", "n"], ascending=[True, False])
    followers = counts.groupby("before").head(10).groupby("before")["item_id"].agg(set)
    hits = [item in followers.get(before, ()) for before, item in zip(last["before"], last["item_id"], strict=True)]
    popular = set(past["item_id"].value_counts().index[:10])
    assert sum(hits) / len(hits) > 5 * last["item_id"].isin(popular).mean()


def test_tastes_follow_traits(shop: Simulation, events: pd.DataFrame):
    top = shop.tables["items"].to_pandas().set_index("item_id")["category"].str.split(" > ").str[0]
    gender = shop.truth["users"].to_pandas().set_index("user_id")["gender"]
    share = pd.crosstab(events["user_id"].map(gender), events["item_id"].map(top), normalize="index")
    assert share.loc["female", "Women"] > 3 * share.loc["male", "Women"]
    assert share.loc["male", "Men"] > 3 * share.loc["female", "Men"]


def test_titles_and_descriptions_carry_category_and_brand(shop: Simulation):
    items = shop.tables["items"].to_pylist()
    assert all(item["brand"] in item["title"] and item["category"].split(" > ")[2] in item["title"] for item in items)
    assert all(item["category"].count(" > ") == 2 and item["brand"] in item["description"] for item in items)
    assert len({item["category"].split(" > ")[0] for item in items}) == 8


def test_the_campaign_is_randomised_with_the_stated_propensities(shop: Simulation):
    rows = shop.tables["campaign_exposures"].to_pandas()
    users = shop.tables["users"].to_pandas().set_index("user_id")
    eligible = (users["registered_at"] < pd.Timestamp(2024, 3, 2)).sum()
    assert 0.77 < len(rows) / eligible < 0.83
    assert users.loc[rows["user_id"], "consent_marketing"].all()
    shares = rows["treatment"].value_counts(normalize=True)
    assert rows.groupby("treatment")["propensity"].unique().map(list).to_dict() == {
        "control": [0.4],
        "discount": [0.3],
        "free_shipping": [0.3],
    }
    assert abs(shares["control"] - 0.4) < 0.03
    segments = pd.crosstab(shop.truth["campaign"].to_pandas()["segment"], rows["treatment"], normalize="index")
    assert (segments["control"] - 0.4).abs().max() < 0.1
    assert (rows["ds"] == rows["outcome_at"].dt.date).all()  # no outcome is delivered before it is known


def test_campaign_outcomes_are_what_the_events_say(shop: Simulation, events: pd.DataFrame):
    rows = shop.tables["campaign_exposures"].to_pandas()
    joined = events.drop_duplicates().merge(rows[["user_id", "assigned_at", "outcome_at"]], on="user_id")
    joined = joined[(joined["occurred_at"] >= joined["assigned_at"]) & (joined["occurred_at"] < joined["outcome_at"])]
    bought = joined[joined["event_type"] == "purchase"]
    spend = (bought["quantity"] * bought["unit_price"]).groupby(bought["user_id"]).sum()
    assert (rows["visited"] == rows["user_id"].isin(joined.loc[joined["event_type"] == "view", "user_id"])).all()
    assert (rows["converted"] == rows["user_id"].isin(bought["user_id"])).all()
    assert rows["user_id"].map(spend).fillna(0).sub(rows["spend"]).abs().max() < 0.01


def test_offers_help_persuadables_harm_sleeping_dogs_and_leave_the_rest(shop: Simulation):
    truth = shop.truth["campaign"].to_pandas().groupby("segment")
    effect = truth["visited_discount"].mean() - truth["visited_control"].mean()
    bought = truth["converted_discount"].mean() - truth["converted_control"].mean()
    assert effect["persuadable"] > 0.08
    assert bought["persuadable"] > 0.15
    assert effect["sleeping_dog"] < -0.2
    assert effect[["sure_thing", "lost_cause"]].abs().max() < 0.03
    assert truth["converted_control"].mean()["sure_thing"] > 2 * truth["converted_control"].mean()["lost_cause"]
    assert truth.size().min() > 100


def test_the_observed_effects_agree_with_the_truth(shop: Simulation):
    rows = shop.tables["campaign_exposures"].to_pandas().merge(shop.truth["campaign"].to_pandas()[["user_id", "segment"]], on="user_id")
    seen = rows.pivot_table(index="segment", columns="treatment", values="converted")
    assert (seen["discount"] - seen["control"])["persuadable"] > 0.1
    assert (seen["discount"] - seen["control"])["sleeping_dog"] < 0
