"""The oracle's chances are those that the simulator drew from: they agree with what it draws, and with what then happened."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sources.files import read_table
from sources.registry import deliver
from sources.shop_block import people_of
from sources.shop_calendar import DAY
from sources.shop_choices import next_new_chances, pick_chances, step_chances, wanted_chances
from sources.shop_oracle import Asked, ShopOracle, true_credit_risk
from sources.shop_visits import _pick
from tests.sources.conftest import Shop

ASKED_AT = pd.Timestamp("2024-03-01")
ITEMS = np.array([f"i{number:06d}" for number in range(2000)], object)


@pytest.fixture(scope="module")
def oracle(clean_shop: Shop) -> ShopOracle:
    return ShopOracle.beside(clean_shop.home / "truth")


def asked_at(shop: Shop, user_ids: np.ndarray, at: np.ndarray) -> Asked:
    """The users with their events before `at`, `(rows,)` of times."""
    events = dict(iter(shop.known_events.groupby("user_id")))
    known = [
        events[user][events[user]["occurred_at"] < time] if user in events else shop.known_events[:0]
        for user, time in zip(user_ids, at, strict=True)
    ]
    at_us = pd.Series(at).to_numpy("datetime64[us]").astype(np.int64)
    times = [rows["occurred_at"].to_numpy("datetime64[us]").astype(np.int64) for rows in known]
    return Asked(user_ids, at_us, [r["item_id"].to_numpy(object) for r in known], [r["event_type"].to_numpy(object) for r in known], times)


@pytest.fixture(scope="module")
def asked(clean_shop: Shop) -> Asked:
    """Everybody who was seen by the first of March, bots apart."""
    seen = clean_shop.known_events.query("occurred_at < @ASKED_AT")["user_id"].unique()
    users = np.setdiff1d(seen, clean_shop.truth("bots")["user_id"]).astype(object)
    return asked_at(clean_shop, users, np.full(len(users), ASKED_AT))


@pytest.fixture(scope="module")
def later(clean_shop: Shop) -> dict[str, pd.DataFrame]:
    return dict(iter(clean_shop.known_events.query("occurred_at >= @ASKED_AT and event_type != 'return'").groupby("user_id")))


def test_the_people_made_again_are_those_of_the_truth(clean_shop: Shop, oracle: ShopOracle):
    people, truth = people_of(oracle.world, 0), clean_shop.truth("users")
    np.testing.assert_array_equal(people.price_taste, truth["price_taste"])
    np.testing.assert_array_equal(people.visit_rate, truth["visit_rate"])


def test_items_are_picked_as_often_as_computed(oracle: ShopOracle):
    catalogue, people = oracle.world.catalogue, people_of(oracle.world, 0)
    draws, leaf, middle = 40_000, 7, (oracle.world.start + oracle.world.end) // 2
    user, at = np.full(draws, 11), np.full(draws, middle)
    picked = np.bincount(_pick(np.random.default_rng(1), np.full(draws, leaf), user, at, catalogue, people), minlength=len(catalogue.leaf))
    chances = pick_chances(catalogue, people, user[:1], at[:1])[0] * (catalogue.leaf == leaf)
    assert chances.sum() == pytest.approx(1, abs=1e-5)
    assert (chances[catalogue.listed_at > middle] == 0).all()
    noise = np.sqrt(draws * chances * (1 - chances)) + 1
    assert (np.abs(picked - draws * chances) < 4.5 * noise).all()


def test_a_step_loses_nobody_and_goes_along_the_ring_first(oracle: ShopOracle):
    catalogue, people = oracle.world.catalogue, people_of(oracle.world, 0)
    user, at = np.array([3]), np.array([oracle.world.end])
    picks, wanted = pick_chances(catalogue, people, user, at), wanted_chances(people, user, at, oracle.world.start, oracle.world.end)
    here = np.zeros((1, len(catalogue.leaf)), np.float32)
    here[0, 5] = 1
    there = step_chances(catalogue, picks, wanted, catalogue.listed_at[None] <= at[:, None], here)[0]
    assert there.sum() == pytest.approx(1, abs=1e-5)
    for item, least in zip(catalogue.next_items[5], (0.55 * 0.6, 0.55 * 0.25, 0.55 * 0.15), strict=True):
        assert there[item] >= least - 1e-6


def test_seen_items_are_never_next(oracle: ShopOracle):
    catalogue, people = oracle.world.catalogue, people_of(oracle.world, 0)
    is_seen = np.random.default_rng(0).random((2, len(catalogue.leaf))) < 0.5
    found = next_new_chances(
        catalogue, people, np.array([1, 2]), np.full(2, oracle.world.end), is_seen, oracle.world.start, oracle.world.end
    )
    assert (found[is_seen] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=0.02)


def test_next_items_come_as_often_as_the_oracle_says(oracle: ShopOracle, asked: Asked, later: dict[str, pd.DataFrame]):
    """Where chances are true, the mean of `-log p` of what came is the mean entropy, and the ten likeliest hold as much as they say."""
    rows, targets = [], []
    for row, user in enumerate(asked.user_ids):
        new = next((item for item in (later[user]["item_id"] if user in later else ()) if item not in set(asked.item_ids[row])), None)
        if new is not None:
            rows.append(row)
            targets.append(int(new[1:]))
    part = np.array(rows)[:1200]
    own = Asked(*(column[part] if isinstance(column, np.ndarray) else [column[row] for row in part] for column in vars(asked).values()))
    chances = oracle.next_items(own, ITEMS)
    came = chances[np.arange(len(part)), targets[: len(part)]]
    entropy = -(chances * np.log(np.maximum(chances, 1e-12))).sum(axis=1)
    told = came > 1e-9  # all but items that were listed after the question
    assert told.mean() > 0.97
    surprise = -np.log(came[told])
    assert surprise.mean() == pytest.approx(entropy[told].mean(), abs=4 * surprise.std() / np.sqrt(told.sum()))
    best = np.sort(chances, axis=1)[:, -10:]
    assert (came >= best[:, 0]).mean() == pytest.approx(best.sum(axis=1).mean(), abs=4 * 0.43 / np.sqrt(len(part)))


def test_outcomes_happen_as_often_as_the_oracle_says(oracle: ShopOracle, asked: Asked, clean_shop: Shop):
    events = clean_shop.known_events.query("occurred_at >= @ASKED_AT")
    chances = oracle.outcomes(asked)
    for place, (days, kind) in enumerate([(7, "purchase"), (30, "purchase"), (7, None), (30, None)]):
        inside = events[events["occurred_at"] < ASKED_AT + pd.Timedelta(days=days)]
        users = inside["user_id"] if kind is None else inside.loc[inside["event_type"] == kind, "user_id"]
        happened = np.isin(asked.user_ids, users.unique()) ^ (kind is None)
        likely = chances[:, place] > np.median(chances[:, place])
        for half in (likely, ~likely):
            spread = np.sqrt((chances[half, place] * (1 - chances[half, place])).sum()) / half.sum()
            assert happened[half].mean() == pytest.approx(chances[half, place].mean(), abs=4 * spread + 0.01)


def test_traits_are_as_certain_as_tastes_allow(oracle: ShopOracle, clean_shop: Shop):
    truth = clean_shop.truth("users")
    for trait, at_least in (("gender", 0.98), ("age_band", 0.65), ("city_tier", 0.75)):
        values = sorted(truth[trait].unique())
        chances = oracle.trait_chances(truth["user_id"].to_numpy(object), trait, values)
        said = np.array(values)[chances.argmax(axis=1)]
        right = (said == truth[trait]).mean()
        assert right > at_least
        assert right == pytest.approx(chances.max(axis=1).mean(), abs=0.03)  # as often as it thinks


@pytest.mark.parametrize("outcome", ["visited", "converted"])
def test_effects_are_those_of_the_campaigns_truth(oracle: ShopOracle, clean_shop: Shop, outcome: str):
    truth = clean_shop.truth("campaign").query("campaign_id == 'spring'").reset_index(drop=True).iloc[:1500]
    at = clean_shop.table("campaign_exposures").query("campaign_id == 'spring'").set_index("user_id").loc[truth["user_id"], "assigned_at"]
    users = asked_at(clean_shop, truth["user_id"].to_numpy(object), at.to_numpy())
    found = oracle.effects(users, truth["campaign_id"].to_numpy(object), ["discount"], outcome)[:, 0]
    really = (truth[f"{outcome}_discount"] - truth[f"{outcome}_control"]).to_numpy()
    for part in np.array_split(np.argsort(found), 3):
        assert really[part].mean() == pytest.approx(found[part].mean(), abs=4 * max(really[part].std(), 0.05) / np.sqrt(len(part)))


def test_who_and_what_is_not_of_the_shop_is_told_apart(oracle: ShopOracle):
    assert (
        oracle.knows(np.array(["u000000", "u004999", "u005000", "somebody", "", "i000001"], object)).tolist() == [True, True] + [False] * 4
    )
    question = Asked(
        np.array(["u000001"], object), np.array([oracle.world.end - DAY]), [np.array(["elsewhere"])], [np.array(["view"])], [np.zeros(1)]
    )
    chances = oracle.next_items(question, np.array(["i000000", "elsewhere", "i999999"], object))
    assert (chances[0, 0] > 0, chances[0, 1], chances[0, 2]) == (True, 0, 0)


def test_the_true_risk_of_an_application_is_that_of_the_shop_delivered_by_the_same_seed_and_size(tmp_path: Path):
    size = {"users": 400, "items": 200, "events_per_user": 10, "days": 150, "dirt": 0}
    deliver("shop", None, tmp_path / "landing", seed=4, options=size)
    rows = read_table(tmp_path / "landing", "credit_applications").to_pandas().dropna(subset="outcome_at")
    found = true_credit_risk(4, size)
    kept = pd.read_parquet(tmp_path / "truth" / "credit.parquet")
    assert found.equals(kept[["application_id", "default_probability"]]) and set(rows["application_id"]) < set(found["application_id"])
    risk = rows["application_id"].map(found.set_index("application_id")["default_probability"])
    assert risk[rows["defaulted"].astype(bool)].mean() > risk[~rows["defaulted"].astype(bool)].mean() > 0
