"""Customers who are like some given ones, and proof of it: how many of a held-out part of the given ones the same search would find.

By `vector` a customer's score is the mean cosine with the nearest of the given ones' portrait vectors; by `propensity` it is the chance, by
logistic regression on features and portrait vector, of being one of the given. Three in ten of the given ones are held out first and
searched for among all others: the *lift* is their share among the `k` best over their share among all who were searched.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np

from feature_repo.contract import mart
from serving.errors import BadRequest, NotServed
from serving.segment_export import who_agreed
from serving.segment_members import People, people
from serving.segment_rules import FEATURES
from settings import get_settings

Method = Literal["propensity", "vector"]
HELD_OUT = 0.3
NEAREST = 10
#: A score says nothing of fewer given customers.
LEAST_SEEDS = 30
_BLOCK = 4096


@dataclass(frozen=True)
class Lookalikes:
    """The `k` customers most like the given ones, best first, none of them given and all of whom agreed to marketing.

    `found` of the `held_out` given ones were among the `k` best of `searched`; `lift` compares that with a search by lot, with its 95 %
    interval (Wilson).
    """

    method: Method
    users: tuple[str, ...]
    scores: tuple[float, ...]
    seeds: int
    held_out: int
    searched: int
    found: int
    lift: float
    lift_low: float
    lift_high: float

    def as_text(self) -> str:
        return (
            f"{len(self.users):,} customers like {self.seeds:,} given ones, by {self.method}. Of {self.held_out:,} given ones held out, "
            f"{self.found:,} were found in as many places: lift {self.lift:.1f} ({self.lift_low:.1f} to {self.lift_high:.1f})"
        )


def lookalikes(seeds: Iterable[str], k: int, as_of: datetime, method: Method = "propensity") -> Lookalikes:
    """Raises BadRequest for too few known seeds, too small a `k` or too few others who agreed, NotServed where vectors are asked for and
    none are stored."""
    settings, everyone = get_settings(), people(as_of)
    if k < settings.least_segment:
        raise BadRequest(f"`k` must be at least {settings.least_segment}, the least size of a segment. Received {k}.")
    if method == "vector" and not everyone.vectors:
        raise NotServed("Lookalikes by vector need stored portraits, and none are published. Run the `score` DAG, or ask by propensity.")
    users, rows = _rows(everyone, method)
    is_seed = np.isin(users, np.array(sorted(set(seeds)), object))
    if is_seed.sum() < LEAST_SEEDS or is_seed.all():
        raise BadRequest(
            f"Lookalikes need at least {LEAST_SEEDS} given customers that are known, and others beside them. "
            f"Received {int(is_seed.sum())} of {len(users)}."
        )
    is_held = is_seed & np.array([_part(user) < HELD_OUT for user in users])
    is_learned = is_seed & ~is_held
    scores = np.where(is_learned, -np.inf, _scores(method, rows, is_learned, ~is_seed | is_held))
    searched, best = int((~is_learned).sum()), np.argsort(-scores, kind="stable")[:k]
    found, held = int(is_held[best].sum()), int(is_held.sum())
    lift, low, high = (share * searched / max(held, 1) for share in _wilson(found, min(k, searched)))

    may = np.isin(users, who_agreed(everyone).features.index.to_numpy(object))
    scores = np.where(is_seed | ~may, -np.inf, _scores(method, rows, is_seed, ~is_seed))
    chosen = [place for place in np.argsort(-scores, kind="stable")[:k] if np.isfinite(scores[place])]
    if len(chosen) < settings.least_segment:
        raise BadRequest(
            f"Lookalikes must be at least {settings.least_segment}, the least size of a segment. Received {len(chosen)} not given ones "
            "who agreed to marketing. Give fewer, or load consents."
        )
    told = tuple(str(users[place]) for place in chosen)
    return Lookalikes(
        method, told, tuple(float(scores[place]) for place in chosen), int(is_seed.sum()), held, searched, found, lift, low, high
    )


def _rows(everyone: People, method: Method) -> tuple[np.ndarray, np.ndarray]:
    """Users and what they are compared by, `(users, numbers)`; by vector, those alone who have one."""
    vectors = everyone.vectors
    if method == "vector":
        users = np.array(sorted(vectors), object)
        rows = np.stack([vectors[user] for user in users])
        return users, rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    users = everyone.features.index.to_numpy(object)
    numbers = [column.name for column in mart(FEATURES).features if column.kind in ("int", "float")]
    values = everyone.features[numbers].to_numpy(float)
    rows = np.column_stack([np.nan_to_num(np.sign(values) * np.log1p(np.abs(values))), np.isnan(values)])
    if vectors:
        length = len(next(iter(vectors.values())))
        rows = np.column_stack([rows, [vectors.get(user, np.zeros(length)) for user in users]])
    spread = rows.std(axis=0)
    return users, (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _scores(method: Method, rows: np.ndarray, is_seed: np.ndarray, is_other: np.ndarray) -> np.ndarray:
    if method == "propensity":
        from sklearn.linear_model import LogisticRegression

        taught = is_seed | is_other
        model = LogisticRegression(C=0.1, solver="newton-cholesky", class_weight="balanced").fit(rows[taught], is_seed[taught])
        return model.decision_function(rows)
    seeds, near = rows[is_seed], min(NEAREST, int(is_seed.sum()))
    parts = (rows[start : start + _BLOCK] @ seeds.T for start in range(0, len(rows), _BLOCK))
    return np.concatenate([np.partition(part, -near, axis=1)[:, -near:].mean(axis=1) for part in parts])


def _part(user: str) -> float:
    """A number in [0, 1) that is fixed for a user."""
    return int.from_bytes(hashlib.sha256(f"lookalike\t{user}".encode()).digest()[:8], "big") / 2**64


def _wilson(found: int, of: int) -> tuple[float, float, float]:
    """The share and its 95 % interval (Wilson 1927)."""
    z, share = 1.96, found / of
    middle, reach = share + z * z / (2 * of), z * np.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return share, float((middle - reach) / (1 + z * z / of)), float((middle + reach) / (1 + z * z / of))
