"""What a plan's rule would have earned on logged randomised campaigns, against giving nobody anything: off-policy evaluation.

For a user whom the rule gives an offer, the gain is estimated from those who happened to get that offer and those who happened to get
nothing, each weighted by one over the probability of what happened (Horvitz and Thompson 1952), self-normalised (Swaminathan and Joachims
2015), and doubly robust (Dudik, Langford and Li 2011) with an outcome model that never saw the user it judges (cross-fitting, Chernozhukov
et al.
2018).
For a user whom the rule gives nothing the gain is 0. Intervals resample users.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from serving.outcomes import SAMPLES, SEED, interval, over_users
from serving.release_compare import Interval

#: Effective rows below which no estimate means much, whatever its interval says.
LEAST_ROWS = 100
#: Share of those whom the rule gives an offer that must have been in campaigns which tried it: the others were not judged.
LEAST_COVERAGE = 0.9
FOLDS = 5
NOTHING = -1
#: Stands for an unknown number: trees split it off.
UNKNOWN = -1e9

Verdict = Literal["blessed", "unsure", "loss", "unknown"]


@dataclass(frozen=True)
class Trials:
    """Logged assignments, `(rows,)`: user, reward, probability of what was given; what was given and what the rule would give, as places of
    arms, NOTHING for none. `features` `(rows, columns)` teach the outcome model, NaN where unknown."""

    user: np.ndarray
    reward: np.ndarray
    propensity: np.ndarray
    given: np.ndarray
    wanted: np.ndarray
    features: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> "Trials":
        return Trials(*(column[rows] for column in vars(self).values()))


@dataclass(frozen=True)
class Gain:
    """Gain for each user by the rule against nothing, with 95 % intervals; `treated` is the share of users whom the rule gives an offer.

    `effective_rows` is Kish's (sum w)^2 / sum w^2 over those who got what the rule wanted.
    """

    rows: int
    users: int
    treated: float
    effective_rows: float
    largest_weight: float
    ips: Interval
    snips: Interval
    doubly_robust: Interval


def gain(trials: Trials, expected: np.ndarray | None = None, *, seed: int = SEED, samples: int = SAMPLES) -> Gain:
    """The estimates; `expected` `(rows, 1 + arms)` is the outcome model's reward under nothing and each arm, by default cross-fitted.

    ValueError where there is no row, or a propensity is not in (0, 1).
    """
    if not len(trials.reward):
        raise ValueError("An estimate needs logged assignments with known outcomes. Received none.")
    if not ((trials.propensity > 0) & (trials.propensity < 1)).all():
        raise ValueError("Every assignment must have a propensity in (0, 1). Received others. Leave out what was not randomised.")
    expected = cross_fitted(trials) if expected is None else expected
    rows, is_treated = np.arange(len(trials.reward)), trials.wanted != NOTHING
    got = is_treated * (trials.given == trials.wanted) / trials.propensity
    went_without = is_treated * (trials.given == NOTHING) / trials.propensity
    under, without = expected[rows, trials.wanted + 1], expected[:, 0]
    robust = is_treated * (under - without) + got * (trials.reward - under) - went_without * (trials.reward - without)
    sums = [np.ones(len(rows)), is_treated.astype(float), got, got * trials.reward, went_without, went_without * trials.reward, robust]
    users, of_user = np.unique(trials.user, return_inverse=True)
    totals = np.stack([np.bincount(of_user, values, len(users)) for values in sums], axis=1)  # (users, sums)

    def estimates(total: np.ndarray) -> np.ndarray:
        count, treated, weight, earned, weight_without, earned_without, doubly = total
        if not treated:
            return np.zeros(3)  # a rule that gives nobody anything gains nothing, surely
        with np.errstate(divide="ignore", invalid="ignore"):
            normalised = treated / count * (earned / weight - earned_without / weight_without)
        return np.array([(earned - earned_without) / count, normalised, doubly / count])

    found, drawn = estimates(totals.sum(axis=0)), over_users(totals, estimates, seed, samples)
    ips, snips, doubly_robust = (interval(value, drawn[:, place]) for place, value in enumerate(found))
    effective = float(got.sum() ** 2 / (got**2).sum()) if got.any() else 0.0
    return Gain(len(rows), len(users), float(is_treated.mean()), effective, float(got.max()), ips, snips, doubly_robust)


def cross_fitted(trials: Trials, folds: int = FOLDS) -> np.ndarray:
    """Expected reward under nothing and each arm, `(rows, 1 + arms)`, by gradient boosting on users of the other folds."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    _, of_user = np.unique(trials.user, return_inverse=True)
    fold = np.random.default_rng(SEED).permutation(int(of_user.max()) + 1)[of_user] % folds
    features = np.nan_to_num(trials.features, nan=UNKNOWN)  # a column of which nothing is known is more than sklearn's bins can take
    arms = int(max(trials.given.max(), trials.wanted.max())) + 2
    expected = np.full((len(trials.reward), arms), float(trials.reward.mean()))
    for part in range(folds):
        asked = fold == part
        for arm in np.unique(trials.given):
            learn = ~asked & (trials.given == arm)
            if learn.sum() >= LEAST_ROWS and asked.any():
                model = HistGradientBoostingRegressor(max_iter=50, max_leaf_nodes=8, min_samples_leaf=40, random_state=SEED)
                expected[asked, arm + 1] = model.fit(features[learn], trials.reward[learn]).predict(features[asked])
    return expected


def verdict(found: Gain | None, profit: Gain | None, *, objective: str, coverage: float) -> tuple[Verdict, str]:
    """Whether a plan may be sent without somebody answering for it, and why in words.

    `found` is None where no row could be judged, `profit` is the gain in money, None where spend is unknown, and `coverage` the share of
    those whom the rule gives an offer who could be judged.
    """
    if found is None or not found.treated:
        untried = "no randomised campaign tried what the plan's rule gives for those to whom it gives it"
        return "unknown", untried if coverage < 1 else "the plan's rule gives none of the logged users an offer"
    told = found.doubly_robust
    if found.effective_rows < LEAST_ROWS:
        return "unsure", f"only {found.effective_rows:.0f} effective rows of {LEAST_ROWS} needed; the gain is {_span(found)}"
    if told["high"] < 0:
        return "loss", f"the plan would lose: the gain is {_span(found)}"
    if told["low"] < 0:
        return "unsure", f"the plan may lose: the gain is {_span(found)}"
    if profit is None or profit.effective_rows < LEAST_ROWS:
        return "unsure", f"the plan adds {objective}, {_span(found)}, but may lose money: too few logged rows tell what was spent"
    if profit.doubly_robust["low"] < 0:
        is_loss = profit.doubly_robust["high"] < 0
        says = f"the plan adds {objective}, {_span(found)}, but {'would' if is_loss else 'may'} lose money: the profit is {_span(profit)}"
        return "loss" if is_loss else "unsure", says
    if coverage < LEAST_COVERAGE:
        tried = f"only {coverage:.0%} of those whom the rule gives an offer were in a randomised campaign that tried it for them"
        return "unsure", f"{tried}, {LEAST_COVERAGE:.0%} are needed; of these the gain is {_span(found)}"
    earns = "" if objective == "profit" else f"; the profit is {_span(profit)}"
    return "blessed", f"the plan surely loses nothing: the gain is {_span(found)}{earns}"


def _span(found: Gain) -> str:
    told = found.doubly_robust
    return f"{told['mean']:.3g} for each user, 95 % interval {told['low']:.3g} to {told['high']:.3g}"
