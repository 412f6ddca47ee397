"""The simulated shop's credit and fraud: what default depends on, who shares what, and when banks report."""

import numpy as np
import pandas as pd

from tests.sources.conftest import Shop

DAY = pd.Timedelta(days=1)


def behaviour(shop: Shop, users: pd.Series) -> pd.DataFrame:
    events = shop.known_events
    seen = events[events["event_type"].isin(["view", "cart", "purchase"])]
    night = (seen["occurred_at"].dt.hour < 5).groupby(seen["user_id"]).agg(["mean", "size"])
    counts = pd.crosstab(events["user_id"], events["event_type"])
    frame = pd.DataFrame({"night": night["mean"], "events": night["size"], "returned": counts["return"] / counts["purchase"].clip(lower=1)})
    return frame.reindex(users).reset_index(drop=True)


def test_default_depends_on_behaviour(clean_shop: Shop):
    truth = clean_shop.truth("credit")
    seen = behaviour(clean_shop, truth["user_id"])
    risk, active = np.log(truth["default_probability"] / (1 - truth["default_probability"])), (seen["events"] >= 40)
    assert active.sum() > 250
    assert np.corrcoef(seen.loc[active, "night"], risk[active])[0, 1] > 0.3
    assert np.corrcoef(seen.loc[active, "returned"], risk[active])[0, 1] > 0.1


def test_default_depends_on_covariates(clean_shop: Shop):
    rows = clean_shop.table("credit_applications").drop_duplicates("application_id")
    rows = rows.merge(clean_shop.truth("credit"), on=["application_id", "user_id"])
    risk = np.log(rows["default_probability"] / (1 - rows["default_probability"]))
    for column, low, high in (("x_other_debt", 0.25, 0.6), ("x_income", -0.4, -0.08), ("amount", 0.1, 0.5)):
        assert low < np.corrcoef(np.log(rows[column]), risk)[0, 1] < high, column
    by_work = risk.groupby(rows["x_employment"]).mean()
    assert by_work["none"] > by_work["temporary"] > by_work["permanent"]


def test_defaults_come_with_their_probabilities(clean_shop: Shop):
    truth = clean_shop.truth("credit")
    chance = truth["default_probability"]
    assert abs(truth["defaults"].sum() - chance.sum()) < 4 * np.sqrt((chance * (1 - chance)).sum())
    fifth = chance.rank(pct=True)
    assert truth["defaults"][fifth > 0.8].mean() > truth["defaults"][fifth < 0.4].mean() + 0.2
    assert 0.1 < truth["defaults"].mean() < 0.3


def test_the_outcome_of_an_application_is_delivered_again_two_months_later_if_the_window_is_long_enough(clean_shop: Shop):
    rows = clean_shop.table("credit_applications")
    asked, known = rows[rows["outcome_at"].isna()], rows[rows["outcome_at"].notna()]
    assert (asked["ds"] == asked["applied_at"].dt.date).all()
    assert asked["defaulted"].isna().all()
    assert (known["ds"] == known["outcome_at"].dt.date).all()
    assert (known["outcome_at"] - known["applied_at"] == 60 * DAY).all()
    due = clean_shop.truth("credit").query("outcome_at < '2024-04-01'").set_index("application_id")["defaults"]
    assert known.set_index("application_id")["defaulted"].astype(bool).sort_index().equals(due.sort_index().rename("defaulted"))
    assert 100 < len(known) < len(asked)
    said = known.set_index("application_id").drop(columns=["ds", "defaulted", "outcome_at"])
    assert said.equals(asked.set_index("application_id").loc[said.index, list(said)])


def test_chargebacks_arrive_weeks_late(clean_shop: Shop):
    late = clean_shop.table("chargebacks").merge(clean_shop.table("orders"), on="order_id", how="left", validate="one_to_one")
    days = (late["reported_at"] - late["placed_at"]) / DAY
    assert days.between(14, 45).all()
    assert days.mean() > 21
    assert (late["ds_x"] == late["reported_at"].dt.date).all()


def test_chargebacks_are_the_reported_frauds_of_the_truth(clean_shop: Shop):
    fraud, reported = clean_shop.truth("fraud"), clean_shop.table("chargebacks").set_index("order_id")["reported_at"]
    inside = fraud[fraud["reported_at"] < "2024-04-01"].set_index("order_id")["reported_at"]
    assert reported.sort_index().equals(inside.sort_index())
    assert len(inside) < len(fraud)
    kinds = fraud["kind"].value_counts()
    assert set(kinds.index) == {"ring", "stolen", "denial"}
    assert kinds.min() >= 15
    planned = fraud[fraud["kind"] != "denial"]
    assert 0.8 < planned["reported_at"].notna().mean() < 0.97


def test_rings_share_instruments_that_no_honest_order_uses(clean_shop: Shop):
    fraud = clean_shop.truth("fraud").query("kind == 'ring'")
    orders = clean_shop.table("orders").set_index("order_id")
    users = clean_shop.table("users").set_index("user_id")["registered_at"]
    for _, ring in fraud.groupby("ring"):
        own = orders.loc[ring["order_id"]]
        assert own["user_id"].nunique() >= 3
        assert own["device_id"].nunique() <= 2 and own["payment_id"].nunique() <= 3 and own["address_id"].nunique() <= 2
        assert users[own["user_id"]].max() - users[own["user_id"]].min() < 2 * DAY
        others = orders.drop(ring["order_id"])
        assert not others["device_id"].isin(own["device_id"]).any()
    assert fraud["ring"].nunique() == 5


def test_thieves_order_by_instruments_of_their_own_with_the_victims_payment(clean_shop: Shop):
    orders = clean_shop.table("orders").set_index("order_id")
    stolen = orders.loc[clean_shop.truth("fraud").query("kind == 'stolen'")["order_id"]]
    honest = orders.drop(clean_shop.truth("fraud")["order_id"])
    assert not honest["device_id"].isin(stolen["device_id"]).any()
    assert not honest["address_id"].isin(stolen["address_id"]).any()
    known = honest[honest["user_id"].isin(stolen["user_id"])]
    assert known["payment_id"].isin(stolen["payment_id"]).mean() > 0.5
    assert stolen.groupby("user_id")["placed_at"].agg(lambda at: at.max() - at.min()).max() < DAY / 2


def test_planned_frauds_order_dear_things(clean_shop: Shop):
    orders = clean_shop.table("orders").set_index("order_id")["amount"]
    planned = clean_shop.truth("fraud").query("kind != 'denial'")["order_id"]
    assert orders[planned].median() > 3 * orders.median()


def test_sharing_alone_is_no_proof(clean_shop: Shop):
    honest = clean_shop.table("orders").set_index("order_id").drop(clean_shop.truth("fraud")["order_id"]).dropna(subset=["user_id"])
    assert (honest.groupby("address_id")["user_id"].nunique() > 1).sum() > 100
    assert (honest.groupby("device_id")["user_id"].nunique() > 1).sum() > 30
    assert honest.groupby("payment_id")["user_id"].nunique().max() == 1
