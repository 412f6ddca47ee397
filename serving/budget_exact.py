"""The same problem by HiGHS (in scipy): exactly, for few users; and as a linear programme, whose value no plan exceeds."""

from typing import Any

import numpy as np

from serving.budget import Problem


def exact(problem: Problem) -> np.ndarray | None:
    """The best plan, `(users,)`, -1 for none; None where HiGHS finds none that keeps the limits to the last cent."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    users, arms = problem.value.shape
    if not users * arms:
        return np.full(users, -1)
    matrix, low, high = _rows(problem)
    found = milp(
        -problem.value.ravel(),
        constraints=LinearConstraint(matrix, low, high),
        bounds=Bounds(0, 1),
        integrality=np.ones(users * arms),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    given = found.x.reshape(users, arms)
    chosen = np.where(given.max(axis=1) > 0.5, given.argmax(axis=1), -1)
    return chosen if problem.keeps(chosen) else None


def linear_optimum(problem: Problem) -> float:
    """The value of the best plan in which a user may get parts of arms; ValueError where there is none."""
    from scipy.optimize import linprog
    from scipy.sparse import vstack

    matrix, low, high = _rows(problem)
    has_low = np.isfinite(low)
    rows, bounds = vstack([matrix, -matrix[np.flatnonzero(has_low)]]).tocsr(), np.concatenate([high, -low[has_low]])
    found = linprog(-problem.value.ravel(), A_ub=rows, b_ub=bounds, bounds=(0, 1), method="highs")
    if found.x is None:
        raise ValueError(f"A linear programme must have a solution. HiGHS said: {found.message}")
    return float(-found.fun)


def _rows(problem: Problem) -> tuple[Any, np.ndarray, np.ndarray]:
    """The limits as a sparse matrix over `users x arms`, and the least and most of each row."""
    from scipy.sparse import csr_matrix, vstack

    users, arms = problem.value.shape
    columns, user = np.arange(users * arms), np.repeat(np.arange(users), arms)
    ones = np.ones(users * arms)
    one_arm = csr_matrix((ones, (user, columns)), (users, users * arms))
    segments = csr_matrix((ones, (problem.segment[user], columns)), (len(problem.most), users * arms))
    sums = csr_matrix(np.stack([problem.cost.ravel(), *(limit.uses.ravel() for limit in problem.limits)]))
    endless = np.full(1 + len(problem.limits), -np.inf)
    low = np.concatenate([np.full(users, -np.inf), problem.least.astype(float), endless])
    high = np.concatenate([np.ones(users), problem.most.astype(float), [problem.budget], [limit.most for limit in problem.limits]])
    return vstack([one_arm, segments, sums]).tocsr(), low, high
