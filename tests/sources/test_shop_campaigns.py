"""The simulated shop's campaigns: randomised as declared, outcomes as the events say, effects as the truth says."""

import numpy as np
import pandas as pd
import pytest

from tests.sources.conftest import Shop

ARMS = {
    "winter": {"control": (0.4, 0.0), "discount": (0.35, 2.0), "gift": (0.25, 3.0)},
    "spring": {"control": (0.4, 0.0), "discount": (0.3, 2.0), "free_shipping": (0.3, 1.2)},
}
CAMPAIGNS = pytest.mark.parametrize("campaign", sorted(ARMS))


def exposures(shop: Shop, campaign: str) -> pd.DataFrame:
    return shop.table("campaign_exposures").query("campaign_id == @campaign").reset_index(drop=True)


def truth(shop: Shop, campaign: str) -> pd.DataFrame:
    return shop.truth("campaign").query("campaign_id == @campaign").reset_index(drop=True)


def month_before(shop: Shop, midnight: pd.Timestamp) -> pd.DataFrame:
    events = shop.known_events
    return events[(events["occurred_at"] < midnight) & (events["occurred_at"] >= midnight - pd.Timedelta(days=30))]


@CAMPAIGNS
def test_arms_are_drawn_with_the_stated_propensities_in_every_segment(clean_shop: Shop, campaign: str):
    rows = exposures(clean_shop, campaign)
    declared = rows.groupby("treatment")[["propensity", "cost"]].agg(["min", "max"])
    for arm, (propensity, cost) in ARMS[campaign].items():
        assert declared.loc[arm].tolist() == [propensity, propensity, cost, cost]
        for _, part in truth(clean_shop, campaign).groupby("segment"):
            error = np.sqrt(propensity * (1 - propensity) / len(part))
            assert abs((part["treatment"] == arm).mean() - propensity) < 4 * error
    assert set(rows["treatment"]) == set(ARMS[campaign])


@CAMPAIGNS
def test_four_in_five_customers_are_assigned_and_all_agreed_to_offers(clean_shop: Shop, campaign: str):
    rows, users = exposures(clean_shop, campaign), clean_shop.table("users").set_index("user_id")
    assert users.loc[rows["user_id"], "consent_marketing"].all()
    assert 0.76 < len(rows) / (users["registered_at"] < rows["assigned_at"].min().normalize()).sum() < 0.83
    assert rows["user_id"].is_unique
    frauds = clean_shop.truth("fraud").query("kind != 'denial'")["user_id"]
    assert not rows["user_id"].isin(frauds).any()
    assert not rows["user_id"].isin(clean_shop.truth("bots")["user_id"]).any()


@CAMPAIGNS
def test_no_outcome_is_delivered_before_it_is_known(clean_shop: Shop, campaign: str):
    rows = exposures(clean_shop, campaign)
    assert (rows["outcome_at"] - rows["assigned_at"] == pd.Timedelta(days=14)).all()
    assert (rows["ds"] == rows["outcome_at"].dt.date).all()


@CAMPAIGNS
def test_outcomes_are_what_the_events_say(clean_shop: Shop, campaign: str):
    rows = exposures(clean_shop, campaign)
    joined = clean_shop.table("events").merge(rows[["user_id", "assigned_at", "outcome_at"]], on="user_id")
    joined = joined[(joined["occurred_at"] >= joined["assigned_at"]) & (joined["occurred_at"] < joined["outcome_at"])]
    bought = joined[joined["event_type"] == "purchase"]
    spend = (bought["quantity"] * bought["unit_price"]).groupby(bought["user_id"]).sum()
    later = exposures(clean_shop, "spring").set_index("user_id")["assigned_at"]  # a later offer may take the end of an order away
    is_alone = (rows["outcome_at"] <= rows["user_id"].map(later).fillna(pd.Timestamp.max)) | (campaign == "spring")
    assert is_alone.all()
    assert (rows["visited"] == rows["user_id"].isin(joined.loc[joined["event_type"] == "view", "user_id"])).all()
    assert (rows["converted"] == rows["user_id"].isin(bought["user_id"])).all()
    assert rows["user_id"].map(spend).fillna(0).sub(rows["spend"]).abs().max() < 0.01


@CAMPAIGNS
def test_the_observed_outcome_is_the_true_one_of_the_arm_that_was_taken(clean_shop: Shop, campaign: str):
    both = exposures(clean_shop, campaign).merge(truth(clean_shop, campaign), on=["user_id", "treatment"], validate="one_to_one")
    assert len(both) == len(exposures(clean_shop, campaign))
    for outcome in ("visited", "converted", "spend"):
        taken = np.select([both["treatment"] == arm for arm in ARMS[campaign]], [both[f"{outcome}_{arm}"] for arm in ARMS[campaign]])
        assert np.abs(taken - both[outcome].astype(float)).max() < 0.01


@CAMPAIGNS
def test_covariates_are_what_was_known_at_assignment(clean_shop: Shop, campaign: str):
    rows = exposures(clean_shop, campaign)
    midnight = rows["assigned_at"].min().normalize()
    before = clean_shop.known_events.query("occurred_at < @midnight and event_type not in ['return', 'rate']")
    last = rows["user_id"].map(before.groupby("user_id")["occurred_at"].max())
    assert rows["x_recency_days"].equals(np.floor((midnight - last) / pd.Timedelta(days=1)).rename("x_recency_days"))
    spent = (before["unit_price"] * before["quantity"]).groupby(before["user_id"]).sum()
    assert (rows["x_spend_before"] - rows["user_id"].map(spent).fillna(0)).abs().max() < 0.01
    assert set(rows["x_channel"]) == {"web", "phone", "app"}


