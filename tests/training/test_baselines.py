"""Baselines against naive recomputation on a few users."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from training import baselines

COUNTS = csr_matrix(np.array([[2, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 3]], np.float32))


def test_interactions_count_events_and_drop_unknown_items():
    matrix = baselines.interactions([np.array([0, 0, 2]), np.array([], int), np.array([-1, 1])], items=3)
    assert matrix.toarray().tolist() == [[2, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_popularity_counts_events():
    assert baselines.popularity(COUNTS)(COUNTS[:2]).tolist() == [[3, 3, 3, 3]] * 2


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / np.sqrt(first.sum() * second.sum()))


def test_item_knn_sums_cosines_of_the_history():
    seen = (COUNTS.toarray() > 0).astype(float)
    similarity = np.array([[_cosine(seen[:, a], seen[:, b]) * (a != b) for b in range(4)] for a in range(4)])
    assert baselines.item_knn(COUNTS)(COUNTS) == pytest.approx(seen @ similarity)


def test_item_knn_keeps_the_nearest_of_each_item():
    seen = (COUNTS.toarray() > 0).astype(float)
    similarity = np.array([[_cosine(seen[:, a], seen[:, b]) * (a != b) for b in range(4)] for a in range(4)])
    similarity[similarity < similarity.max(axis=1, keepdims=True)] = 0
    assert baselines.item_knn(COUNTS, neighbours=1)(COUNTS) == pytest.approx(seen @ similarity.T)


def test_ease_solves_its_least_squares_under_a_zero_diagonal():
    seen, l2 = (COUNTS.toarray() > 0).astype(float), 0.7
    weights = np.zeros((4, 4))
    for item in range(4):  # each column apart: ridge regression on the other items
        others = [other for other in range(4) if other != item]
        x = seen[:, others]
        weights[others, item] = np.linalg.solve(x.T @ x + l2 * np.eye(3), x.T @ seen[:, item])
    assert baselines.ease(COUNTS, l2=l2)(COUNTS) == pytest.approx(seen @ weights, abs=1e-5)


def test_base_rate_leaves_no_class_impossible():
    assert baselines.base_rate(np.array([0, 0, 2]), classes=3).tolist() == [3 / 6, 1 / 6, 2 / 6]


def test_trait_regression_learns_what_items_tell_and_leaves_unseen_classes_at_zero():
    train = csr_matrix(np.tile([[1.0, 0, 1], [0, 1.0, 1]], (20, 1)))
    probabilities = baselines.trait_regression(train, np.tile([0, 1], 20), csr_matrix(np.array([[3.0, 0, 0], [0, 2.0, 0]])), classes=3)
    assert probabilities.argmax(axis=1).tolist() == [0, 1]
    assert probabilities[:, 2].tolist() == [0, 0]


def test_als_alternates_between_the_two_least_squares_problems():
    """Its last sweep solves each item's weighted ridge for the users' factors, and an asked user is folded in the same way."""
    seen, alpha, l2 = (COUNTS.toarray() > 0).astype(float), 5.0, 0.5

    def solve(rows: np.ndarray, factors: np.ndarray) -> np.ndarray:
        found = []
        for row in rows:
            weight = np.diag(1 + alpha * row)
            found.append(np.linalg.solve(factors.T @ weight @ factors + l2 * np.eye(2), factors.T @ weight @ row))
        return np.array(found)

    items = np.random.default_rng(3).normal(scale=0.1, size=(4, 2)).astype(np.float32).astype(float)
    for _ in range(3):
        users = solve(seen, items)
        items = solve(seen.T, users)
    scores = baselines.als(COUNTS, seed=3, dim=2, alpha=alpha, l2=l2, sweeps=3)(COUNTS)
    np.testing.assert_allclose(scores, solve(seen, items) @ items.T, atol=1e-3)


def test_top_frequency_ranks_own_items_by_count_and_the_others_by_popularity_below_them():
    scores = np.asarray(baselines.top_frequency(COUNTS)(COUNTS[:1]))[0]
    assert np.argsort(-scores, kind="stable").tolist()[:2] == [0, 1]
    assert 0 < scores[2] < 1
    assert scores[3] == scores[2]  # three events each


def test_boosted_trees_and_logistic_regression_give_probabilities_of_both_classes():
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 2))
    truth = (rows[:, 0] > 0).astype(int)
    for chances in (baselines.boosted_trees(rows, truth, rows[:50], 1), baselines.logistic_regression(rows, truth, rows[:50])):
        assert chances.shape == (50, 2)
        assert (chances.argmax(1) == truth[:50]).mean() > 0.9
