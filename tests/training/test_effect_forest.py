"""Trees of effects: grown on what an offer adds, and walked as scikit-learn walks them."""

import numpy as np
import pytest

from training.effect_forest import EffectForest, _not_above, fit_forest


def campaign(rows: int = 3000) -> dict[str, np.ndarray]:
    """An offer adds 2 (and 4 of a second outcome) to whoever has something in the first column, and nothing to others or the unknown."""
    random = np.random.default_rng(0)
    matrix = random.poisson(0.7, (rows, 3)).astype(np.float32)
    matrix[random.random(rows) < 0.2, 0] = np.nan
    matrix[:, 2] = 5  # never varies
    is_treated = random.random(rows) < 0.6
    effect = np.where(np.nan_to_num(matrix[:, 0]) > 0, 2.0, 0.0)[:, None] * np.array([1.0, 2.0])
    surplus = is_treated - 0.6
    residual = surplus[:, None] * effect + random.normal(0, 0.5, (rows, 2))
    counts = np.stack([np.arange(rows) % 2, 1 - np.arange(rows) % 2], axis=1)
    return {"matrix": matrix, "residual": residual, "surplus": surplus, "counts": counts}


@pytest.fixture(scope="module")
def forest() -> EffectForest:
    return fit_forest(**campaign(), trees=5, leaf_rows=1, leaf_share=0.03, seed=1)


def test_the_trees_find_whom_an_offer_moves(forest):
    said = forest.predict(np.array([[0, 1, 5], [2, 1, 5], [np.nan, 1, 5]], np.float32))  # (rows, members, outcomes)
    assert said.shape == (3, 2, 2)
    np.testing.assert_allclose(said.mean(axis=1), [[0, 0], [2, 4], [0, 0]], atol=0.25)
    assert set(forest.column.ravel()) <= {0, 1}


def test_a_row_gets_the_mean_of_the_leaves_it_falls_into(forest):
    """Walked node by node."""
    asked = np.array([[0, 1, 5], [1, 0, 5], [np.nan, 3, 5]], np.float32)
    for row, said in zip(asked, forest.predict(asked), strict=True):
        for member in range(2):
            leaves = []
            for tree in range(member * 5, member * 5 + 5):
                node = 0
                while forest.left[tree, node] != node:
                    value = row[forest.column[tree, node]]
                    left = forest.unknown_goes_left[tree, node] if np.isnan(value) else value <= forest.threshold[tree, node]
                    node = (forest.left if left else forest.right)[tree, node]
                leaves.append(forest.value[tree, node])
            np.testing.assert_allclose(said[member], np.mean(leaves, axis=0))


def test_a_leaf_is_the_least_squares_effect_of_its_rows():
    """One tree without a split: the effect is the weighted regression of the outcome's surprise on who was treated beyond chance."""
    given = campaign(400)
    given["matrix"] = np.ones((400, 1), np.float32)
    forest = fit_forest(**given, trees=200, leaf_rows=1, leaf_share=0.03, seed=1)
    for member in range(2):
        own = given["counts"][:, member] == 1
        surplus, residual = given["surplus"][own], given["residual"][own]
        expected = (surplus @ residual) / (surplus @ surplus)
        np.testing.assert_allclose(forest.predict(np.ones((1, 1)))[0, member], expected, atol=0.05)  # bootstraps scatter around it


def test_an_outcome_that_nobody_knows_teaches_no_difference():
    given = campaign()
    given["residual"][:, 1] = np.nan
    said = fit_forest(**given, trees=5, leaf_rows=1, leaf_share=0.03, seed=1).predict(np.array([[0, 1, 5], [2, 1, 5]], np.float32))
    np.testing.assert_allclose(said.mean(axis=1)[:, 0], [0, 2], atol=0.25)
    np.testing.assert_allclose(said[:, :, 1], 0)


def test_a_threshold_that_float32_cannot_hold_is_rounded_downwards():
    held = _not_above(np.array([0.1, 0.5, 1 + 1e-9]))
    assert held.dtype == np.float32
    assert (held.astype(np.float64) <= [0.1, 0.5, 1 + 1e-9]).all()
    np.testing.assert_allclose(held, [0.1, 0.5, 1.0], atol=1e-7)
