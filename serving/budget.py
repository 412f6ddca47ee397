"""Which offer each user gets within a budget, channel budgets and segment quotas, and what one more unit of budget would be worth.

A multiple-choice knapsack. Without quotas and channel budgets one walk over all users' efficient frontiers by falling return solves its
linear relaxation for every budget at once (Sinha and Zoltners 1979), so the plan is below the optimum by less than one user's best step.
With them, Lagrange multipliers are sought for each budget of a ladder that does not hang on the budget asked for (`budget_prices.py`), each
such plan is filled up by the same walk (`budget_steps.py`), and the best that fits is taken: the more budget, the more plans there are to
choose from, so more budget never earns less. Up to EXACT_USERS are solved exactly by HiGHS (`budget_exact.py`), since a step that does not
fit matters there.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

#: Rounding of sums: the most by which a budget may seem exceeded.
SLACK = 1e-6
EXACT_USERS = 60
#: Budgets of the ladder: so many halvings down from what would be spent at most, in so many steps each.
HALVINGS = 8
STEPS_A_HALVING = 4
#: Above so many users the ladder has one step a halving.
MANY_USERS = 20_000


class Infeasible(ValueError):
    """No plan keeps all limits; the message says which, and the way out."""


@dataclass(frozen=True)
class Limit:
    """A limit beside the budget, such as a channel's own: `uses` of it by each user and arm, `(users, arms)`, at `most` in sum."""

    name: str
    uses: np.ndarray
    most: float


@dataclass(frozen=True)
class Problem:
    """Whom to give which arm. An arm is an offer, or several at once; a user gets one or none.

    `value` is what is maximised and `cost` what the budget bounds, `(users, arms)`, costs not negative. `segment` is the place of each
    user's segment, `(users,)`; of segment s at least `least[s]` and at most `most[s]` users get an arm. An arm of negative value is only
    given where `least` demands it.
    """

    value: np.ndarray
    cost: np.ndarray
    budget: float
    segment: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    least: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    most: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        if self.value.shape != self.cost.shape or not (np.isfinite(self.value).all() and np.isfinite(self.cost).all()):
            raise ValueError(
                f"`value` and `cost` must be finite, one for each user and arm. Received {self.value.shape}, {self.cost.shape}."
            )
        lowest = float(self.cost.min(initial=0.0))
        if self.budget < 0 or lowest < 0:
            raise ValueError(f"`budget` and `cost` must not be negative. Received budget {self.budget}, lowest cost {lowest}.")
        if not len(self.segment):  # everybody is of one segment without a quota
            object.__setattr__(self, "segment", np.zeros(len(self.value), np.int64))
            object.__setattr__(self, "least", np.zeros(1, np.int64))
            object.__setattr__(self, "most", np.full(1, len(self.value), np.int64))
        sizes = np.bincount(self.segment, minlength=len(self.most))
        object.__setattr__(self, "most", np.minimum(self.most, sizes))
        if (self.least > self.most).any():
            short = int(np.argmax(self.least > self.most))
            raise Infeasible(f"A segment's least must be at most its users and its most. Segment {short} has {sizes[short]} users, "
                             f"least {self.least[short]}, most {self.most[short]}.")  # fmt: skip

    @cached_property
    def members(self) -> list[np.ndarray]:
        """The users of each segment."""
        order = np.argsort(self.segment, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.segment, minlength=len(self.most)))[:-1])

    @cached_property
    def has_quotas(self) -> bool:
        return bool((self.least > 0).any() or (self.most < [len(own) for own in self.members]).any())

    def total(self, table: np.ndarray, chosen: np.ndarray) -> float:
        """The sum of `table`, `(users, arms)`, over what is chosen, `(users,)`, -1 for none."""
        rows = np.flatnonzero(chosen >= 0)
        return float(table[rows, chosen[rows]].sum())

    def keeps(self, chosen: np.ndarray, budget: float | None = None) -> bool:
        """Whether what is chosen keeps every limit, of the budget the problem's or another."""
        counts = np.bincount(self.segment[chosen >= 0], minlength=len(self.most))
        return (
            self.total(self.cost, chosen) <= (self.budget if budget is None else budget) + SLACK
            and all(self.total(limit.uses, chosen) <= limit.most + SLACK for limit in self.limits)
            and bool(((counts >= self.least) & (counts <= self.most)).all())
        )


