"""The walk: from one plan to ever dearer ones, by the steps that return most. Its order does not hang on the budget, so a larger budget
walks on from where a smaller one stopped."""

from dataclasses import dataclass

import numpy as np

from serving.budget import SLACK, Problem

#: Users whose frontiers are drawn at once, which bounds memory.
BLOCK = 200_000
CURVE_POINTS = 24


@dataclass(frozen=True)
class _Steps:
    """Steps up users' frontiers, by falling return: `(steps,)` each. `entry` is whether it is the user's first arm."""

    user: np.ndarray
    arm: np.ndarray
    before: np.ndarray
    slope: np.ndarray
    cost: np.ndarray
    value: np.ndarray

    def at(self, rows: np.ndarray) -> "_Steps":
        return _Steps(*(column[rows] for column in vars(self).values()))


class Walk:
    """All steps up from a plan that keeps the limits beside the budget, those left out that would break one."""

    def __init__(self, problem: Problem, start: np.ndarray) -> None:
        self._start = start
        self._at = problem.total(problem.cost, start), problem.total(problem.value, start)
        steps = _by_return(_all_steps(problem, start))
        self._steps = steps.at(_allowed(problem, start, steps))
        self._cost = np.cumsum(self._steps.cost)

    def until(self, budget: float) -> np.ndarray:
        """The plan when the first step does not fit any more, `(users,)`."""
        chosen = self._start.copy()
        taken = slice(0, self._taken(budget))
        chosen[self._steps.user[taken]] = self._steps.arm[taken]  # of a user's steps the last one stays
        return chosen

    def price(self, budget: float) -> float:
        """What the first step that is not taken returns for a unit of cost; 0 where all are taken."""
        taken = self._taken(budget)
        return float(self._steps.slope[taken]) if taken < len(self._cost) else 0.0

    def curve(self) -> list[tuple[float, float]]:
        """Value by budget, from nothing to all steps."""
        if not len(self._cost):
            return [self._at]
        value, places = np.cumsum(self._steps.value), np.unique(np.linspace(0, len(self._cost) - 1, CURVE_POINTS).round().astype(int))
        return [self._at, *((self._at[0] + float(self._cost[n]), self._at[1] + float(value[n])) for n in places)]

    def _taken(self, budget: float) -> int:
        over = np.flatnonzero(self._cost > budget - self._at[0] + SLACK / 2)
        return int(over[0]) if len(over) else len(self._cost)


def _all_steps(problem: Problem, start: np.ndarray) -> _Steps:
    """Steps in the order of rounds, then users: a user's n-th step is of round n."""
    parts: list[list[_Steps]] = []
    for first in range(0, len(start), BLOCK):
        users = np.arange(first, min(first + BLOCK, len(start)))
        parts.append(_rounds(problem.value[users], problem.cost[users], start[users], first))
    rounds = max((len(part) for part in parts), default=0)
    ordered = [part[number] for number in range(rounds) for part in parts if number < len(part)]
    if not ordered:
        return _Steps(*(np.zeros(0, kind) for kind in (np.int64, np.int64, np.int64, float, float, float)))
    return _Steps(*(np.concatenate(column) for column in zip(*(vars(one).values() for one in ordered), strict=True)))


def _rounds(value: np.ndarray, cost: np.ndarray, start: np.ndarray, first: int) -> list[_Steps]:
    """Each user's next vertex of the concave hull of (cost, value) from where the user is, one step a round; ever smaller returns."""
    rows = np.arange(len(start))
    arm, is_in = start.copy(), start >= 0
    at_value = np.where(is_in, value[rows, start], 0.0)
    at_cost = np.where(is_in, cost[rows, start], 0.0)
    last, found = np.full(len(start), np.inf), []
    while len(rows):
        more, dearer = value[rows] - at_value[rows, None], cost[rows] - at_cost[rows, None]
        is_better = more > SLACK * 1e-3
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(is_better, more / dearer, -np.inf)
        is_free = is_better & (dearer <= 0)
        gets_free = np.asarray(is_free.any(axis=1))
        to = np.where(gets_free, np.where(is_free, more, -np.inf).argmax(axis=1), slope.argmax(axis=1))
        goes_on = np.asarray(is_better.any(axis=1))
        rows, to, gets_free = rows[goes_on], to[goes_on], gets_free[goes_on]
        slope = np.where(gets_free, np.inf, slope[np.flatnonzero(goes_on), to])
        last[rows] = np.minimum(last[rows], slope)
        moved_value, moved_cost = value[rows, to], cost[rows, to]
        found.append(_Steps(rows + first, to, arm[rows], last[rows], moved_cost - at_cost[rows], moved_value - at_value[rows]))
        arm[rows], at_value[rows], at_cost[rows] = to, moved_value, moved_cost
    return [part for part in found if len(part.user)]


def _by_return(steps: _Steps) -> _Steps:
    """By falling return; of the same return as they came, so that a user's steps stay in their order."""
    return steps.at(np.argsort(-steps.slope, kind="stable"))


def _allowed(problem: Problem, start: np.ndarray, steps: _Steps) -> np.ndarray:
    """Which steps keep segments' most and the limits beside the budget, `(steps,)`; with a step all later ones of its user fall."""
    is_barred = np.zeros(len(steps.user), bool)
    enters = np.flatnonzero(steps.before < 0)
    taken = np.bincount(problem.segment[start >= 0], minlength=len(problem.most))
    sizes = np.bincount(problem.segment, minlength=len(problem.most))
    room = problem.most - taken
    if bool(np.any(problem.most < sizes)):
        own = problem.segment[steps.user[enters]]
        order = np.argsort(own, kind="stable")
        place = np.empty(len(own), np.int64)
        place[order] = np.arange(len(own)) - np.searchsorted(own[order], own[order])
        is_barred[enters] = place >= room[own]
    for limit in problem.limits:
        left = np.where(steps.before < 0, 0.0, limit.uses[steps.user, steps.before])
        added = np.maximum(limit.uses[steps.user, steps.arm] - left, 0.0)
        over = np.flatnonzero(np.cumsum(added) > limit.most - problem.total(limit.uses, start) + SLACK / 2)
        if len(over):
            is_barred[over[0] :] |= added[over[0] :] > 0
    if is_barred.any():
        barred_from = np.full(len(start), len(steps.user))
        np.minimum.at(barred_from, steps.user[is_barred], np.flatnonzero(is_barred))
        is_barred = np.arange(len(steps.user)) >= barred_from[steps.user]
    return ~is_barred
