"""Customer segments: users clustered by what they did, each cluster under a name that says how it differs from the others.

A run goes on from the segments of the model that is served: it starts from their centres, a segment that is the same keeps its name, and
how many users moved although nothing about them changed stands in the report.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from training.numbers import NumberEncoder
from training.segment_stability import Tried, chosen, churn, cluster, matched, nearest, tried
from training.served import champion
from training.signatures import PROVENANCE_FILE, USER_FEATURES

ENOUGH = 50  # users; fewer are not clustered

#: What is said of a cluster whose mean of a feature is the farthest from all users' mean: above it, below it.
WORDS: dict[str, tuple[str, str]] = {
    "spend_90d": ("big spenders", "small spenders"),
    "purchases_90d": ("frequent buyers", "rare buyers"),
    "events_30d": ("very active", "quiet"),
    "views_30d": ("browsers", "non-browsers"),
    "carts_30d": ("cart fillers", "no carts"),
    "favourites_30d": ("collectors", "no favourites"),
    "returns_90d": ("frequent returners", "keepers"),
    "events_7d": ("here this week", "away this week"),
    "spend_total": ("high lifetime spend", "low lifetime spend"),
}


@dataclass(frozen=True)
class Before:
    """The segments of an earlier run: `centres` `(segments, 2 * numbers)` as standardised by its `mean` and `spread`, `(numbers,)` each."""

    names: list[str]
    centres: np.ndarray
    mean: np.ndarray
    spread: np.ndarray

    def scaled_as(self, encoder: NumberEncoder) -> np.ndarray:
        """The centres as another encoder standardises the same numbers."""
        count = len(self.mean)
        logs, known = self.centres[:, :count] * self.spread + self.mean * self.centres[:, count:], self.centres[:, count:]
        mean, spread = np.asarray(encoder.mean), np.asarray(encoder.spread)
        return np.concatenate([(logs - mean * known) / spread, known], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Segments:
    """`encoder` standardises the numbers; `centres` `(segments, 2 * numbers)` of the standardised ones; `names` `(segments,)`.

    `kept` says which segment goes on from one of the run before; `tried` which numbers of segments there was to choose from.
    """

    encoder: NumberEncoder
    centres: np.ndarray
    names: list[str]
    kept: list[bool]
    tried: list[Tried]

    def name_of(self, numbers: tf.Tensor) -> tf.Tensor:
        """The name of each row's nearest centre, `(rows,)`, from `(rows, USER_FEATURES)`, NaN where unknown."""
        distances = tf.reduce_sum((self.encoder(numbers)[:, None] - self.centres[None]) ** 2, axis=2)
        return tf.gather(tf.constant(self.names), tf.argmin(distances, axis=1))

    def names_at(self, numbers: np.ndarray) -> np.ndarray:
        """The same outside a graph, `(rows,)`."""
        return np.array(self.names, object)[nearest(np.asarray(self.encoder(numbers.astype(np.float32))), self.centres)]

    def facts(self) -> dict[str, Any]:
        """What the next run needs to go on from these: `served_segments` reads it."""
        parts = {"centres": self.centres, "mean": self.encoder.mean, "spread": self.encoder.spread}
        return {"names": self.names, **{name: np.asarray(values, float).round(6).tolist() for name, values in parts.items()}}

    def tables(self, numbers: np.ndarray, before: Before | None) -> dict[str, list[dict[str, object]]]:
        """For the report: each segment's size, the numbers of segments tried, and who moved since `before` with the same numbers."""
        now = self.names_at(numbers)
        sizes: list[dict[str, object]] = [
            {"segment": name, "users": int((now == name).sum()), "share": float(np.mean(now == name)), "goes on": "yes" if kept else "new"}
            for name, kept in zip(self.names, self.kept, strict=True)
        ]
        found: dict[str, list[dict[str, object]]] = {"Segments": sizes, "Segments: numbers tried": [vars(one) for one in self.tried]}
        if before:
            scaled = np.asarray(self.encoder(numbers.astype(np.float32)))
            then = np.array(before.names, object)[nearest(scaled, before.scaled_as(self.encoder))]
            found["Segments: the same users by the served model and by this one"] = [vars(churn(then, now))]
        return found


def served_segments() -> Before | None:
    """The segments of the served portrait model; None where it has none, or its numbers were others."""
    published = champion("portrait")
    if published is None or not (published[1] / PROVENANCE_FILE).exists():
        return None
    told = json.loads((published[1] / PROVENANCE_FILE).read_text(encoding="utf-8")).get("segment_centres")
    if told is None or len(told["mean"]) != len(USER_FEATURES):
        return None
    return Before(told["names"], *(np.array(told[name], np.float32) for name in ("centres", "mean", "spread")))


def fit_segments(numbers: np.ndarray, seed: int, before: Before | None = None) -> Segments | None:
    """Clusters of the rows `(users, USER_FEATURES)` by k-means (scikit-learn); None for fewer than `ENOUGH` users.

    With the segments of the run `before` it starts from their centres where there are as many, and those that go on keep their names.
    """
    if len(numbers) < ENOUGH:
        return None
    encoder = NumberEncoder(numbers.shape[1], name="segment_numbers")
    encoder.adapt(numbers)
    scaled = np.asarray(encoder(numbers.astype(np.float32)))
    numbers_tried = tried(scaled, seed)
    count, start = chosen(numbers_tried, len(before.names) if before else None), before.scaled_as(encoder) if before else None
    found, labels = cluster(scaled, count, seed, start)
    order = np.argsort(-np.bincount(labels, minlength=count), kind="stable")
    centres = found[order].astype(np.float32)
    goes_on = matched(centres, start) if start is not None else np.full(count, -1)
    old = [before.names[then] if before and then >= 0 else None for then in goes_on]
    return Segments(encoder, centres, named(centres, old), [then >= 0 for then in goes_on.tolist()], numbers_tried)


def named(centres: np.ndarray, kept: list[str | None]) -> list[str]:
    """A name for each centre `(segments, 2 * numbers)`: the one `kept`, else the two features that lie farthest from all users', in words;
    all differ."""
    places = [USER_FEATURES.index(name) for name in WORDS]
    taken = {name for name in kept if name}
    names: list[str] = []
    for centre, old in zip(centres, kept, strict=True):
        order = np.argsort(-np.abs(centre[places]), kind="stable")
        words = [list(WORDS.values())[feature][0 if centre[places[feature]] > 0 else 1] for feature in order]
        tried_names = [f"{words[0]}, {second}" for second in words[1:]]
        names.append(old or next((name for name in tried_names if name not in taken), f"{tried_names[0]} ({len(names) + 1})"))
        taken.add(names[-1])
    return names
