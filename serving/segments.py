"""Segments of the shop, a card each: how many customers it has, what they are worth, how they differ from all, and which offer suits them.

Read from published Parquet in one pass, and kept until other days are published.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.contract import PORTRAITS
from feature_repo.published import mart_dir
from serving.errors import NotServed, UnknownSegment
from serving.portraits import PROBABILITIES, UNKNOWN
from serving.segment_churn import Churn, churn_between
from serving.segment_members import KINDS, Division, Kind, People, division, people
from serving.segment_offers import BestOffer, best_offers
from serving.segment_rules import FEATURES
from settings import get_settings

#: What a segment's profile compares: columns of the mart `user_features`.
COMPARED = ("events_30d", "active_days_30d", "sessions_30d", "purchases_90d", "returns_90d", "spend_90d", "spend_total")
EXAMPLES = 8
#: A difference from all customers is told from so many standard deviations on, and the largest few alone.
TOLD_FROM, TOLD = 0.2, 3
#: Churn is told since so many days before.
CHURN_DAYS = 30
_EARLIEST = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC, as every time here; nothing is known before


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
    """One card; shares of traits and interests are pairs `(of the segment, of all)`.

    `spend_share` is its part of what all customers spent in 90 days; `differs` names the features that set it apart most, in standard
    deviations of all customers; `says` is the shop's own word on a segment by rules.
    """

    kind: Kind
    name: str
    says: str | None
    users: int
    share: float
    spend_share: float | None
    differs: tuple[tuple[str, float], ...]
    features: tuple[Compared, ...]
    probabilities: tuple[Compared, ...]
    traits: dict[str, dict[str, tuple[float, float]]]
    interests: dict[str, tuple[float, float]]
    examples: tuple[str, ...]
    best_offer: BestOffer | None


@dataclass(frozen=True)
class Segments:
    """All segments of a kind, most customers first, as of `told_at`; learned ones by these versions of the portrait model.

    `pooled` counts segments too small to be shown; `churn` tells who moved since `CHURN_DAYS` before, None where nothing was known then.
    """

    kind: Kind
    told_at: datetime
    model_versions: tuple[str, ...]
    users: int
    segments: tuple[Segment, ...]
    pooled: int
    churn: Churn | None


def segments(as_of: datetime, kind: Kind = "learned") -> Segments:
    """The segments as known at `as_of`; `NotServed` where there is nothing to make them of."""
    found = _found(as_of, kind)
    offers = best_offers({one.name: found.members[one.name] for one in found.told.segments})
    made = tuple(replace(one, best_offer=offers.get(one.name)) for one in found.told.segments)
    return replace(found.told, segments=made)


def segment(as_of: datetime, name: str) -> Segment:
    """The card of that name, of whatever kind; `UnknownSegment` where no kind has one that is large enough to be shown."""
    for kind in KINDS:
        try:
            found = segments(as_of, kind).segments
        except NotServed:
            continue
        if one := next((one for one in found if one.name == name), None):
            return one
    raise UnknownSegment(name)


def members_of(as_of: datetime, name: str) -> list[str]:
    """The customers of that segment, for use inside the house: no consent is asked here."""
    kind = segment(as_of, name).kind
    return [str(user) for user in _found(as_of, kind).members[name]]


@dataclass(frozen=True)
class _Found:
    told: Segments
    members: dict[str, np.ndarray]


def _found(as_of: datetime, kind: Kind) -> _Found:
    """Made anew when other rows are published, or the rules of the house are others."""
    settings = get_settings()
    rules = Path(settings.segment_rules) if settings.segment_rules else None
    written = rules.stat().st_mtime_ns if rules and rules.exists() else 0
    generation = tuple(str(mart_dir(name).resolve()) for name in (FEATURES, PORTRAITS))
    return _segments(as_of, kind, generation, settings.least_segment, written)


@lru_cache(maxsize=8)
def _segments(as_of: datetime, kind: Kind, _generation: tuple[str, ...], least: int, _rules_written: int) -> _Found:
    everyone = people(as_of)
    parts = division(kind, everyone, least)
    overall = _Summary(everyone, parts.users)
    made = (_segment(name, users, parts, everyone, overall) for name, users in parts.members.items())
    told = Segments(
        kind,
        everyone.told_at or as_of if kind == "learned" else as_of,
        everyone.model_versions if kind == "learned" else (),
        len(parts.users),
        tuple(sorted(made, key=lambda one: (-one.users, one.name))),
        parts.pooled,
        churn_between(kind, everyone, max(as_of, _EARLIEST) - timedelta(days=CHURN_DAYS)),
    )
    return _Found(told, parts.members)


class _Summary:
    """Means and shares of some users."""

    def __init__(self, everyone: People, users: np.ndarray) -> None:
        features: pd.DataFrame = everyone.features.reindex(users)[list(COMPARED)].astype(float)
        told: list[dict[str, Any]] = [everyone.portraits[user] for user in users if user in everyone.portraits]
        self.spend = float(features["spend_90d"].sum())
        self.features = {name: _mean(features[name].dropna()) for name in COMPARED}
        self.spread = {name: float(features[name].std(ddof=0)) for name in COMPARED}
        self.probabilities = {name: _mean(said[name] for said in told if said[name] is not None) for name in PROBABILITIES}
        names = dict.fromkeys(trait for said in told for trait in said["traits"])
        self.traits = {name: _shares(said["traits"].get(name, UNKNOWN) for said in told) for name in names}
        interests: Counter[str] = Counter()
        for said in told:
            interests.update(said["interests"])
        self.interests = {name: total / len(told) for name, total in interests.most_common()}


def _segment(name: str, users: np.ndarray, parts: Division, everyone: People, overall: _Summary) -> Segment:
    own = _Summary(everyone, users)
    lively = everyone.features["events_30d"].reindex(users).sort_values(ascending=False, kind="stable")
    apart = {
        line: (own.features[line] - overall.features[line]) / overall.spread[line]  # type: ignore[operator]  # known where a spread is
        for line in COMPARED
        if own.features[line] is not None and overall.spread[line] > 0
    }
    return Segment(
        parts.kind,
        name,
        parts.says.get(name),
        len(users),
        len(users) / len(parts.users),
        own.spend / overall.spend if overall.spend > 0 else None,
        tuple((line, by) for line, by in sorted(apart.items(), key=lambda pair: -abs(pair[1]))[:TOLD] if abs(by) >= TOLD_FROM),
        tuple(Compared(line, own.features[line], overall.features[line]) for line in COMPARED),
        tuple(Compared(line, own.probabilities[line], overall.probabilities[line]) for line in PROBABILITIES),
        {
            trait: {value: (shares.get(value, 0.0), share) for value, share in overall.traits[trait].items()}
            for trait, shares in own.traits.items()
        },
        {interest: (share, overall.interests[interest]) for interest, share in list(own.interests.items())[:8]},
        tuple(str(user) for user in lively.index[:EXAMPLES]),
        None,
    )


def _mean(values: Iterable[float]) -> float | None:
    given = list(values)
    return sum(given) / len(given) if given else None


def _shares(values: Iterable[str]) -> dict[str, float]:
    counted = Counter(values)
    return {value: count / counted.total() for value, count in counted.most_common()}
