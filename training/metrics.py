"""Every figure that a model is judged by, with its uncertainty; nothing here knows a model.

An interval is `{"mean", "low", "high"}`: the value itself and a 95 % range. A value that the rows cannot give (one class only) is NaN.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import rankdata, t

Interval = dict[str, float]
#: One figure computed on the rows (indices, repeats allowed) that it is given; greater is better wherever a gate reads it.
Statistic = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Ranking:
    """Where each user's target came (`ranks`, from 0, shape `(users,)`), and the best items (`top`, `(users, k)`, -1 if none left)."""

    ranks: np.ndarray
    top: np.ndarray


def rank_targets(scores: Iterable[np.ndarray], targets: np.ndarray, seen: csr_matrix, k: int = 10) -> Ranking:
    """Rank every item for every user, those already seen removed, and find the targets.

    `scores` yields blocks `(some users, items)` that follow the users' order. `targets` are item indices, shape `(users,)`; -1 is an item
    that the model cannot know, ranked behind all others. `seen` has a stored entry for every item not to be recommended, shape
    `(users, items)`; the target itself is never removed, even when it was seen. Ties are pessimistic: every other item with the target's
    score stands before it, so that a constant score earns nothing.
    Raises ValueError where a score is NaN, since no comparison could place it, or where users are missing.
    """
    users, items = seen.shape
    ranks, top = np.full(users, items, dtype=np.int64), np.full((users, min(k, items)), -1, dtype=np.int64)
    start = 0
    for block in scores:
        stop = start + len(block)
        if block.shape[1:] != (items,) or stop > users or np.isnan(block).any():
            raise ValueError(
                f"Scores must cover {users} users and {items} items and hold no NaN. Received users {start} to {stop}, shape "
                f"{block.shape}, {int(np.isnan(block).sum())} NaN. A training run that diverged scores NaN: look at its loss."
            )
        unseen = np.array(block, dtype=np.float32)  # (block, items), a copy
        known = np.flatnonzero(targets[start:stop] >= 0)  # (known,)
        wanted = targets[start:stop][known]
        target_scores = unseen[known, wanted]
        unseen[seen[start:stop].nonzero()] = -np.inf
        unseen[known, wanted] = target_scores
        ranks[start + known] = (unseen[known] >= target_scores[:, None]).sum(axis=1) - 1
        best = np.argpartition(-unseen, top.shape[1] - 1, axis=1)[:, : top.shape[1]]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(unseen, best, axis=1), axis=1, kind="stable"), axis=1)
        top[start:stop] = np.where(np.isfinite(np.take_along_axis(unseen, best, axis=1)), best, -1)
        start = stop
    if start != users:
        raise ValueError(f"Scores must cover {users} users. Received {start}.")
    return Ranking(ranks, top)


def hits(ranks: np.ndarray, k: int = 10) -> np.ndarray:
    """1 where the target is among the first `k`, shape `(users,)`; the mean is HR@k."""
    return (ranks < k).astype(np.float64)


def ndcg(ranks: np.ndarray, k: int = 10) -> np.ndarray:
    """`1 / log2(rank + 2)` where the target is among the first `k`, else 0, shape `(users,)`; the mean is NDCG@k for one target a user."""
    return np.where(ranks < k, 1.0 / np.log2(ranks + 2.0), 0.0)


def coverage(top: np.ndarray, items: int) -> float:
    """Share of the `items` that stand in anybody's list."""
    return len(np.unique(top[top >= 0])) / items


