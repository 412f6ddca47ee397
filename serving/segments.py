"""Segments of the shop: how many customers each has, and how its customers differ from all, by the newest stored portraits.

Read from published Parquet in one pass, and kept until other days are published.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from feature_repo.contract import CREATED_AT, FEATURES_AT, PORTRAITS, mart
from feature_repo.frames import newest_rows_query, rows_as_of
from feature_repo.published import connect, mart_dir
from serving.errors import NotServed
from serving.portraits import PROBABILITIES, UNKNOWN

#: What a segment's profile compares: columns of the mart `user_features`.
COMPARED = ("events_30d", "active_days_30d", "sessions_30d", "purchases_90d", "returns_90d", "spend_90d", "spend_total")
EXAMPLES = 8


@dataclass(frozen=True)
class Compared:
    """One line of a profile: the segment's mean, and the mean of all customers. None where nobody's is known."""

    name: str
    mean: float | None
    overall: float | None

    @property
    def ratio(self) -> float | None:
        return self.mean / self.overall if self.mean is not None and self.overall else None


@dataclass(frozen=True)
class Segment:
    """Customers that the portrait model puts together; shares of traits and interests are pairs `(of the segment, of all)`."""

    name: str
    users: int
    share: float
    features: tuple[Compared, ...]
    probabilities: tuple[Compared, ...]
    traits: dict[str, dict[str, tuple[float, float]]]
    interests: dict[str, tuple[float, float]]
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Segments:
    """All segments, most customers first, by portraits said as of `told_at` by these versions of the model."""

    told_at: datetime
    model_versions: tuple[str, ...]
    users: int
    segments: tuple[Segment, ...]


def segments(as_of: datetime) -> Segments:
    """The segments as known at `as_of`; `NotServed` where no portraits are stored."""
    try:
        generation = str(mart_dir(PORTRAITS).resolve())
        found = _segments(as_of, generation)
    except FileNotFoundError:
        found = None
    if found is None:
        raise NotServed("Segments need stored portraits, and none are published. Run the `score` DAG, then `ingest` with a later day.")
    return found


@lru_cache(maxsize=4)
def _segments(as_of: datetime, _generation: str) -> Segments | None:
    with connect() as connection:
        query = newest_rows_query(mart(PORTRAITS))
        rows = connection.sql(query, params={"as_of": as_of}).to_arrow_table().select(
            ["user_id", "model_version", "portrait", FEATURES_AT, CREATED_AT]
        ).to_pylist()  # fmt: skip
    if not rows:
        return None
    features = rows_as_of("user_features", as_of).set_index("user_id")[list(COMPARED)]
    portraits = {row["user_id"]: json.loads(row["portrait"]) for row in rows}
    members: dict[str, list[str]] = {}
    for user, said in portraits.items():
        members.setdefault(said["segment"] or "", []).append(user)
    members.pop("", None)
    everyone = _Summary(portraits, features, list(portraits))
    made = tuple(_segment(name, users, portraits, features, everyone) for name, users in sorted(members.items(), key=_by_size))
    versions = tuple(sorted({str(row["model_version"]) for row in rows}))
    return Segments(max(row[FEATURES_AT] for row in rows), versions, len(rows), made)


class _Summary:
    """Means and shares of some users."""

    def __init__(self, portraits: dict[str, dict[str, Any]], features: Any, users: list[str]) -> None:
        told = [portraits[user] for user in users]
        self.features = {name: _mean(features.reindex(users)[name].dropna().tolist()) for name in COMPARED}
        self.probabilities = {name: _mean(said[name] for said in told if said[name] is not None) for name in PROBABILITIES}
        names = dict.fromkeys(trait for said in told for trait in said["traits"])
        self.traits = {name: _shares(said["traits"].get(name, UNKNOWN) for said in told) for name in names}
        interests: Counter[str] = Counter()
        for said in told:
            interests.update(said["interests"])
        self.interests = {name: total / len(told) for name, total in interests.most_common()}


def _segment(name: str, users: list[str], portraits: dict[str, dict[str, Any]], features: Any, everyone: _Summary) -> Segment:
    own = _Summary(portraits, features, users)
    lively = features["events_30d"].reindex(users).sort_values(ascending=False, kind="stable")
    return Segment(
        name,
        len(users),
        len(users) / len(portraits),
        tuple(Compared(line, own.features[line], everyone.features[line]) for line in COMPARED),
        tuple(Compared(line, own.probabilities[line], everyone.probabilities[line]) for line in PROBABILITIES),
        {
            trait: {value: (shares.get(value, 0.0), share) for value, share in everyone.traits[trait].items()}
            for trait, shares in own.traits.items()
        },
        {interest: (share, everyone.interests[interest]) for interest, share in list(own.interests.items())[:8]},
        tuple(str(user) for user in lively.index[:EXAMPLES]),
    )


def _by_size(pair: tuple[str, list[str]]) -> tuple[int, str]:
    return -len(pair[1]), pair[0]


def _mean(values: Iterable[float]) -> float | None:
    given = list(values)
    return sum(given) / len(given) if given else None


def _shares(values: Iterable[str]) -> dict[str, float]:
    counted = Counter(values)
    return {value: count / counted.total() for value, count in counted.most_common()}
