"""Lagrange multipliers of a plan's limits: what one more unit of each is worth, and the plan that follows from them.

Segments' quotas need no search: within a segment the users with the highest priced value are taken. The multipliers of the budget and of
the limits beside it are found one after the other by bisection, on a sample where there are many users, and raised until everybody's plan
fits.
Whatever the multipliers, value less priced cost plus the priced limits bounds the value of every plan from above (weak duality).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from serving.budget import SLACK, Infeasible, Limit, Prices, Problem

HALVINGS = 40
ROUNDS = 6
#: Users on whom multipliers are sought.
SAMPLE = 10_000
#: By how much multipliers rise where the plan of everybody does not fit yet, and how often.
RISE, RISES = 1.01, 120


def relaxed(problem: Problem, prices: Prices) -> np.ndarray:
    """The arm of each user by the prices of the budget and the limits, -1 for none, `(users,)`; quotas are kept by taking the best."""
    arm, score = _scored(problem, prices)
    chosen = np.where(score > 0, arm, -1)
    for segment, own in _binding(problem, score):
        best = _best(score[own], _wanted(problem, segment, score[own]))
        chosen[own] = np.where(best, arm[own], -1)
    return chosen


def prices_at(problem: Problem, budget: float) -> Prices:
    """The lowest prices found at which the plan keeps the budget and every limit."""
    part = _sample(problem)
    share = len(part.value) / max(len(problem.value), 1)
    prices = _sought(part, budget * share)
    for _ in range(RISES):
        chosen = relaxed(problem, prices)
        if problem.keeps(chosen, budget):
            break
        prices = _raised(problem, prices, chosen, budget)
    return replace(prices, segments=_segment_prices(problem, prices))


def bound(problem: Problem, prices: Prices, budget: float) -> float:
    """A value that no plan within the limits exceeds."""
    _, score = _scored(problem, prices)
    total = score[score > 0].sum()
    for segment, own in _binding(problem, score):
        of_segment = score[own]
        total += of_segment[_best(of_segment, _wanted(problem, segment, of_segment))].sum() - of_segment[of_segment > 0].sum()
    priced = prices.budget * budget if prices.budget else 0.0  # an endless budget has no price
    return float(total + priced + sum(price * limit.most for price, limit in zip(prices.limits, problem.limits, strict=True)))


def at_least(problem: Problem) -> np.ndarray:
    """The cheapest plan found that keeps the quotas and gives nobody else anything, `(users,)`; Infeasible where it does not fit."""
    needed = replace(problem, value=-problem.cost - SLACK, most=problem.least)
    chosen = relaxed(needed, prices_at(needed, np.inf))
    if not problem.keeps(chosen):
        over = [one.name for one in problem.limits if problem.total(one.uses, chosen) > one.most + SLACK]
        spent = problem.total(problem.cost, chosen)
        raise Infeasible(
            f"What the quotas demand must fit the budget. At least it costs {spent:.2f} of {problem.budget:.2f}"
            + (f", and more than there is of {', '.join(over)}" if over else "")
            + ". Raise the budget or lower the quotas."
        )
    return chosen


def _scored(problem: Problem, prices: Prices) -> tuple[np.ndarray, np.ndarray]:
    left = prices.priced(problem.value, problem.cost, tuple(limit.uses for limit in problem.limits))
    arm = left.argmax(axis=1)
    return arm, left[np.arange(len(left)), arm]


def _binding(problem: Problem, score: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Segments whose quota is not kept by taking whoever has a positive score, and their users."""
    if not problem.has_quotas:
        return []
    counts = np.bincount(problem.segment[score > 0], minlength=len(problem.most))
    return [(int(one), problem.members[one]) for one in np.flatnonzero((counts > problem.most) | (counts < problem.least))]


def _wanted(problem: Problem, segment: int, score: np.ndarray) -> int:
    return int(np.clip((score > 0).sum(), problem.least[segment], problem.most[segment]))


