"""Effects of a treatment by gradient boosting: the S-, T-, X- and DR-learners that the network is compared with.

S and T: Kuenzel, Sekhon, Bickel and Yu 2019, Metalearners for estimating heterogeneous treatment effects using machine learning, where X is
introduced; DR: Kennedy 2023, Towards optimal doubly robust estimation of heterogeneous causal effects. A learner is fitted on what it is
`taught` and says the effect on `asked` `(asked rows, columns)`, `(asked rows,)`. Outcomes of 0 and 1 are learned as classes, amounts as
numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

FOLDS = 3  # of the DR-learner's cross-fitting


@dataclass(frozen=True)
class Taught:
    """Rows of one treatment and of control: `covariates` `(rows, columns)`, `outcome`, `is_treated` and `chance`, the probability of the
    treatment, `(rows,)` each."""

    covariates: np.ndarray
    outcome: np.ndarray
    is_treated: np.ndarray
    chance: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Taught:
        return Taught(self.covariates[rows], self.outcome[rows], self.is_treated[rows], self.chance[rows])

    def by_arm(self, asked: np.ndarray, boosting: Boosting, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """What a model of the treated expects of `asked`, and what one of the others does, `(asked rows,)` each."""
        treated, control = self[self.is_treated], self[~self.is_treated]
        return (
            expected_outcome(treated.covariates, treated.outcome, asked, boosting, seed),
            expected_outcome(control.covariates, control.outcome, asked, boosting, seed),
        )


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


def _amount(covariates: np.ndarray, amount: np.ndarray, asked: np.ndarray, boosting: Boosting, seed: int) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(**asdict(boosting), early_stopping=False, random_state=seed)
    return model.fit(covariates, amount).predict(asked)


def s_learner(taught: Taught, asked: np.ndarray, boosting: Boosting, seed: int) -> np.ndarray:
    """One model that reads the treatment as a column."""
    both = np.concatenate([np.column_stack([asked, np.full(len(asked), arm)]) for arm in (1.0, 0.0)])
    said = expected_outcome(np.column_stack([taught.covariates, taught.is_treated]), taught.outcome, both, boosting, seed)
    return said[: len(asked)] - said[len(asked) :]


def t_learner(taught: Taught, asked: np.ndarray, boosting: Boosting, seed: int) -> np.ndarray:
    """A model for each arm, and their difference."""
    treated, control = taught.by_arm(asked, boosting, seed)
    return treated - control


def x_learner(taught: Taught, asked: np.ndarray, boosting: Boosting, seed: int) -> np.ndarray:
    """Effects imputed from the other arm's model, learned in each arm, and weighted by the mean chance of treatment."""
    treated, control = taught[taught.is_treated], taught[~taught.is_treated]
    gain = treated.outcome - expected_outcome(control.covariates, control.outcome, treated.covariates, boosting, seed)
    loss = expected_outcome(treated.covariates, treated.outcome, control.covariates, boosting, seed) - control.outcome
    share = float(taught.chance.mean())
    by_control = _amount(control.covariates, loss, asked, boosting, seed)
    return share * by_control + (1 - share) * _amount(treated.covariates, gain, asked, boosting, seed)


def dr_learner(taught: Taught, asked: np.ndarray, boosting: Boosting, seed: int) -> np.ndarray:
    """A model of cross-fitted doubly robust effects of the rows."""
    fold = np.random.default_rng(seed).permutation(len(taught.outcome)) % FOLDS
    effect = np.zeros(len(taught.outcome))
    for one in range(FOLDS):
        own = taught[fold == one]
        treated, control = taught[fold != one].by_arm(own.covariates, boosting, seed)
        residual = np.where(own.is_treated, (own.outcome - treated) / own.chance, -(own.outcome - control) / (1 - own.chance))
        effect[fold == one] = treated - control + residual
    return _amount(taught.covariates, effect, asked, boosting, seed)


Learner = Callable[[Taught, np.ndarray, Boosting, int], np.ndarray]
LEARNERS: dict[str, Learner] = {"s_learner": s_learner, "t_learner": t_learner, "x_learner": x_learner, "dr_learner": dr_learner}
