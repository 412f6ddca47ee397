"""The accounts of a campaign, recomputed by hand and by loops."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.roi import ALL, Line, Looks, Terms, account, decide_at
from serving.roi_effect import effect_of, is_measurable, strata_of
from serving.sequential import Interval, always_valid

AT = datetime.fromisoformat("2024-03-11")
TERMS = Terms(0.5, 14, {"coupon": 1.0, "mail": 0.25}, {"coupon": 2.0}, {"coupon": 300.0, "mail": 10.0})


def campaign(users: int = 900, seed: int = 1) -> pd.DataFrame:
    """Two offers, a quarter held out; the coupon adds purchases, and who bought before buys again."""
    rng = np.random.default_rng(seed)
    offer = rng.choice(["coupon", "mail"], users)
    is_treated = rng.random(users) < 0.75
    before = rng.poisson(1.0, users).astype(float)
    purchases = rng.poisson(0.3 + 0.5 * before + 0.5 * (is_treated & (offer == "coupon"))).astype(float)
    return pd.DataFrame(
        {
            "user_id": [f"u{n:04d}" for n in range(users)],
            "segment": rng.choice(["quiet", "lively"], users),
            "intended_offer": offer,
            "arm": np.where(is_treated, offer, "control"),
            "propensity": np.where(is_treated, 0.75, 0.25),
            "assigned_at": pd.Timestamp("2024-03-01 09:00"),
            "is_sent": is_treated,
            "cost": np.nan,
            "visits": purchases + rng.poisson(1.0, users),
            "purchases": purchases,
            "spend": 10.0 * purchases,
            "visits_before": before,
            "purchases_before": before,
            "spend_before": 10.0 * before,
        }
    )


def lines(users: pd.DataFrame, at: datetime = AT) -> dict[str, Line]:
    return {line.offer: line for line in account(users, TERMS, at, Looks())}


def test_the_stratified_difference_and_its_error_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    outcome, is_treated, strata = rng.gamma(1.0, 5.0, 300), rng.random(300) < 0.7, rng.integers(0, 3, 300)
    estimate, variance = 0.0, 0.0
    for stratum in range(3):
        treated, control = (outcome[(strata == stratum) & (is_treated == side)] for side in (True, False))
        weight = len(treated) / is_treated.sum()
        estimate += weight * (treated.mean() - control.mean())
        variance += weight**2 * (treated.var(ddof=1) / len(treated) + control.var(ddof=1) / len(control))
    found = effect_of(outcome, is_treated, strata)
    assert (found.estimate, found.standard_error) == (pytest.approx(estimate), pytest.approx(variance**0.5))
    plain = outcome[is_treated].var(ddof=1) / is_treated.sum() + outcome[~is_treated].var(ddof=1) / (~is_treated).sum()
    assert found.plain_error == pytest.approx(plain**0.5)


def test_what_users_did_before_takes_out_the_variance_that_it_foretells_and_nothing_of_the_effect() -> None:
    """CUPED: with correlation r between before and outcome the variance falls by r^2."""
    rng = np.random.default_rng(5)
    before = rng.normal(size=20_000)
    is_treated = rng.random(20_000) < 0.5
    outcome = 0.8 * before + 0.6 * rng.normal(size=20_000) + 0.1 * is_treated
    found = effect_of(outcome, is_treated, np.zeros(20_000, int), before[:, None])
    assert found.variance_reduction == pytest.approx(0.8**2, abs=0.02)
    assert abs(found.estimate - 0.1) < 3 * found.standard_error < 0.03
    assert abs(effect_of(outcome, is_treated, np.zeros(20_000, int)).estimate - 0.1) < 3 * found.plain_error


def test_segments_too_small_to_be_compared_are_put_together() -> None:
    segment = np.array(["a"] * 60 + ["b"] * 12 + ["c"] * 12 + ["d"] * 40)
    is_treated = np.arange(124) % 2 == 0
    assert len(np.unique(strata_of(segment, is_treated))) == 3  # b and c have six in each arm, together twelve
    alone = strata_of(segment[:72], is_treated[:72])
    assert len(np.unique(alone)) == 1  # b by itself is still too small: it goes to the largest
    assert set(strata_of(segment[60:72], is_treated[60:72])) == {0}


def test_facts_are_counted_and_costs_added() -> None:
    users = campaign()
    told, treated = lines(users), users[users["arm"] == "coupon"]
    coupon, redeemed = told["coupon"], int((treated["purchases"] > 0).sum())
    assert (coupon.planned, coupon.sent, coupon.redeemed) == (len(treated), len(treated), redeemed)
    assert coupon.holdout == ((users["intended_offer"] == "coupon") & (users["arm"] == "control")).sum()
    assert (coupon.contact_cost, coupon.redemption_cost, coupon.cost) == (len(treated), 2.0 * redeemed, len(treated) + 2.0 * redeemed)
    assert coupon.elapsed == pytest.approx(10 / 14)
    assert told["mail"].redeemed == 0  # nothing is to be redeemed there
    assert told[ALL].planned == told["coupon"].planned + told["mail"].planned
    assert (told[ALL].cost, told[ALL].expected_profit) == (pytest.approx(told["coupon"].cost + told["mail"].cost), 310.0)


def test_the_cost_that_the_shop_reported_stands_for_the_planned_one() -> None:
    users = campaign()
    users.loc[users["arm"] == "coupon", "cost"] = 3.5
    users.loc[users["arm"] == "mail", "is_sent"] = False
    told = lines(users)
    assert told["coupon"].contact_cost == 3.5 * told["coupon"].sent
    assert (told["mail"].sent, told["mail"].contact_cost, told["mail"].profit, told["mail"].action) == (0, 0.0, None, "go_on")


def test_only_who_was_sent_an_offer_can_have_redeemed_it() -> None:
    users = campaign()
    gone = users.loc[users["arm"] == "coupon"].index[:100]
    before = lines(users)["coupon"].redeemed
    users.loc[gone, "is_sent"] = False
    assert lines(users)["coupon"].redeemed == before - (users.loc[gone, "purchases"] > 0).sum()


def test_profit_is_the_margin_gained_less_what_was_paid_and_return_its_share_of_the_cost() -> None:
    users = campaign()
    coupon = lines(users)["coupon"]
    own = users[users["intended_offer"] == "coupon"]
    is_treated = (own["arm"] != "control").to_numpy()
    margin = (0.5 * own["spend"] - 2.0 * (is_treated & (own["purchases"] > 0))).to_numpy()
    strata = (own["segment"] == "quiet").to_numpy(int)
    naive = effect_of(margin, is_treated, strata, own[["visits_before", "purchases_before", "spend_before"]].to_numpy())
    interval = always_valid(naive.estimate, naive.standard_error, 1.0, 0.025).times(int(is_treated.sum()))  # two offers share 5 %
    assert coupon.profit is not None and coupon.roi is not None
    for end in ("mean", "low", "high"):
        assert getattr(coupon.profit, end) == pytest.approx(getattr(interval, end) - coupon.contact_cost)
        assert getattr(coupon.roi, end) == pytest.approx(getattr(coupon.profit, end) / coupon.cost)
    assert coupon.gains["spend"].variance_reduction > 0.1
    assert coupon.gains["conversions"].total.mean == pytest.approx(coupon.gains["conversions"].per_user.mean * coupon.planned)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    users = campaign(300)
    assert account(users, TERMS, AT, Looks()) == account(users.sample(frac=1, random_state=seed), TERMS, AT, Looks())


def test_too_few_users_tell_nothing_and_nothing_is_advised() -> None:
    few = campaign(90)
    told = lines(few)["coupon"]
    assert (told.gains, told.profit, told.roi, told.p_value, told.action) == ({}, None, None, None, "go_on")
    assert not is_measurable(np.ones(40), np.arange(40) < 30)


def test_users_who_come_later_are_left_out_until_they_are_in() -> None:
    users = campaign()
    users.loc[::2, "assigned_at"] = pd.Timestamp("2024-03-20")
    here = users.iloc[1::2]
    told, naive = lines(users)["coupon"], lines(here)["coupon"]
    assert told.gains["spend"].per_user == naive.gains["spend"].per_user
    assert told.planned > naive.planned


@pytest.mark.parametrize(
    ("gross", "elapsed", "action"),
    [
        ((-40, 20), 0.1, "go_on"),  # the cost of 100 is paid, the gain still comes: a loss so far is no harm
        ((-40, -5), 0.1, "stop_harm"),  # users spend less than those held out
        ((101, 300), 0.1, "stop_benefit"),
        ((-40, 20), 0.5, "stop_futility"),  # at the best pace 40 in the end, against a cost of 100
        ((-40, 90), 1.0, "stop_harm"),  # in the end profit decides
        ((50, 150), 1.0, "undecided"),
        ((50, 110), 1.0, "stop_futility"),
    ],
)
def test_the_cost_comes_first_and_the_gain_later(gross: tuple[float, float], elapsed: float, action: str) -> None:
    assert decide_at(Interval(sum(gross) / 2, *gross), 100.0, elapsed, worthwhile=20.0) == action