def auc(is_true: np.ndarray, score: np.ndarray) -> float:
    """Probability that a true row scores above a false one, ties counting half (Mann-Whitney); NaN where one of the two is missing."""
    is_true = np.asarray(is_true, dtype=bool)
    positives, negatives = int(is_true.sum()), int((~is_true).sum())
    if not positives or not negatives:
        return float("nan")
    return float((rankdata(score)[is_true].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def row_logloss(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Negative log probability of the true class, natural logarithm, shape `(rows,)`; probabilities are clipped at 1e-7."""
    return -np.log(np.clip(probabilities[np.arange(len(truth)), truth], 1e-7, 1.0))


def ece(is_true: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: mean gap between probability and frequency over `bins` bins of equal count, weighted by count."""
    parts = [part for part in np.array_split(np.argsort(probability, kind="stable"), bins) if len(part)]
    return float(sum(len(part) * abs(np.mean(is_true[part]) - np.mean(probability[part])) for part in parts) / len(probability))


def classification(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """`auc`, `accuracy`, `balanced_accuracy`, `logloss`, `ece` of class indices `(rows,)` against probabilities `(rows, classes)`.

    With two classes, `auc` and `ece` are those of the second one; with more, `auc` is the mean of one class against the rest, over
    the classes present, and `ece` that of the most probable class. `balanced_accuracy` is the mean recall of the classes present.
    """
    chosen, present = probabilities.argmax(axis=1), np.unique(truth)
    if probabilities.shape[1] == 2:
        area, calibration = auc(truth == 1, probabilities[:, 1]), ece(truth == 1, probabilities[:, 1])
    else:
        area = float(np.mean([auc(truth == label, probabilities[:, label]) for label in present]))
        calibration = ece(chosen == truth, probabilities.max(axis=1))
    return {
        "auc": area,
        "accuracy": float(np.mean(chosen == truth)),
        "balanced_accuracy": float(np.mean([np.mean(chosen[truth == label] == label) for label in present])),
        "logloss": float(np.mean(row_logloss(truth, probabilities))),
        "ece": calibration,
    }


def confusion(truth: np.ndarray, said: np.ndarray, values: Sequence[str]) -> np.ndarray:
    """How often each true value was called what, counts `(values, values + 1)`: the last column is whatever is none of `values`, such as
    `unknown`. `truth` and `said` are `(rows,)`; rows of another true value are left out."""
    place = {value: number for number, value in enumerate(values)}
    counts = np.zeros((len(values), len(values) + 1), np.int64)
    for true, called in zip(truth, said, strict=True):
        if true in place:
            counts[place[true], place.get(called, len(values))] += 1
    return counts


def amounts(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """`mae`, `rmse`, `gini`, `spearman`, `total_ratio`, `decile_error` of predicted amounts of money, both `(rows,)`.

    `gini` is the concentration of the true amounts on those who were predicted most, over the same by the truth itself: 0 is random, 1
    perfect order. `total_ratio` is predicted over true total; `decile_error` the gap between predicted and true totals of the ten tenths of
    rows by prediction, summed, over the true total.
    """
    ranks, own = rankdata(predicted), rankdata(truth)
    total = truth.sum()
    gaps = [abs((predicted[part] - truth[part]).sum()) for part in tenths(predicted)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "mae": float(np.mean(np.abs(predicted - truth))),
            "rmse": float(np.sqrt(np.mean((predicted - truth) ** 2))),
            "gini": float(np.dot(truth, ranks - ranks.mean()) / np.dot(truth, own - own.mean())),
            "spearman": float(np.dot(ranks - ranks.mean(), own - own.mean()) / (len(own) * ranks.std() * own.std())),
            "total_ratio": float(predicted.sum() / total),
            "decile_error": float(sum(gaps) / total),
        }


def tenths(predicted: np.ndarray) -> list[np.ndarray]:
    """Row numbers by rising prediction in ten parts of equal count; fewer where there are fewer rows."""
    return [part for part in np.array_split(np.argsort(predicted, kind="stable"), 10) if len(part)]


def decile_ratios(truth: np.ndarray, predicted: np.ndarray) -> list[float]:
    """Predicted over true total of each of the `tenths`, lowest prediction first; not finite where the truth adds up to nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return [float(predicted[part].sum() / truth[part].sum()) for part in tenths(predicted)]


def uplift(outcome: np.ndarray, predicted: np.ndarray, is_treated: np.ndarray) -> dict[str, float]:
    """`uplift@30%` (by group), `qini` and `auuc` (both normalised: 0 is random, 1 is perfect) of a 0/1 outcome, by scikit-uplift.

    All three are NaN where an arm or an outcome is missing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sklift.metrics import qini_auc_score, uplift_at_k, uplift_auc_score

        if len(np.unique(is_treated)) < 2 or len(np.unique(outcome)) < 2:
            return dict.fromkeys(("uplift@30%", "qini", "auuc"), float("nan"))
        rows = np.asarray(outcome, dtype=int), np.asarray(predicted, dtype=float), np.asarray(is_treated, dtype=int)
        return {
            "uplift@30%": float(uplift_at_k(*rows, strategy="by_group", k=0.3)),
            "qini": float(qini_auc_score(*rows)),
            "auuc": float(uplift_auc_score(*rows)),
        }


def qini(outcome: np.ndarray, predicted: np.ndarray, is_treated: np.ndarray) -> float:
    """`qini` of `uplift` alone."""
    from sklift.metrics import qini_auc_score

    if len(np.unique(is_treated)) < 2 or len(np.unique(outcome)) < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(qini_auc_score(np.asarray(outcome, dtype=int), np.asarray(predicted, dtype=float), np.asarray(is_treated, dtype=int)))


def resample(statistics: Callable[[np.ndarray], np.ndarray], rows: int, seed: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Several figures on all `rows`, `(figures,)`, and on `samples` resamples of them, `(samples, figures)`: all on the same rows."""
    generator = np.random.default_rng(seed)
    drawn = [statistics(generator.integers(0, rows, rows)) for _ in range(samples)]
    return np.asarray(statistics(np.arange(rows))), np.array(drawn)


def interval(value: float, drawn: np.ndarray) -> Interval:
    """The value with the 2.5 % and 97.5 % points of what resamples gave, `(samples,)`, NaN left out (percentile bootstrap)."""
    usable = drawn[np.isfinite(drawn)]
    low, high = np.percentile(usable, [2.5, 97.5]) if len(usable) else (np.nan, np.nan)
    return {"mean": float(value), "low": float(low), "high": float(high)}


def bootstrap(statistic: Statistic, rows: int, seed: int, samples: int = 1000) -> Interval:
    """One statistic on all `rows` with its bootstrap interval."""
    value, drawn = resample(lambda chosen: np.array([statistic(chosen)]), rows, seed, samples)
    return interval(value[0], drawn[:, 0])


def over_splits(values: Sequence[float], test_share: float) -> Interval:
    """Mean over repeated splits, each testing `test_share` of the rows, with Nadeau and Bengio's corrected 95 % t interval.

    Splits share training rows, so the plain interval is far too narrow; the correction adds test/train rows to 1/splits
    (Inference for the Generalization Error, Machine Learning 52, 2003).
    """
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return {"mean": mean, "low": float("nan"), "high": float("nan")}
    width = t.ppf(0.975, count - 1) * np.std(values, ddof=1) * np.sqrt(1 / count + test_share / (1 - test_share))
    return {"mean": mean, "low": float(mean - width), "high": float(mean + width)}
