"""Customer segments: users clustered by what they did, each cluster under a name that says how it differs from the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from training.numbers import NumberEncoder
from training.signatures import USER_FEATURES

SEGMENTS = 6
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
class Segments:
    """`encoder` standardises the numbers; `centres` `(segments, 2 * numbers)` of the standardised ones; `names` `(segments,)`."""

    encoder: NumberEncoder
    centres: np.ndarray
    names: list[str]

    def name_of(self, numbers: tf.Tensor) -> tf.Tensor:
        """The name of each row's nearest centre, `(rows,)`, from `(rows, USER_FEATURES)`, NaN where unknown."""
        distances = tf.reduce_sum((self.encoder(numbers)[:, None] - self.centres[None]) ** 2, axis=2)
        return tf.gather(tf.constant(self.names), tf.argmin(distances, axis=1))


def fit_segments(numbers: np.ndarray, seed: int) -> Segments | None:
    """Clusters of the rows `(users, USER_FEATURES)` by k-means (scikit-learn); None for fewer than `ENOUGH` users."""
    from sklearn.cluster import KMeans

    if len(numbers) < ENOUGH:
        return None
    encoder = NumberEncoder(numbers.shape[1], name="segment_numbers")
    encoder.adapt(numbers)
    scaled = np.asarray(encoder(numbers.astype(np.float32)))
    found = KMeans(SEGMENTS, n_init=4, random_state=seed).fit(scaled)
    sizes = np.bincount(found.labels_, minlength=SEGMENTS)
    centres = found.cluster_centers_[np.argsort(-sizes, kind="stable")].astype(np.float32)
    return Segments(encoder, centres, named(centres))


def named(centres: np.ndarray) -> list[str]:
    """A name for each centre `(segments, 2 * numbers)`: the two features that lie farthest from all users', in words; all differ."""
    places = [USER_FEATURES.index(name) for name in WORDS]
    names: list[str] = []
    for centre in centres:
        order = np.argsort(-np.abs(centre[places]), kind="stable")
        words = [list(WORDS.values())[feature][0 if centre[places[feature]] > 0 else 1] for feature in order]
        tried = [f"{words[0]}, {second}" for second in words[1:]]
        names.append(next((name for name in tried if name not in names), f"{tried[0]} ({len(names) + 1})"))
    return names
