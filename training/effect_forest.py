"""Trees of effects behind the uplift network: what an offer adds as thresholds on a user's numbers, in the halves of the network's members.

An R-learner (Nie and Wager 2021, Quasi-oracle estimation of heterogeneous treatment effects) with trees, in the manner of a causal forest
(Athey, Tibshirani and Wager 2019, Generalized random forests). With `W` 1 for whoever got an offer, whichever, `e` the chance of that and
`m` the mean outcome by networks that never saw the row, a tree is fitted on `(outcome - m) / (W - e)` by the weight `(W - e)^2`: its leaves
are the least squares effects of any offer. All outcomes share one tree, since who is moved visits, buys and spends more: a split is as good
as what it explains of all of them. A shop's few exposures are enough for that, and not for trees of each offer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

BLOCK = 4096  # rows at once, which bounds memory


@dataclass(frozen=True)
class EffectForest:
    """Nodes of every tree, `(trees, nodes)` each: a row goes left where its `column` is not above `threshold`, unknown numbers where
    `unknown_goes_left`; a leaf leads to itself. `value` `(trees, nodes, outcomes)`; the trees of a member follow one another."""

    column: np.ndarray
    threshold: np.ndarray
    unknown_goes_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    depth: int
    members: int

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Effect of any offer by each member, `(rows, members, outcomes)`; `matrix` `(rows, columns)`, NaN is unknown."""
        return np.concatenate([self._said(matrix[at : at + BLOCK]) for at in range(0, max(len(matrix), 1), BLOCK)])

    def _said(self, matrix: np.ndarray) -> np.ndarray:
        trees = np.arange(len(self.column))
        node = np.zeros((len(matrix), len(trees)), np.int32)
        for _ in range(self.depth):
            asked = np.take_along_axis(matrix.astype(np.float32), self.column[trees, node], axis=1)  # (rows, trees)
            goes_left = np.where(np.isnan(asked), self.unknown_goes_left[trees, node], asked <= self.threshold[trees, node])
            node = np.where(goes_left, self.left[trees, node], self.right[trees, node])
        value = self.value[trees, node]  # (rows, trees, outcomes)
        return value.reshape(len(matrix), self.members, -1, value.shape[-1]).mean(axis=2)


def fit_forest(
    matrix: np.ndarray,
    residual: np.ndarray,
    surplus: np.ndarray,
    counts: np.ndarray,
    trees: int,
    leaf_rows: int,
    leaf_share: float,
    seed: int,
) -> EffectForest:
    """`trees` trees for each member, on bootstraps of its half of the rows, with leaves of at least `leaf_rows` rows, and of the share
    `leaf_share` of the half where that is more.

    `matrix` `(rows, columns)`, NaN is unknown; `residual` `(rows, outcomes)` is the outcome less its mean by networks that never saw the
    row, NaN where unknown; `surplus` `(rows,)` is 1 less the chance of an offer for whoever got one, else less that chance; `counts`
    `(rows, members)` is 1 where a row belongs to a member's half.
    """
    from sklearn.ensemble import RandomForestRegressor

    weight = np.maximum(surplus**2, 1e-6)
    effect = residual / np.where(np.abs(surplus) < 1e-3, 1e-3, surplus)[:, None]
    known = np.isfinite(effect)
    mean = (np.where(known, effect, 0) * weight[:, None]).sum(axis=0) / np.maximum((known * weight[:, None]).sum(axis=0), 1e-9)
    effect = np.where(known, effect, mean)  # an outcome nobody knows says the average
    targets = effect if effect.shape[1] > 1 else effect[:, 0]
    columns = np.flatnonzero([len(np.unique(column)) > 1 for column in matrix.T])
    asked = matrix[:, columns] if len(columns) else np.zeros((len(matrix), 1), np.float32)
    grown = []
    with threadpool_limits(1, user_api="openmp"):
        for member in range(counts.shape[1]):
            rows = np.flatnonzero(counts[:, member])
            leaf = max(leaf_rows, round(leaf_share * len(rows)))
            forest = RandomForestRegressor(trees, min_samples_leaf=leaf, max_features=0.5, random_state=seed + member)
            grown += [tree.tree_ for tree in forest.fit(asked[rows], targets[rows], sample_weight=weight[rows]).estimators_]
    return _joined(grown, columns if len(columns) else np.zeros(1, int), counts.shape[1])


def _joined(grown: list[Any], columns: np.ndarray, members: int) -> EffectForest:
    """scikit-learn's trees side by side; `columns` are the numbers of those that they were grown on."""
    shape = len(grown), max(tree.node_count for tree in grown)
    column, left, right = (np.zeros(shape, np.int32) for _ in range(3))
    threshold, goes_left, value = np.zeros(shape, np.float32), np.zeros(shape, bool), np.zeros((*shape, grown[0].value.shape[1]))
    for place, tree in enumerate(grown):
        own, itself, is_leaf = slice(tree.node_count), np.arange(tree.node_count), tree.children_left < 0
        column[place, own] = columns[np.where(is_leaf, 0, tree.feature)]
        threshold[place, own] = _not_above(tree.threshold)
        goes_left[place, own] = tree.missing_go_to_left.astype(bool)
        left[place, own], right[place, own] = (
            np.where(is_leaf, itself, children) for children in (tree.children_left, tree.children_right)
        )
        value[place, own] = tree.value[:, :, 0]
    return EffectForest(column, threshold, goes_left, left, right, value, max(tree.max_depth for tree in grown), members)


def _not_above(threshold: np.ndarray) -> np.ndarray:
    """The greatest float32 that is not above: numbers that are float32 compare with it as with `threshold`."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
