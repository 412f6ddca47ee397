"""The effect of an offer from its randomised holdout: a difference of means within segments, sharpened by what users did before.

Within every segment the arms are compared by themselves and the differences weighted by the segment's treated users, so that the effect
times the treated is what the offer brought (post-stratification). What a
user spent before the campaign, which no offer can have moved, takes out of the outcome what it foretells (CUPED: Deng, Xu, Kohavi and
Walker 2013), by one regression within segments and arms. Each user's part in the estimate is kept, since two looks at the same users
correlate by it.
"""

from dataclasses import dataclass

import numpy as np

from serving.sequential import LEAST_OUTCOMES, LEAST_USERS

#: A segment with fewer users in either arm is put together with the other such segments.
LEAST_IN_STRATUM = 10


@dataclass(frozen=True)
class Effect:
    """Offer less holdout, per treated user: the estimate and its standard error; `parts` `(users,)` are the users' parts in its error.

    `plain_error` is the standard error of the bare difference of means; `variance_reduction` is what the adjustment saves of its square.
    """

    estimate: float
    standard_error: float
    plain_error: float
    parts: np.ndarray

    @property
    def variance_reduction(self) -> float:
        return 1 - (self.standard_error / self.plain_error) ** 2

    def correlation(self, earlier: "Effect") -> float:
        """Of the errors of two looks at the same users; those who were not yet in have no part in the earlier one."""
        return float(self.parts @ earlier.parts / np.sqrt((self.parts @ self.parts) * (earlier.parts @ earlier.parts)))


def strata_of(segment: np.ndarray, is_treated: np.ndarray) -> np.ndarray:
    """Numbers of the strata `(users,)`: the segments, those too small for a comparison put together."""
    names, number = np.unique(segment.astype(str), return_inverse=True)
    fewest = np.minimum(np.bincount(number[is_treated], minlength=len(names)), np.bincount(number[~is_treated], minlength=len(names)))
    if not (fewest >= LEAST_IN_STRATUM).any():
        return np.zeros(len(segment), int)
    strata = np.where(fewest[number] >= LEAST_IN_STRATUM, number, len(names))
    rest = strata == len(names)
    largest = np.argmax(np.bincount(number, minlength=len(names)) * (fewest >= LEAST_IN_STRATUM))
    is_enough = min(int((rest & is_treated).sum()), int((rest & ~is_treated).sum())) >= LEAST_IN_STRATUM
    return strata if is_enough else np.where(rest, largest, strata)


def is_measurable(outcome: np.ndarray, is_treated: np.ndarray) -> bool:
    """Whether both arms have enough users, and enough with an outcome, for their means to be normal."""
    return all(arm.sum() >= LEAST_USERS and np.count_nonzero(outcome[arm]) >= LEAST_OUTCOMES for arm in (is_treated, ~is_treated))


def effect_of(outcome: np.ndarray, is_treated: np.ndarray, strata: np.ndarray, before: np.ndarray | None = None) -> Effect:
    """The effect on `outcome` `(users,)`; `before` `(users, covariates)` was known before the offer."""
    cells = 2 * strata + is_treated
    adjusted = outcome.astype(float)
    if before is not None:
        within = before - _cell_means(before, cells)
        slope = np.linalg.lstsq(within, adjusted - _cell_means(adjusted[:, None], cells)[:, 0], rcond=None)[0]
        adjusted = adjusted - (before - before.mean(axis=0)) @ slope
    estimate, parts = _difference(adjusted, is_treated, strata)
    plain = _difference(outcome.astype(float), is_treated, np.zeros(len(outcome), int))[1]
    return Effect(estimate, float(np.sqrt(parts @ parts)), float(np.sqrt(plain @ plain)), parts)


def _difference(outcome: np.ndarray, is_treated: np.ndarray, strata: np.ndarray) -> tuple[float, np.ndarray]:
    """The weighted difference of means, and each user's part in its error; the sum of squared parts is the variance."""
    cells = 2 * strata + is_treated
    count = np.bincount(cells, minlength=2 * strata.max() + 2)
    mean = np.bincount(cells, outcome, len(count)) / np.maximum(count, 1)
    weight = count[1::2] / count[1::2].sum()
    estimate = float(weight @ (mean[1::2] - mean[::2]))
    degrees = np.sqrt(count * np.maximum(count - 1.0, 1.0))  # of each cell; one is lost to its mean
    parts = weight[strata] * np.where(is_treated, 1, -1) * (outcome - mean[cells]) / degrees[cells]
    return estimate, parts


def _cell_means(values: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Each row's cell mean, `(users, columns)`."""
    count = np.maximum(np.bincount(cells), 1)
    return np.column_stack([(np.bincount(cells, column) / count)[cells] for column in values.T])
