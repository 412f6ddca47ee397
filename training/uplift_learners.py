"""Effects of a treatment by gradient boosting: the S-, T-, X- and DR-learners that the network is compared with.

S and T: Kuenzel, Sekhon, Bickel and Yu 2019, Metalearners for estimating heterogeneous treatment effects using machine learning, where X is
introduced; DR: Kennedy 2023, Towards optimal doubly robust estimation of heterogeneous causal effects. A learner is fitted on `covariates`
`(rows, columns)`, `outcome` and `is_treated` `(rows,)` and `chance` `(rows,)`, the probability of the treatment, and says the effect on
`asked` `(asked rows, columns)`, `(asked rows,)`. Outcomes of 0 and 1 are learned as classes, amounts as numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

Learner = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, "Boosting", int], np.ndarray]
FOLDS = 3  # of the DR-learner's cross-fitting


@dataclass(frozen=True)
class Boosting:
    """Settings of scikit-learn's histogram gradient boosting, its own defaults unless told."""

    max_iter: int = 100
    learning_rate: float = 0.1
    max_leaf_nodes: int = 31
    min_samples_leaf: int = 20


UNTUNED = Boosting()
#: Chosen for each learner by validation inside the training halves of other splits of Hillstrom: see docs/marketing-uplift.md.
HELD_BACK = Boosting(max_iter=50, learning_rate=0.05, max_leaf_nodes=4, min_samples_leaf=200)


def expected_outcome(covariates: np.ndarray, outcome: np.ndarray, asked: np.ndarray, boosting: Boosting, seed: int) -> np.ndarray:
    """Expected outcome `(asked rows,)`: a probability where every outcome is 0 or 1."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    if len(found := np.unique(outcome)) < 2:
        return np.full(len(asked), outcome.mean() if len(outcome) else 0.0)
    if set(found) <= {0.0, 1.0}:
        model = HistGradientBoostingClassifier(**asdict(boosting), early_stopping=False, random_state=seed)
        return model.fit(covariates, outcome).predict_proba(asked)[:, 1]
    return _amount(covariates, outcome, asked, boosting, seed)


def _amount(
    covariates: np.ndarray, amount: np.ndarray, asked: np.ndarray, boosting: Boosting, seed: int, weight: np.ndarray | None = None
) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(**asdict(boosting), early_stopping=False, random_state=seed)
    return model.fit(covariates, amount, sample_weight=weight).predict(asked)


def s_learner(
    covariates: np.ndarray,
    outcome: np.ndarray,
    is_treated: np.ndarray,
    chance: np.ndarray,
    asked: np.ndarray,
    boosting: Boosting,
    seed: int,
) -> np.ndarray:
    """One model that reads the treatment as a column."""
    both = np.concatenate([np.column_stack([asked, np.full(len(asked), arm)]) for arm in (1.0, 0.0)])
    treated, control = np.split(expected_outcome(np.column_stack([covariates, is_treated]), outcome, both, boosting, seed), 2)
    return treated - control


def t_learner(
    covariates: np.ndarray,
    outcome: np.ndarray,
    is_treated: np.ndarray,
    chance: np.ndarray,
    asked: np.ndarray,
    boosting: Boosting,
    seed: int,
) -> np.ndarray:
    """A model for each arm, and their difference."""
    treated, control = (expected_outcome(covariates[rows], outcome[rows], asked, boosting, seed) for rows in (is_treated, ~is_treated))
    return treated - control


def x_learner(
    covariates: np.ndarray,
    outcome: np.ndarray,
    is_treated: np.ndarray,
    chance: np.ndarray,
    asked: np.ndarray,
    boosting: Boosting,
    seed: int,
) -> np.ndarray:
    """Effects imputed from the other arm's model, learned in each arm, and weighted by the mean chance of treatment."""
    treated, control = covariates[is_treated], covariates[~is_treated]
    gain = outcome[is_treated] - expected_outcome(control, outcome[~is_treated], treated, boosting, seed)
    loss = expected_outcome(treated, outcome[is_treated], control, boosting, seed) - outcome[~is_treated]
    share = float(chance.mean())
    return share * _amount(control, loss, asked, boosting, seed) + (1 - share) * _amount(treated, gain, asked, boosting, seed)


def dr_learner(
    covariates: np.ndarray,
    outcome: np.ndarray,
    is_treated: np.ndarray,
    chance: np.ndarray,
    asked: np.ndarray,
    boosting: Boosting,
    seed: int,
) -> np.ndarray:
    """A model of cross-fitted doubly robust effects of the rows."""
    fold = np.random.default_rng(seed).permutation(len(outcome)) % FOLDS
    effect = np.zeros(len(outcome))
    for one in range(FOLDS):
        learn, own = fold != one, fold == one
        treated, control = (
            expected_outcome(covariates[learn & rows], outcome[learn & rows], covariates[own], boosting, seed)
            for rows in (is_treated, ~is_treated)
        )
        residual = np.where(is_treated[own], (outcome[own] - treated) / chance[own], -(outcome[own] - control) / (1 - chance[own]))
        effect[own] = treated - control + residual
    return _amount(covariates, effect, asked, boosting, seed)


LEARNERS: dict[str, Learner] = {"s_learner": s_learner, "t_learner": t_learner, "x_learner": x_learner, "dr_learner": dr_learner}
