"""How right effects are: tenths, errors beside chance, recovery of a known truth, and the value of a choice."""

import numpy as np
import pytest

from training.effect_measures import effect_error, policy_value, recovery, tenths_of


def test_tenths_hold_the_means_of_their_rows_highest_predicted_first():
    predicted, effects = np.arange(20.0), np.arange(20.0) ** 2
    found = tenths_of(predicted, effects)
    assert [one.users for one in found] == [2] * 10
    assert found[0].predicted == 18.5
    assert found[0].measured["mean"] == (18**2 + 19**2) / 2
    half = 1.96 * np.std([18**2, 19**2], ddof=1) / np.sqrt(2)
    assert found[0].measured["high"] - found[0].measured["mean"] == pytest.approx(half)


def test_right_predictions_err_by_chance_alone_and_wrong_ones_by_more():
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, 20_000)
    effects = truth + rng.normal(0, 3, 20_000)
    right, wrong = effect_error(tenths_of(truth, effects)), effect_error(tenths_of(3 * truth, effects))
    assert right["effect_error"] < 2 * right["effect_error_by_chance"]
    assert wrong["effect_error"] > 10 * wrong["effect_error_by_chance"]


def test_recovery_by_hand():
    found = recovery(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0]))
    assert found["rank correlation"] == pytest.approx(0.5)
    assert found["pehe"] == pytest.approx(np.sqrt((0 + 1 + 4) / 3))
    assert found["pehe_of_average"] == pytest.approx(np.std([1, 3, 2]))


def test_the_value_of_a_choice_by_hand():
    chosen, arm = np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0])
    chances = np.array([[0.5, 0.5], [0.5, 0.5], [0.8, 0.2], [0.0, 1.0]])
    outcome = np.array([6.0, 9.0, 2.0, 5.0])
    weights = np.array([1 / 0.5, 0, 1 / 0.8])  # the last row's choice had no chance
    assert policy_value(chosen, arm, chances, outcome)["mean"] == pytest.approx(weights @ outcome[:3] / weights.sum())
    expected = np.array([[1.0, 4.0], [1.0, 4.0], [1.0, 4.0], [1.0, 4.0]])
    doubly = [4 + (6 - 4) / 0.5, 4, 1 + (2 - 1) / 0.8]
    assert policy_value(chosen, arm, chances, outcome, expected)["mean"] == pytest.approx(np.mean(doubly))


def test_the_interval_of_a_choices_value_covers_it_as_often_as_it_says():
    covered = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        arm = rng.integers(0, 2, 300)
        outcome = (rng.random(300) < 0.3 + 0.2 * arm).astype(float)
        value = policy_value(np.ones(300, int), arm, np.full((300, 2), 0.5), outcome)
        covered.append(value["low"] <= 0.5 <= value["high"])
    assert 0.9 <= np.mean(covered) <= 0.985