@CAMPAIGNS
def test_segments_are_what_the_thirty_days_before_say(clean_shop: Shop, campaign: str):
    rows = truth(clean_shop, campaign)
    midnight = exposures(clean_shop, campaign)["assigned_at"].min().normalize()
    recent = month_before(clean_shop, midnight)
    counts = pd.crosstab(recent["user_id"], recent["event_type"]).reindex(rows["user_id"], fill_value=0).reset_index()
    own = {segment: counts[(rows["segment"] == segment).to_numpy()] for segment in rows["segment"].unique()}
    assert ((own["persuadable"]["cart"] > 0) & (own["persuadable"]["purchase"] == 0)).all()
    assert (own["sure_thing"]["purchase"] > 0).all()
    assert (own["lost_cause"]["view"] == 0).all()
    assert ((own["sleeping_dog"]["view"] > 1) & (own["sleeping_dog"][["cart", "favourite"]].sum(axis=1) == 0)).all()
    assert rows.groupby("segment").size().min() > 100


@CAMPAIGNS
def test_offers_help_persuadables_harm_sleeping_dogs_and_leave_the_rest(clean_shop: Shop, campaign: str):
    rows = truth(clean_shop, campaign)
    for offer in set(ARMS[campaign]) - {"control"}:
        mean = rows.groupby("segment")[[f"{name}_{arm}" for name in ("visited", "converted", "spend") for arm in (offer, "control")]].mean()
        visits, orders, money = (mean[f"{name}_{offer}"] - mean[f"{name}_control"] for name in ("visited", "converted", "spend"))
        assert visits["persuadable"] > 0.05
        assert orders["persuadable"] > 0.06
        assert money["persuadable"] > 10
        assert visits["sleeping_dog"] < -0.25
        assert orders["sleeping_dog"] < 0
        assert visits[["sure_thing", "lost_cause"]].abs().max() < 0.03
        assert orders[["sure_thing", "lost_cause"]].abs().max() < 0.03
    assert mean["converted_control"]["sure_thing"] > 2 * mean["converted_control"]["lost_cause"]
    absent = "gift" if campaign == "spring" else "free_shipping"
    assert rows[[f"adds_{absent}", f"spend_{absent}"]].isna().all().all()


@CAMPAIGNS
def test_the_declared_chance_of_an_added_visit_is_the_one_that_acts(clean_shop: Shop, campaign: str):
    """Of those whom nothing would have brought, a share `adds` comes; people by app are moved more than people by web."""
    rows = truth(clean_shop, campaign)
    silent = rows[(rows["visited_control"] == 0) & (rows["takes"] == 0)]
    for offer in set(ARMS[campaign]) - {"control"}:
        chance = silent[f"adds_{offer}"]
        assert abs(silent[f"visited_{offer}"].mean() - chance.mean()) < 4 * np.sqrt((chance * (1 - chance)).sum()) / len(silent)
        likely = chance > 0.3
        assert silent[f"visited_{offer}"][likely].mean() > silent[f"visited_{offer}"][~likely].mean() + 0.25
    channel = exposures(clean_shop, campaign).set_index("user_id").loc[rows["user_id"], "x_channel"].to_numpy()
    assert rows["adds_discount"][channel == "app"].mean() > 1.3 * rows["adds_discount"][channel == "web"].mean()


def test_a_plain_comparison_of_arms_finds_the_true_effects(clean_shop: Shop):
    both = clean_shop.table("campaign_exposures").merge(clean_shop.truth("campaign"), on=["campaign_id", "user_id", "treatment"])
    for (_, segment), part in both.groupby(["campaign_id", "segment"]):
        treated, control = part[part["treatment"] == "discount"], part[part["treatment"] == "control"]
        for outcome in ("visited", "converted"):
            seen = treated[outcome].mean() - control[outcome].mean()
            true = (part[f"{outcome}_discount"] - part[f"{outcome}_control"]).mean()
            error = np.sqrt(treated[outcome].astype(float).var() / len(treated) + control[outcome].astype(float).var() / len(control))
            assert abs(seen - true) < 4 * error + 1e-9, segment


@pytest.mark.slow
def test_a_simple_model_finds_whom_an_offer_moves(clean_shop: Shop):
    """Two logistic regressions on counts of the month before: of people sorted by them, the best third gains more, and the worst less."""
    from sklearn.linear_model import LogisticRegression

    rows = exposures(clean_shop, "spring").merge(truth(clean_shop, "spring"), on=["user_id", "treatment"])
    midnight = rows["assigned_at"].min().normalize()
    recent = month_before(clean_shop, midnight)
    counts = pd.crosstab(recent["user_id"], recent["event_type"]).reindex(rows["user_id"], fill_value=0).to_numpy()
    known = np.column_stack([np.log1p(counts), counts > 0])
    learns = np.arange(len(rows)) % 2 == 0
    chances = []
    for arm in ("discount", "control"):
        of_arm = (learns & (rows["treatment"] == arm)).to_numpy()
        chances.append(LogisticRegression(C=0.3, max_iter=1000).fit(known[of_arm], rows["visited"][of_arm]).predict_proba(known)[:, 1])
    asked = np.flatnonzero(~learns)
    order = asked[np.argsort(-(chances[0] - chances[1])[asked])]
    effect = (rows["visited_discount"] - rows["visited_control"]).to_numpy()
    third = len(order) // 3
    assert effect[order[:third]].mean() > effect[order].mean() + 0.02
    assert effect[order[-third:]].mean() < effect[order].mean() - 0.02
