"""The delay of reports, seen through a window that hides the long ones, and what an order without a report is worth."""

import numpy as np
import pytest

from training.fraud_labels import Delays, estimate_delays


def test_what_the_window_hides_is_put_back_by_hand() -> None:
    """Three orders are 30 days old and show delays of 10, 20 and 30; two are 15 days old and can show only the short one, 10.

    Down from the longest: of the three orders that could show 30 (30 days old), one does: F(20) = 2/3. Of the two reports of no more than
    20 whose orders could show 20, one took 20: F(10) = 2/3 * 1/2. All three reports of 10 stand below.
    """
    found = estimate_delays(np.array([10.0, 20.0, 30.0, 10.0, 10.0]), np.array([30.0, 30.0, 30.0, 15.0, 15.0]))
    assert found.days.tolist() == [10, 20, 30]
    assert found.share.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert found.maturity(np.array([5.0, 10.0, 29.0, 31.0])).tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert (found.wait(0.5), found.wait(0.9), found.wait(1.0)) == (20, 30, 30)


def test_the_estimate_finds_the_true_distribution_where_the_seen_delays_do_not() -> None:
    generator = np.random.default_rng(5)
    delay, age = generator.uniform(14, 45, 6000), generator.uniform(0, 60, 6000)
    seen = delay <= age
    found = estimate_delays(delay[seen], age[seen])
    at = np.array([20.0, 25.0, 30.0, 35.0, 40.0])
    truth = (at - 14) / 31
    plain = np.array([(delay[seen] <= day).mean() for day in at])
    assert np.abs(found.maturity(at) - truth).max() < 0.05
    assert np.abs(plain - truth).max() > 0.1


def test_maturity_as_weight_gives_the_true_odds_where_counting_does_not() -> None:
    """Of 200,000 orders 2 % are frauds, each of a random age; the odds of weighted counts are those of all frauds."""
    generator = np.random.default_rng(6)
    is_fraud, age = generator.random(200_000) < 0.02, generator.uniform(0, 50, 200_000)
    delay = generator.uniform(14, 45, 200_000)
    is_seen = is_fraud & (delay <= age)
    maturity = Delays(np.linspace(14, 45, 3101), np.linspace(0, 1, 3101)).maturity(age)
    weighted = is_seen.sum() / maturity[~is_seen].sum()
    assert weighted == pytest.approx(0.02 / 0.98, rel=0.05)
    assert is_seen.sum() / (~is_seen).sum() < 0.5 * 0.02 / 0.98


def test_without_a_report_nothing_is_ripe() -> None:
    found = estimate_delays(np.array([]), np.array([]))
    assert found.maturity(np.array([1.0, 400.0])).tolist() == [0, 0]
    assert np.isnan(found.wait(0.9))