def _best(score: np.ndarray, count: int) -> np.ndarray:
    """Whether each is among the `count` highest."""
    is_best = np.zeros(len(score), bool)
    if count:
        is_best[np.argpartition(-score, count - 1)[:count]] = True
    return is_best


def _segment_prices(problem: Problem, prices: Prices) -> np.ndarray:
    """Between the last score that is taken and the first that is not, where a quota binds; else 0."""
    _, score = _scored(problem, prices)
    found = np.zeros(len(problem.most))
    for segment, own in _binding(problem, score):
        falling, count = -np.sort(-score[own]), _wanted(problem, segment, score[own])
        last = falling[count - 1] if count else np.inf
        first = falling[count] if count < len(falling) else -np.inf
        found[segment] = first if np.isfinite(first) else last - SLACK
    return found


def _sample(problem: Problem) -> Problem:
    """Users evenly drawn, with the limits shrunk alike."""
    users = len(problem.value)
    if users <= SAMPLE:
        return problem
    rows = np.linspace(0, users - 1, SAMPLE).round().astype(np.int64)
    share, segment = SAMPLE / users, problem.segment[rows]
    sizes = np.bincount(segment, minlength=len(problem.most))
    most = np.minimum(np.ceil(problem.most * share).astype(np.int64), sizes)
    limits = tuple(Limit(one.name, one.uses[rows], one.most * share) for one in problem.limits)
    least = np.minimum(np.floor(problem.least * share).astype(np.int64), most)
    return Problem(problem.value[rows], problem.cost[rows], 0.0, segment, least, most, limits)


def _sought(problem: Problem, budget: float) -> Prices:
    """One multiplier after the other, each the lowest at which its own limit is kept, until none moves."""
    prices = Prices(0.0, (0.0,) * len(problem.limits), np.zeros(len(problem.most)))
    for _ in range(ROUNDS if problem.limits else 1):
        before = prices
        if np.isfinite(budget):
            prices = replace(prices, budget=_lowest(_fits(problem, prices, budget)))
        for place, limit in enumerate(problem.limits):
            prices = _with(prices, place, _lowest(_keeps(problem, prices, place, limit)))
        if np.allclose([before.budget, *before.limits], [prices.budget, *prices.limits], rtol=1e-3, atol=1e-9):
            break
    return prices


def _fits(problem: Problem, prices: Prices, budget: float) -> Callable[[float], bool]:
    return lambda x: problem.total(problem.cost, relaxed(problem, replace(prices, budget=x))) <= budget + SLACK


def _keeps(problem: Problem, prices: Prices, place: int, limit: Limit) -> Callable[[float], bool]:
    return lambda x: problem.total(limit.uses, relaxed(problem, _with(prices, place, x))) <= limit.most + SLACK


def _with(prices: Prices, place: int, price: float) -> Prices:
    return replace(prices, limits=(*prices.limits[:place], price, *prices.limits[place + 1 :]))


def _lowest(is_kept: Callable[[float], bool]) -> float:
    """The lowest price at which a limit is kept, by bisection; a price so high that nothing changes any more where it never is."""
    if is_kept(0.0):
        return 0.0
    low, high = 0.0, 1e-3
    while not is_kept(high):
        low, high = high, 4 * high
        if high > 1e9:
            return high
    for _ in range(HALVINGS):
        if high - low <= 1e-6 * high:
            break
        middle = (low + high) / 2
        low, high = (low, middle) if is_kept(middle) else (middle, high)
    return high


def _raised(problem: Problem, prices: Prices, chosen: np.ndarray, budget: float) -> Prices:
    """The price of every limit that is broken, a little higher."""
    if problem.total(problem.cost, chosen) > budget + SLACK:
        prices = replace(prices, budget=max(prices.budget * RISE, 1e-6))
    for place, limit in enumerate(problem.limits):
        if problem.total(limit.uses, chosen) > limit.most + SLACK:
            prices = _with(prices, place, max(prices.limits[place] * RISE, 1e-6))
    return prices
