"""What decisions earned: the online metric of two versions, and what another policy would have earned (off-policy evaluation).

Estimators take rows of logged decisions, one for each place of a list that was shown: each place is judged by itself, as if an item's
outcome did not hang on its neighbours. Weights are `target / propensity`: the chance that the judged policy shows the same there, over the
chance that the logging one had (Horvitz and Thompson 1952; self-normalised: Swaminathan and Joachims 2015; doubly robust: Dudik, Langford
and Li 2011). Rows of a user are no independent draws, so intervals resample users.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from serving.release_compare import Interval, Online

if TYPE_CHECKING:
    import pandas as pd

SAMPLES = 1000
SEED = 7
#: Parts of equal count into which scores are cut for the outcome model of the doubly robust estimate.
SCORE_PARTS = 10


@dataclass(frozen=True)
class Logged:
    """Logged decisions with known outcomes, all `(rows,)`: user, reward, and how likely the logging and the judged policy show this.

    `expected` is the outcome model's reward of what was shown, `expected_target` that of what the judged policy shows there; None where
    there is no such model.
    """

    user: np.ndarray
    reward: np.ndarray
    propensity: np.ndarray
    target: np.ndarray
    expected: np.ndarray | None = None
    expected_target: np.ndarray | None = None


@dataclass(frozen=True)
class OffPolicy:
    """Mean reward of a place: as logged, and estimated for the judged policy, with 95 % intervals over users.

    `effective_rows` is Kish's (sum w)^2 / sum w^2: on fewer than a hundred of them no estimate means much, whatever its interval says.
    """

    rows: int
    users: int
    effective_rows: float
    largest_weight: float
    logged: Interval
    ips: Interval
    snips: Interval
    doubly_robust: Interval | None


def evaluate(logged: Logged, *, seed: int = SEED, samples: int = SAMPLES) -> OffPolicy:
    """Estimates of the judged policy's reward; raises ValueError where there is no row or a propensity is not in (0, 1]."""
    if not len(logged.reward):
        raise ValueError("An estimate needs decisions with known outcomes. Received none. Wait until their days are over.")
    if not ((logged.propensity > 0) & (logged.propensity <= 1)).all():
        raise ValueError("Every decision must have a propensity in (0, 1]. Received others. Leave out decisions without one.")
    weight = logged.target / logged.propensity
    sums = [np.ones_like(weight), logged.reward, weight, weight * logged.reward]
    if logged.expected is not None and logged.expected_target is not None:
        sums.append(logged.expected_target + weight * (logged.reward - logged.expected))
    users, of_user = np.unique(logged.user, return_inverse=True)
    totals = np.stack([np.bincount(of_user, values, len(users)) for values in sums], axis=1)  # (users, sums)

    def estimates(total: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            rows, reward, weights, weighted, *robust = total
            return np.array([reward / rows, weighted / rows, weighted / weights, *(value / rows for value in robust)])

    found, drawn = estimates(totals.sum(axis=0)), over_users(totals, estimates, seed, samples)
    intervals = [interval(value, drawn[:, place]) for place, value in enumerate(found)]
    return OffPolicy(
        len(weight),
        len(users),
        float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0,
        float(weight.max()),
        intervals[0],
        intervals[1],
        intervals[2],
        intervals[3] if len(intervals) > 3 else None,
    )


def greedy(decisions: "pd.DataFrame", metric: str) -> Logged:
    """Rows for judging the policy that never explores: at each place the item with the next highest score.

    `decisions` are rows of `decision_outcomes` of one model, candidates that were not shown among them (rank 0); rows without score,
    propensity or outcome are left out. The outcome model is the mean reward of each tenth of the scores: ten numbers, so learning them from
    the rows they are used on costs next to nothing.
    """
    rows = decisions[decisions["score"].notna() & decisions["user_id"].notna()].copy()
    rows["list"] = rows["decision_id"].str.rpartition(".")[0]
    rows["by_score"] = rows.groupby("list")["score"].rank(method="first", ascending=False)
    is_known = (rows["rank"] > 0) & rows["propensity"].notna() & rows[metric].notna()
    shown = rows[is_known]
    reward = shown[metric].astype(float).to_numpy()
    model = _score_model(shown["score"].to_numpy(float), reward, shown["user_id"].to_numpy())
    best = rows.set_index(["list", "by_score"])["score"]
    wanted = best.reindex(list(zip(shown["list"], shown["rank"].astype(float), strict=True))).to_numpy(float)
    return Logged(
        shown["user_id"].to_numpy(),
        reward,
        shown["propensity"].to_numpy(float),
        (shown["by_score"] == shown["rank"]).to_numpy(float),
        model(shown["score"].to_numpy(float)),
        model(np.where(np.isnan(wanted), shown["score"].to_numpy(float), wanted)),
    )


def online_difference(model: str, canary: int, stable: int, metric: str) -> Online | None:
    """The online metric of two versions of a model from the published decisions; None where one of them has no known outcome yet."""
    from feature_repo.frames import read_mart
    from feature_repo.published import mart_dir

    if not any(mart_dir("decision_outcomes").glob("day=*/*.parquet")):
        return None
    rows = read_mart("decision_outcomes")
    rows = rows[(rows["model"] == model) & (rows["rank"] > 0) & rows[metric].notna() & rows["user_id"].notna()]
    return difference(rows, canary, stable, metric)


def difference(rows: "pd.DataFrame", canary: int, stable: int, metric: str, *, seed: int = SEED, samples: int = SAMPLES) -> Online | None:
    """Mean of `metric` for two versions and their difference, users resampled; None where a version has no row.

    Users are told apart by a hash, so they are alike but for the version: the difference is the version's own. Days on which only one of
    the two answered are left out.
    """
    arms = {"canary": str(canary), "stable": str(stable)}
    rows = rows[rows["model_version"].isin(arms.values())]
    days = rows.groupby(rows["decided_at"].dt.date)["model_version"].nunique()
    rows = rows[rows["decided_at"].dt.date.isin(days.index[days == len(arms)])]
    if rows.empty:
        return None
    users, of_user = np.unique(rows["user_id"].to_numpy(), return_inverse=True)
    reward, columns = rows[metric].to_numpy(float), []
    for version in arms.values():
        is_own = (rows["model_version"] == version).to_numpy(float)
        columns += [np.bincount(of_user, is_own, len(users)), np.bincount(of_user, is_own * reward, len(users))]

    def means(total: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.array([total[1] / total[0], total[3] / total[2], total[1] / total[0] - total[3] / total[2]])

    totals = np.stack(columns, axis=1)
    found, drawn = means(totals.sum(axis=0)), over_users(totals, means, seed, samples)
    least = int(min(columns[0].sum(), columns[2].sum()))
    return Online(metric, least, float(found[0]), float(found[1]), interval(found[2], drawn[:, 2]))


def over_users(totals: np.ndarray, figures: Callable[[np.ndarray], np.ndarray], seed: int, samples: int) -> np.ndarray:
    """Figures of resampled users, `(samples, figures)`, from the sums of each user, `(users, sums)`."""
    generator, users = np.random.default_rng(seed), len(totals)
    return np.array([figures(np.bincount(generator.integers(0, users, users), minlength=users) @ totals) for _ in range(samples)])


def interval(value: float, drawn: np.ndarray) -> Interval:
    """The value with the 2.5 % and 97.5 % points of what resamples gave (percentile bootstrap)."""
    low, high = np.nanpercentile(drawn, [2.5, 97.5]) if np.isfinite(drawn).any() else (np.nan, np.nan)
    return {"mean": float(value), "low": float(low), "high": float(high)}


def _score_model(score: np.ndarray, reward: np.ndarray, user: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Mean reward by tenths of the score; a constant where there are too few rows for tenths."""
    if not len(score):
        return lambda asked: np.zeros(len(asked))
    edges = np.unique(np.quantile(score, np.linspace(0, 1, SCORE_PARTS + 1)[1:-1]))
    part = np.searchsorted(edges, score, side="right")
    counts = np.bincount(part, minlength=len(edges) + 1)
    means = np.where(counts > 0, np.bincount(part, reward, len(edges) + 1) / np.maximum(counts, 1), reward.mean())
    return lambda asked: means[np.searchsorted(edges, asked, side="right")]
