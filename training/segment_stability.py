"""How many segments, and which of today's is which of yesterday's: so that a segment's name means the same users from run to run.

How many is chosen by two figures: the silhouette (Rousseeuw 1987), how well the users of a segment lie together, and stability, how much
two clusterings of random halves of the users agree about all of them (adjusted Rand index; von Luxburg 2010, "Clustering stability").
Segments of two runs are paired by the least sum of distances between their centres (Kuhn 1955, the Hungarian method).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEWEST, MOST = 3, 8
#: Below this agreement of two halves a number of segments is an accident of the draw.
STABLE = 0.8
#: A segment of a smaller share of the users is none of its own.
SMALLEST = 0.02
#: The number of segments of the run before is kept unless another one's silhouette is better by more than this.
WORTH_A_CHANGE = 0.02
HALVES, USERS = 3, 4000


@dataclass(frozen=True)
class Tried:
    """A number of segments: mean agreement of two halves' clusterings, mean silhouette, share of the smallest segment."""

    segments: int
    agreement: float
    silhouette: float
    smallest: float


def tried(scaled: np.ndarray, seed: int) -> list[Tried]:
    """Every number of segments from `FEWEST` to `MOST`, tried on up to `USERS` rows of `(users, numbers)`."""
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    generator = np.random.default_rng(seed)
    rows = scaled[np.sort(generator.permutation(len(scaled))[:USERS])]
    halves = [np.array_split(generator.permutation(len(rows)), 2) for _ in range(HALVES)]
    found = []
    for count in range(FEWEST, MOST + 1):
        labels = cluster(rows, count, seed)[1]
        agreements = [adjusted_rand_score(*(nearest(rows, cluster(rows[half], count, seed)[0]) for half in pair)) for pair in halves]
        smallest = np.bincount(labels, minlength=count).min() / len(rows)
        is_split = len(np.unique(labels)) > 1
        silhouette = silhouette_score(rows, labels, sample_size=min(1500, len(rows)), random_state=seed) if is_split else -1.0
        found.append(Tried(count, float(np.mean(agreements)), float(silhouette), float(smallest)))
    return found


def chosen(found: list[Tried], before: int | None) -> int:
    """The number with the best silhouette of those that are stable and leave no segment too small; where none is, the most stable one.

    The number of the run `before` is kept while it may be chosen and hardly less is gained by it.
    """
    allowed = [one for one in found if one.agreement >= STABLE and one.smallest >= SMALLEST]
    if not allowed:
        return max(found, key=lambda one: (one.agreement, -one.segments)).segments
    best = max(allowed, key=lambda one: (one.silhouette, -one.segments))
    kept = next((one for one in allowed if one.segments == before), None)
    return kept.segments if kept and kept.silhouette >= best.silhouette - WORTH_A_CHANGE else best.segments


def cluster(rows: np.ndarray, count: int, seed: int, start: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """K-means centres `(count, numbers)` and labels `(rows,)`; from `start` where it has as many centres, else the best of four draws."""
    from sklearn.cluster import KMeans

    if start is not None and len(start) == count:
        fitted = KMeans(count, init=start, n_init=1).fit(rows)
    else:
        fitted = KMeans(count, n_init=4, random_state=seed).fit(rows)
    return fitted.cluster_centers_, fitted.labels_


def nearest(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The nearest centre of each row, `(rows,)`."""
    return np.argmin(((rows[:, None] - centres[None]) ** 2).sum(axis=2), axis=1)


def matched(centres: np.ndarray, before: np.ndarray) -> np.ndarray:
    """For each of today's centres the number of the one before that it goes on from, -1 for a new one, `(centres,)`.

    Pairs farther apart than half the way to the next centre of the run before are not the same segment.
    """
    from scipy.optimize import linear_sum_assignment

    apart = np.linalg.norm(centres[:, None] - before[None], axis=2)
    between = np.linalg.norm(before[:, None] - before[None], axis=2)
    np.fill_diagonal(between, np.inf)
    found = np.full(len(centres), -1)
    for now, then in zip(*linear_sum_assignment(apart), strict=True):
        if apart[now, then] <= between[then].min() / 2:
            found[now] = then
    return found


@dataclass(frozen=True)
class Churn:
    """Of users in both runs: how many moved to another segment, and the adjusted Rand index, which does not look at names."""

    users: int
    moved: float
    agreement: float


def churn(before: np.ndarray, now: np.ndarray) -> Churn:
    """Of the same users' segments, by name, `(users,)` each."""
    from sklearn.metrics import adjusted_rand_score

    return Churn(len(now), float(np.mean(before != now)) if len(now) else 0.0, float(adjusted_rand_score(before, now)))
