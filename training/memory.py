"""What a history recalls beside its vector: the items that keep company with its own, and how often it held an item itself.

A vector of some hundred numbers generalises; neighbours and counts remember. Both are added to the encoder's logits of item `i`:
`weight * sum_e d_e cosine(item_e, i) / sqrt(sum_e d_e) + own_weight * log(1 + events of i)`, over all events `e` that are given, where `d`
halves every `HALF_LIFE` events back. The cosines are those of item-to-item neighbourhood models (Sarwar et al. 2001; Deshpande & Karypis
2004), of each item the nearest `NEIGHBOURS`; the two weights are chosen on questions that nothing here was fitted on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, load_npz, save_npz

from training.baselines import cosines, interactions

NEIGHBOURS = 50
HALF_LIFE = 40  # events
NEWEST = 100  # events of a history in which items are said to keep company
WEIGHTS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
OWN_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Memory:
    """`neighbours` `(items, items)`: of each item the cosines to its nearest; the weights of what is recalled."""

    neighbours: csr_matrix
    weight: float
    own_weight: float

    def scores(self, items: list[np.ndarray]) -> np.ndarray:
        """What is added to the logits, `(histories, items)` float32, from each history's places in the catalogue, oldest first."""
        company, counts = self.parts(items)
        return self.weight * company + self.own_weight * counts

    def parts(self, items: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Company and counts before they are weighted, each `(histories, items)` float32."""
        size = self.neighbours.shape[0]
        recent = [0.5 ** (np.arange(len(row))[::-1] / HALF_LIFE) for row in items]
        weights = [recency / np.sqrt(max(recency.sum(), 1e-9)) for recency in recent]
        users = np.repeat(np.arange(len(items)), [len(row) for row in items])
        columns, values = np.concatenate([np.empty(0, np.int64), *items]), np.concatenate([np.empty(0), *weights])
        is_known = columns >= 0
        held = csr_matrix((values[is_known], (users[is_known], columns[is_known])), shape=(len(items), size), dtype=np.float32)
        return (held @ self.neighbours).toarray(), np.log1p(interactions(items, size).toarray())

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """The neighbours as rows of one length: places in the catalogue, -1 where there are fewer, and cosines, `(items, NEIGHBOURS)`."""
        counts = np.diff(self.neighbours.indptr)
        rows = np.repeat(np.arange(len(counts)), counts)
        columns = np.arange(len(rows)) - np.repeat(self.neighbours.indptr[:-1], counts)
        places = np.full((len(counts), NEIGHBOURS), -1, np.int32)
        values = np.zeros((len(counts), NEIGHBOURS), np.float32)
        places[rows, columns], values[rows, columns] = self.neighbours.indices, self.neighbours.data
        return places, values

    def save(self, path: Path) -> None:
        save_npz(path, self.neighbours)

    @classmethod
    def load(cls, path: Path, weight: float, own_weight: float) -> Memory:
        return cls(csr_matrix(load_npz(path)), weight, own_weight)


def remembered(items: list[np.ndarray], size: int) -> csr_matrix:
    """Each of `size` items' nearest neighbours by the histories' newest `NEWEST` events, given as places in the catalogue."""
    return cosines(interactions([row[-NEWEST:] for row in items], size), NEIGHBOURS)


def choose_weights(quality: Callable[[float, float], float], repeats: bool) -> tuple[float, float]:
    """The weights of the best `quality(weight, own_weight)`: of the counts first, which where nothing repeats are 0, then of the company.

    Equal quality takes the smaller weight.
    """
    own_weight = max(OWN_WEIGHTS, key=lambda own: quality(0.0, own)) if repeats else 0.0
    return max(WEIGHTS, key=lambda weight: quality(weight, own_weight)), own_weight
