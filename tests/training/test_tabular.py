"""The network for rows: its layers by hand, and what it finds in a table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow


def test_edges_are_quantiles_of_the_known_numbers():
    from training.tabular import quantile_edges

    values = np.array([[0.0, np.nan], [1.0, np.nan], [2.0, np.nan], [np.nan, np.nan], [10.0, np.nan]])
    np.testing.assert_allclose(quantile_edges(values, 2), [[0, 1.5, 10], [0, 0, 0]])


def test_a_number_fills_its_bins_and_an_unknown_one_has_an_embedding_of_its_own():
    from training.tabular import QuantileEncoder

    layer = QuantileEncoder(1, 2, 3, seed=0, edges=np.array([[0.0, 1.5, 10.0]], np.float32))
    layer.build(None)
    layer.kernel.assign([[[1, 0, 0], [0, 10, 0], [0, 0, 100]]])
    layer.bias.assign([[0.25, 0.25, -1]])
    found = np.array(layer(np.array([[0.75], [1.5], [5.75], [-4.0], [99.0], [np.nan]], np.float32)))[:, 0]
    # shares of the two bins and whether unknown: (.5, 0, 0) (1, 0, 0) (1, .5, 0) (0, 0, 0) (1, 1, 0) (0, 0, 1); ReLU
    np.testing.assert_allclose(
        found, [[0.75, 0.25, 0], [1.25, 0.25, 0], [1.25, 5.25, 0], [0.25, 0.25, 0], [1.25, 10.25, 0], [0.25, 0.25, 99]], atol=1e-6
    )


def test_members_share_one_matrix_and_differ_by_their_own_scales():
    from training.tabular import EnsembleDense

    layer = EnsembleDense(2, 1, True, seed=0)
    layer.build((None, 2, 2))
    assert set(np.unique(np.array(layer.r))) <= {-1.0, 1.0}
    layer.kernel.assign([[1.0], [10.0]])
    layer.r.assign([[1, 1], [2, 0]])
    layer.s.assign([[1], [3]])
    layer.bias.assign([[0], [0.5]])
    found = np.array(layer(np.array([[[1.0, 1.0], [1.0, 1.0]]], np.float32)))
    np.testing.assert_allclose(found, [[[11.0], [6.5]]])


def test_layers_make_the_same_numbers_after_a_round_trip_of_their_config():
    from training.tabular import EnsembleDense, QuantileEncoder

    for layer, inputs in (
        (QuantileEncoder(2, 4, 3, seed=1, edges=np.sort(np.random.default_rng(0).normal(size=(2, 5))).astype(np.float32)), (5, 2)),
        (EnsembleDense(3, 4, True, seed=1), (5, 3, 2)),
    ):
        rows = np.random.default_rng(1).normal(size=inputs).astype(np.float32)
        first = np.array(layer(rows))
        copy = type(layer).from_config(layer.get_config())
        copy(rows)
        copy.set_weights(layer.get_weights())
        np.testing.assert_array_equal(np.array(copy(rows)), first)


def test_the_loss_is_the_mean_of_the_members_own_losses():
    from training.tabular import MeanMemberLoss

    logits = np.log(np.array([[[0.5, 0.5], [0.25, 0.75]]], np.float32))
    found = float(MeanMemberLoss()(np.array([1]), logits))
    assert found == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2, rel=1e-5)


def test_intent_finds_what_numbers_categories_and_unknown_values_say(tmp_path: Path):
    from training.evaluate import CannotEvaluate, evaluate_intent
    from training.evaluate_intent import read_table

    random = np.random.default_rng(0)
    rows = 1200
    table = pd.DataFrame(
        {"seconds": random.exponential(9, rows), "month": random.choice(["May", "June"], rows), "code": random.integers(1, 4, rows)}
    )
    chance = np.where(table["month"] == "May", 0.9, 0.1)
    chance[table["code"] == 2] = 0.5
    table["bought"] = random.random(rows) < chance
    table.loc[:50, "seconds"] = np.nan
    table.to_csv(tmp_path / "visits.csv", index=False)
    numbers, categories, truth = read_table(tmp_path / "visits.csv", "bought")
    assert (numbers.shape, categories.shape) == ((rows, 2), (rows, 2))  # the code is read as both
    assert np.isnan(numbers[:50, 0]).all()
    assert truth.tolist() == table["bought"].astype(int).tolist()
    result = evaluate_intent(csv=tmp_path / "visits.csv", target="bought", folds=2, seed=1)
    assert result["metrics"]["auc"]["mean"] > 0.8
    assert set(result["baselines"]) == {"boosted_trees", "logistic_regression"}
    assert result["counts"]["rows"] == rows
    with pytest.raises(CannotEvaluate, match=r"`target` must be a column of visits\.csv\. Received 'sold'\. Its columns: seconds, month"):
        evaluate_intent(csv=tmp_path / "visits.csv", target="sold")
    with pytest.raises(CannotEvaluate, match=r"`code` must have two values and none unknown\. Received 3 values, 0 unknown"):
        evaluate_intent(csv=tmp_path / "visits.csv", target="code")


def test_a_code_that_was_never_seen_while_learning_is_an_unknown_one():
    from training.tabular import TabularConfig, fit_tabular

    random = np.random.default_rng(0)
    numbers, categories = random.normal(size=(60, 1)).astype(np.float32), random.integers(1, 4, (60, 1)).astype(np.int32)
    tabular = fit_tabular(numbers, categories, random.integers(0, 2, 60), TabularConfig(epochs=1), seed=0)
    asked = np.array([[9]], np.int32), np.array([[0]], np.int32)
    seen, unknown = (tabular.predict_proba(numbers[:1], codes) for codes in asked)
    np.testing.assert_array_equal(seen, unknown)