@dataclass(frozen=True)
class Prices:
    """What one more unit of each limit is worth: of the budget, of each of `limits`, and of a place in each segment, `(segments,)`.

    The rule that follows from them: a user gets the arm with the highest value less priced cost, where that is above the segment's price.
    """

    budget: float
    limits: tuple[float, ...]
    segments: np.ndarray

    def priced(self, value: np.ndarray, cost: np.ndarray, uses: tuple[np.ndarray, ...] = ()) -> np.ndarray:
        """Value less priced cost, `(users, arms)`."""
        left = value - self.budget * cost
        for price, table in zip(self.limits, uses, strict=True):
            if price:
                left -= price * table
        return left

    def choose(self, value: np.ndarray, cost: np.ndarray, segment: np.ndarray, uses: tuple[np.ndarray, ...] = ()) -> np.ndarray:
        """The arm of each user by the rule, -1 for none, `(users,)`."""
        left = self.priced(value, cost, uses)
        arm = left.argmax(axis=1)
        return np.where(left[np.arange(len(left)), arm] > self.segments[segment], arm, -1)


@dataclass(frozen=True)
class Solution:
    """The arm of each user, -1 for none, `(users,)`; its value and cost; the prices; a value that no plan exceeds; value by budget."""

    chosen: np.ndarray
    value: float
    cost: float
    prices: Prices
    bound: float
    curve: tuple[tuple[float, float], ...]


def solve(problem: Problem) -> Solution:
    """The plan; Infeasible where no plan keeps the limits. The same problem has the same plan."""
    from serving.budget_exact import exact
    from serving.budget_prices import at_least, bound, prices_at
    from serving.budget_steps import Walk

    if problem.has_quotas or problem.limits:
        chosen, curve = _climbed(problem, at_least(problem))
        prices = prices_at(problem, problem.budget)
    else:
        walk = Walk(problem, np.full(len(problem.value), -1))
        chosen, curve = walk.until(problem.budget), walk.curve()
        prices = Prices(walk.price(problem.budget), (), np.zeros(len(problem.most)))
    if len(problem.value) <= EXACT_USERS and (best := exact(problem)) is not None:
        chosen = best
    value = problem.total(problem.value, chosen)
    points = np.array(sorted([*curve, (problem.budget, value)]))
    points[:, 1] = np.maximum.accumulate(points[:, 1])
    highest = max(value, bound(problem, prices, problem.budget))
    return Solution(chosen, value, problem.total(problem.cost, chosen), prices, highest, tuple((float(x), float(y)) for x, y in points))


def _climbed(problem: Problem, least: np.ndarray) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """The best plan that a budget of the ladder leads to, starting from the cheapest that keeps the quotas, and value by budget."""
    from serving.budget_prices import prices_at, relaxed
    from serving.budget_steps import Walk

    best = Walk(problem, least).until(problem.budget)
    reached = problem.total(problem.value, best)
    curve = [(problem.total(problem.cost, least), problem.total(problem.value, least))]
    most = problem.total(problem.cost, relaxed(problem, prices_at(problem, np.inf)))
    steps = STEPS_A_HALVING if len(problem.value) <= MANY_USERS else 1
    for budget in most * 2.0 ** (-np.arange(HALVINGS * steps, -1, -1) / steps):
        chosen = relaxed(problem, prices_at(problem, budget))
        if not problem.keeps(chosen, budget):
            continue
        curve.append((float(budget), problem.total(problem.value, chosen)))
        if budget <= problem.budget:
            filled = Walk(problem, chosen).until(problem.budget)
            if (value := problem.total(problem.value, filled)) > reached:
                best, reached = filled, value
    return best, curve
