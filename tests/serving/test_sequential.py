"""Intervals that may be looked at daily: against the papers' formulas, and against simulated campaigns without an effect."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.roi_effect import Effect, effect_of, is_measurable
from serving.sequential import BEST_AT, Interval, always_valid, boundary, decide, next_information, p_value

ALPHA = 0.05
LOOKS = 60


def test_the_boundary_is_the_asymptotic_confidence_sequence_of_the_paper() -> None:
    """Waudby-Smith et al., eq. (10): s sqrt(2 (t r^2 + 1) / (t^2 r^2) log(sqrt(t r^2 + 1) / alpha)), with r best at BEST_AT; in errors
    s / sqrt(t)."""
    r2 = (-2 * math.log(ALPHA) + math.log(-2 * math.log(ALPHA) + 1)) / BEST_AT
    for t in (1.0, 7.0, 60.0):
        radius = math.sqrt(2 * (t * r2 + 1) / (t * t * r2) * math.log(math.sqrt(t * r2 + 1) / ALPHA))
        assert boundary(t, ALPHA) == pytest.approx(radius * math.sqrt(t))
    assert min((boundary(t, ALPHA), t) for t in range(1, 60))[1] == pytest.approx(BEST_AT, abs=2)


@settings(deadline=None)
@given(z=st.floats(-8, 8), information=st.floats(0.5, 500), alpha=st.floats(0.001, 0.3))
def test_the_p_value_is_below_alpha_exactly_where_the_interval_leaves_out_zero(z: float, information: float, alpha: float) -> None:
    interval = always_valid(z, 1.0, information, alpha)
    if abs(abs(z) - boundary(information, alpha)) > 1e-6:
        assert (p_value(z, information, alpha) < alpha) == (interval.low > 0 or interval.high < 0)


def test_sixty_looks_leave_out_the_truth_less_often_than_promised_and_a_fixed_test_far_more_often() -> None:
    """Users who come one after another: the mean of n draws, looked at after every day."""
    z = np.cumsum(np.random.default_rng(3).normal(size=(4000, LOOKS)), axis=1) / np.sqrt(np.arange(1, LOOKS + 1))
    reach = np.array([boundary(float(n), ALPHA) for n in range(1, LOOKS + 1)])
    assert (np.abs(z) > reach).any(axis=1).mean() < ALPHA
    assert (np.abs(z) > 1.96).any(axis=1).mean() > 0.3


@pytest.mark.parametrize("kind", ["spend", "conversion"])
def test_a_campaign_whose_users_are_all_in_from_the_first_day_errs_no_more_often(kind: str) -> None:
    """One in five is held out; some buy often and others hardly ever, the same people every day, so that looks hang together."""
    rng, wrong, fixed, campaigns, looks, users = np.random.default_rng(11), 0, 0, 150, 20, 700
    for _ in range(campaigns):
        is_treated = rng.random(users) < 0.8
        rate, outcome = rng.gamma(0.5, 0.3, users), np.zeros(users)
        last: Effect | None = None
        information, is_wrong, is_fixed = 1.0, False, False
        for _ in range(looks):
            bought = rng.poisson(rate)
            outcome = outcome + bought if kind == "spend" else np.maximum(outcome, bought > 0)
            if not is_measurable(outcome, is_treated):
                continue
            now = effect_of(outcome, is_treated, np.zeros(users, int))
            information = next_information(information, now.correlation(last)) if last else 1.0
            last = now
            interval = always_valid(now.estimate, now.standard_error, information, ALPHA)
            is_wrong |= interval.low > 0 or interval.high < 0
            is_fixed |= abs(now.estimate) > 1.96 * now.standard_error
        wrong, fixed = wrong + is_wrong, fixed + is_fixed
    assert wrong / campaigns < ALPHA
    assert fixed / campaigns > 2 * ALPHA


def test_information_of_users_who_come_one_after_another_is_their_number() -> None:
    """Means of the first s and the first t of the same draws correlate by sqrt(s / t)."""
    information = 1.0
    for n in range(2, 40):
        information = next_information(information, math.sqrt((n - 1) / n))
    assert information == pytest.approx(39)
    assert next_information(4.0, 1.0) == 4.0
    assert next_information(4.0, -0.3) == pytest.approx(40.0)


@pytest.mark.parametrize(
    ("ends", "action"),
    [((-3, -1), "stop_harm"), ((1, 3), "stop_benefit"), ((-3, 0.5), "stop_futility"), ((-3, 5), "go_on"), ((0.2, 0.5), "stop_benefit")],
)
def test_the_advice_follows_from_where_the_interval_lies(ends: tuple[float, float], action: str) -> None:
    assert decide(Interval(sum(ends) / 2, *ends), worthwhile=1.0) == action
    assert decide(None, worthwhile=1.0) == "go_on"
