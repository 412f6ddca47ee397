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


def test_t_learner_finds_who_responds_to_treatment():
    generator = np.random.default_rng(0)
    responds, is_treated = generator.random(2000) < 0.5, generator.random(2000) < 0.5
    outcome = generator.random(2000) < np.where(responds & is_treated, 0.6, 0.2)
    covariates = responds[:, None].astype(float)
    predicted = baselines.t_learner(covariates, outcome, is_treated, np.array([[0.0], [1.0]]), seed=1)
    assert predicted == pytest.approx([0.0, 0.4], abs=0.08)
    flat = baselines.t_learner(covariates, np.zeros(2000), is_treated, np.array([[0.0]]), seed=1)
    assert flat.tolist() == [0.0]
