"""The planner: never over a limit, never at a loss, more money never earns less, and the small cases by hand, by enumeration and by
HiGHS."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import budget
from serving.budget import Infeasible, Limit, Problem, solve
from serving.budget_exact import linear_optimum

cents = st.integers(-300, 500).map(lambda n: n / 100)
costs = st.integers(0, 300).map(lambda n: n / 100)
money = st.integers(0, 800).map(lambda n: n / 100)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Up to five users, three arms, two segments with quotas, and a channel with a budget of its own."""
    users, arms = draw(st.integers(1, 5)), draw(st.integers(1, 3))

    def table(values: st.SearchStrategy[float]) -> np.ndarray:
        return np.array(draw(st.lists(st.lists(values, min_size=arms, max_size=arms), min_size=users, max_size=users)))

    value, cost = table(cents), table(costs)
    segment = np.array(draw(st.lists(st.integers(0, 1), min_size=users, max_size=users)))
    sizes = np.bincount(segment, minlength=2)
    most = np.array([draw(st.integers(0, int(size))) for size in sizes])
    least = np.array([draw(st.integers(0, int(one))) if draw(st.booleans()) else 0 for one in most])
    is_channel = np.array(draw(st.lists(st.booleans(), min_size=arms, max_size=arms)))
    limits = (Limit("mail", cost * is_channel, draw(money)),) if draw(st.booleans()) else ()
    return Problem(value, cost, draw(money), segment, least, most, limits)


def at(problem: Problem, more: float) -> Problem:
    return Problem(problem.value, problem.cost, problem.budget + more, problem.segment, problem.least, problem.most, problem.limits)


def best_by_enumeration(problem: Problem) -> float | None:
    """Every plan there is, each limit added up by hand."""
    users, arms = problem.value.shape
    best = None
    for plan in product(range(-1, arms), repeat=users):
        given_out = [(user, arm) for user, arm in enumerate(plan) if arm >= 0]
        counts = [sum(problem.segment[user] == segment for user, _ in given_out) for segment in range(len(problem.most))]
        if (
            sum(problem.cost[user, arm] for user, arm in given_out) <= problem.budget + 1e-9
            and all(sum(one.uses[user, arm] for user, arm in given_out) <= one.most + 1e-9 for one in problem.limits)
            and all(low <= count <= high for low, count, high in zip(problem.least, counts, problem.most, strict=True))
        ):
            value = sum(problem.value[user, arm] for user, arm in given_out)
            best = value if best is None else max(best, value)
    return best


@pytest.fixture(params=["exact", "by prices"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways in which problems are solved."""
    if request.param != "exact":
        monkeypatch.setattr(budget, "EXACT_USERS", 0)
    return str(request.param)


def plain(value: list[list[float]], cost: list[float], money: float) -> list[int]:
    return solve(Problem(np.array(value), np.broadcast_to(cost, np.shape(value)), money)).chosen.tolist()


def test_the_best_return_per_cost_is_served_first(way: str) -> None:
    value, cost = [[4.0, 5.0], [3.0, 0.5], [-1.0, -2.0]], [1.0, 2.0]
    assert plain(value, cost, 1.0) == [0, -1, -1]
    assert plain(value, cost, 2.0) == [0, 0, -1]
    assert plain(value, cost, 3.0) == [1, 0, -1]  # one more unit lifts the first user to the dearer offer
    assert plain(value, cost, 99.0) == [1, 0, -1]


def test_a_free_offer_needs_no_budget(way: str) -> None:
    assert plain([[2.0, 3.0]], [0.0, 1.0], 0.0) == [0]


def test_the_price_is_what_the_next_unit_of_budget_returns() -> None:
    problem = Problem(np.array([[4.0], [3.0], [1.0]]), np.ones((3, 1)), 1.0)
    assert [solve(at(problem, more)).prices.budget for more in (0.0, 1.0, 2.0)] == [3.0, 1.0, 0.0]
    assert solve(problem).curve == ((0.0, 0.0), (1.0, 4.0), (1.0, 4.0), (2.0, 7.0), (3.0, 8.0))


@settings(max_examples=60, deadline=None)
@given(problem=problems(), more=money)
def test_limits_are_kept_the_best_plan_is_found_and_more_budget_never_earns_less(problem: Problem, more: float) -> None:
    best = best_by_enumeration(problem)
    if best is None:
        with pytest.raises(Infeasible, match="Raise the budget or lower the quotas"):
            solve(problem)
        return
    found = solve(problem)
    assert problem.keeps(found.chosen)
    assert found.value == pytest.approx(best, abs=1e-5)
    assert found.bound >= best - 1e-6
    assert solve(at(problem, more)).value >= found.value - 1e-6


@settings(max_examples=60, deadline=None)
@given(problem=problems(), more=money)
def test_by_prices_alone_limits_are_kept_nobody_is_given_a_loss_and_more_budget_never_earns_less(problem: Problem, more: float) -> None:
    exact_users, budget.EXACT_USERS = budget.EXACT_USERS, 0
    try:
        found, richer = solve(problem), solve(at(problem, more))
    except Infeasible:
        return
    finally:
        budget.EXACT_USERS = exact_users
    assert problem.keeps(found.chosen)
    assert richer.value >= found.value - 1e-6
    best = best_by_enumeration(problem)
    assert best is not None
    assert found.value <= best + 1e-6 <= found.bound + 2e-6
    if not problem.least.any():
        given_out = np.flatnonzero(found.chosen >= 0)
        assert (problem.value[given_out, found.chosen[given_out]] > 0).all()


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_thousand_users_with_quotas_and_a_channel_are_within_a_percent_of_the_linear_optimum(share: float) -> None:
    draw = np.random.default_rng(3)
    cost = np.array([[0.5, 1.0, 2.0]]) * (1 + 0.3 * draw.random((1000, 1)))
    value = draw.gamma(1, 1.5, (1000, 1)) * np.array([[0.6, 1.2, 1.9]]) * draw.normal(1, 0.5, (1000, 3)) - cost
    segment = draw.integers(0, 4, 1000)
    limit = Limit("ad", np.where(np.arange(3) == 2, cost, 0.0), 60.0)
    problem = Problem(value, cost, share * 800, segment, np.array([30, 0, 0, 0]), np.array([999, 20, 999, 100]), (limit,))
    found, optimum = solve(problem), linear_optimum(problem)
    assert problem.keeps(found.chosen)
    assert 0.99 * optimum <= found.value <= optimum + 1e-6
    assert found.bound == pytest.approx(optimum, rel=1e-3)


def test_the_rule_of_the_prices_is_the_plan_itself() -> None:
    draw = np.random.default_rng(5)
    cost = draw.random((400, 2)) + 0.1
    value = draw.normal(0.5, 1, (400, 2))
    segment = draw.integers(0, 2, 400)
    problem = Problem(value, cost, 40.0, segment, np.zeros(2, int), np.array([30, 400]))
    found = solve(problem)
    by_rule = found.prices.choose(value, cost, segment)
    assert (by_rule == found.chosen).mean() > 0.98  # but for the last users that a leftover of the budget fits


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must not be negative. Received budget -1.0"):
        Problem(np.zeros((1, 1)), np.zeros((1, 1)), -1.0)
    with pytest.raises(ValueError, match="must be finite"):
        Problem(np.full((1, 1), np.nan), np.zeros((1, 1)), 1.0)
    with pytest.raises(Infeasible, match="Segment 0 has 1 users, least 2, most 1"):
        Problem(np.zeros((1, 1)), np.zeros((1, 1)), 1.0, np.zeros(1, int), np.array([2]), np.array([5]))
