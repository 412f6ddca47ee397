"""The budget rule: never over budget, never at a loss, more money never earns less, and the small cases by hand and by enumeration."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.budget import choose_offers

cents = st.integers(-500, 500).map(lambda n: n / 100)
tables = st.integers(1, 4).flatmap(
    lambda offers: st.tuples(
        st.lists(st.lists(cents, min_size=offers, max_size=offers), min_size=1, max_size=5),
        st.lists(st.integers(0, 300).map(lambda n: n / 100), min_size=offers, max_size=offers),
    )
)


def totals(profit: np.ndarray, cost: np.ndarray, chosen: np.ndarray) -> tuple[float, float]:
    taken = [(profit[user, offer], cost[offer]) for user, offer in enumerate(chosen) if offer >= 0]
    return sum(p for p, _ in taken), sum(c for _, c in taken)


def test_the_best_return_per_cost_is_served_first() -> None:
    profit = np.array([[4.0, 5.0], [3.0, 0.5], [-1.0, -2.0]])
    cost = np.array([1.0, 2.0])
    assert choose_offers(profit, cost, 1.0).tolist() == [0, -1, -1]
    assert choose_offers(profit, cost, 2.0).tolist() == [0, 0, -1]
    assert choose_offers(profit, cost, 3.0).tolist() == [1, 0, -1]  # one more unit lifts the first user to the dearer offer
    assert choose_offers(profit, cost, 99.0).tolist() == [1, 0, -1]


def test_a_free_offer_needs_no_budget() -> None:
    assert choose_offers(np.array([[2.0, 3.0]]), np.array([0.0, 1.0]), 0.0).tolist() == [0]


@settings(max_examples=200, deadline=None)
@given(tables, st.integers(0, 1000).map(lambda n: n / 100))
def test_budget_is_kept_nothing_is_given_at_a_loss_and_the_optimum_is_within_one_step(table: tuple, budget: float) -> None:
    profit, cost = np.array(table[0]), np.array(table[1])
    chosen = choose_offers(profit, cost, budget)
    earned, spent = totals(profit, cost, chosen)
    assert spent <= budget + 1e-6
    assert all(profit[user, offer] > 0 for user, offer in enumerate(chosen) if offer >= 0)
    plans = product(range(-1, len(cost)), repeat=len(profit))
    outcomes = (totals(profit, cost, np.array(plan)) for plan in plans)
    best = max(p for p, c in outcomes if c <= budget + 1e-9)
    assert best - earned <= max(0.0, profit.max()) + 1e-6


@settings(max_examples=200, deadline=None)
@given(tables, st.integers(0, 1000), st.integers(0, 1000))
def test_more_budget_never_earns_less(table: tuple, first: int, second: int) -> None:
    profit, cost = np.array(table[0]), np.array(table[1])
    low, high = sorted((first / 100, second / 100))
    assert totals(profit, cost, choose_offers(profit, cost, low))[0] <= totals(profit, cost, choose_offers(profit, cost, high))[0] + 1e-6


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must not be negative. Received budget -1.0"):
        choose_offers(np.zeros((1, 1)), np.zeros(1), -1.0)
