"""Who belongs to which segment, as known at a time: what the portrait model learned, recency-frequency-money, and the shop's own rules.

Learned segments and recency-frequency-money each put every customer into one segment; rules may overlap. No segment of fewer than
`least_segment` customers leaves this file: small ones of a kind that divides everybody are put together as `other`, with the next larger
ones until they are enough, so that nobody is told by what is missing; a rule's small one is left out.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd

from feature_repo.contract import FEATURES_AT, PORTRAITS
from feature_repo.frames import rows_as_of
from serving.errors import NotServed
from serving.segment_rfm import rfm
from serving.segment_rules import FEATURES, SegmentRule, segment_rules

Kind = Literal["learned", "rfm", "rules"]
KINDS: tuple[Kind, ...] = ("learned", "rfm", "rules")
OTHER = "other"


@dataclass(frozen=True)
class People:
    """Every customer known at `at`: `features` by user_id, and `portraits` (said at `told_at`, empty where none are stored)."""

    at: datetime
    features: pd.DataFrame
    portraits: dict[str, dict[str, Any]]
    vectors: dict[str, np.ndarray]
    model_versions: tuple[str, ...]
    told_at: datetime | None


@dataclass(frozen=True)
class Division:
    """One kind of segments: members by name, sorted; of all these `users`. `pooled` counts the small ones that were put together or left
    out."""

    kind: Kind
    users: np.ndarray
    members: dict[str, np.ndarray]
    pooled: int
    says: dict[str, str]


def people(at: datetime) -> People:
    """Raises NotServed where nobody's features are published."""
    try:
        features = rows_as_of(FEATURES, at).set_index("user_id")
    except FileNotFoundError as missing:
        raise NotServed(f"Segments are made of customers' features. {missing}") from missing
    try:
        rows = rows_as_of(PORTRAITS, at)
    except FileNotFoundError:
        rows = pd.DataFrame()
    if rows.empty:
        return People(at, features, {}, {}, (), None)
    told = {user: json.loads(text) for user, text in zip(rows["user_id"], rows["portrait"], strict=True)}
    vectors = dict(zip(rows["user_id"], (np.asarray(vector, float) for vector in rows["vector"]), strict=True))
    versions = tuple(sorted(set(rows["model_version"].astype(str))))
    return People(at, features, told, vectors, versions, rows[FEATURES_AT].max().to_pydatetime())


def division(kind: Kind, everyone: People, least: int) -> Division:
    """The segments of that kind, none with fewer than `least` customers; raises NotServed where none can be told."""
    if kind == "rules":
        return _by_rules(segment_rules(), everyone, least)
    named = labels(kind, everyone)
    members, pooled = large_enough(named, least)
    return Division(kind, named.index.to_numpy(object), members, pooled, {})


def labels(kind: Kind, everyone: People) -> pd.Series:
    """Every customer's segment of a kind that divides everybody, by user_id, whatever its size: nothing to be shown."""
    if kind == "rfm":
        return rfm(everyone.features, everyone.at)["segment"]
    told = {user: said["segment"] for user, said in everyone.portraits.items() if said["segment"]}
    if not told:
        raise NotServed("Segments need stored portraits, and none are published. Run the `score` DAG, then `ingest` with a later day.")
    return pd.Series(told, dtype=object)


def segments_said(at: datetime) -> dict[str, dict[str, Any]]:
    """For every customer `{"rfm": name, "rules": [names]}`: what the daily scoring stores beside the model's own segment, so that it
    reaches the online store. A customer's own line; what is told of a segment as a whole has its least size."""
    everyone = people(at)
    found: dict[str, dict[str, Any]] = {user: {"rfm": name, "rules": []} for user, name in labels("rfm", everyone).items()}
    for rule in segment_rules():
        for user in everyone.features.index[rule.holds(everyone.features, at)]:
            found[user]["rules"].append(rule.name)
    return found


def _by_rules(rules: tuple[SegmentRule, ...], everyone: People, least: int) -> Division:
    users = everyone.features.index.to_numpy(object)
    found = {rule.name: users[rule.holds(everyone.features, everyone.at).to_numpy()] for rule in rules}
    large = {name: members for name, members in found.items() if len(members) >= least}
    return Division("rules", users, large, len(found) - len(large), {rule.name: rule.says for rule in rules if rule.name in large})


def large_enough(named: pd.Series, least: int) -> tuple[dict[str, np.ndarray], int]:
    """Members of each segment by name, from everybody's segment by user, the small ones put together as `OTHER`, or left out where even
    together they are too few; and how many those are."""
    members = {str(name): np.sort(users.index.to_numpy(object)) for name, users in named.groupby(named)}
    by_size = sorted(members, key=lambda name: (len(members[name]), name))
    pooled: list[str] = []
    while by_size and (len(members[by_size[0]]) < least or 0 < sum(len(members[name]) for name in pooled) < least):
        pooled.append(by_size.pop(0))
    kept = {name: members[name] for name in by_size}
    together = np.sort(np.concatenate([members[name] for name in pooled])) if pooled else np.array([], object)
    return kept | ({OTHER: together} if len(together) >= least else {}), len(pooled)
