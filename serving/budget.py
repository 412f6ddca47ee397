"""Which offer each user gets within a budget: greedy on the efficient frontier of every user (Sinha and Zoltners 1979, The multiple-choice
knapsack problem). It solves the linear relaxation, so the profit is below the optimum by less than one user's best step."""

from itertools import pairwise

import numpy as np


def choose_offers(profit: np.ndarray, cost: np.ndarray, budget: float) -> np.ndarray:
    """The offer of every user, shape `(users,)`: a column of `profit`, or -1 for none.

    `profit` is the expected incremental profit after the offer's cost, shape `(users, offers)`; `cost` is what each offer costs, shape
    `(offers,)`, not negative; `budget` bounds the summed cost. No offer is given that loses money. The steps are taken in one fixed order
    until the first that does not fit, so more budget never gives less profit. Cost: `users x offers` sorted once.
    """
    if budget < 0 or (cost < 0).any():
        raise ValueError(f"`budget` and `cost` must not be negative. Received budget {budget}, cost {cost.tolist()}.")
    steps = [step for user in range(len(profit)) for step in _frontier(profit[user], cost, user)]
    steps.sort(key=lambda step: (-step[0], step[1], step[2]))  # best return first; ties by user, then by cost
    chosen = np.full(len(profit), -1, dtype=np.int64)
    left = budget
    for _, user, extra_cost, offer in steps:
        if extra_cost > left + 1e-9:
            break
        left -= extra_cost
        chosen[user] = offer
    return chosen


def _frontier(profit: np.ndarray, cost: np.ndarray, user: int) -> list[tuple[float, int, float, int]]:
    """`(return, user, extra cost, offer)` of each step up the concave hull of one user's (cost, profit) points, from "no offer" on."""
    order = sorted(range(len(cost)), key=lambda offer: (cost[offer], -profit[offer]))
    hull: list[tuple[float, float, int]] = [(0.0, 0.0, -1)]
    for offer in order:
        point = (float(cost[offer]), float(profit[offer]), offer)
        if point[1] <= hull[-1][1]:
            continue
        while len(hull) > 1 and _slope(hull[-2], point) >= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(point)
    return [(_slope(low, high), user, high[0] - low[0], high[2]) for low, high in pairwise(hull)]


def _slope(low: tuple[float, float, int], high: tuple[float, float, int]) -> float:
    return np.inf if high[0] == low[0] else (high[1] - low[1]) / (high[0] - low[0])
