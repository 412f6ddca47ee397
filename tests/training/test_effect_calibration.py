"""Calibrated effects: the measured average, a slope that outcomes confirm, and no more than they confirm."""

import numpy as np

from training.effect_calibration import LEAST_SLOPE, EffectCalibration, calibrate_effects


def campaign(true_effect: np.ndarray, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 2, len(true_effect))
    return arm, (5 + arm * true_effect + rng.normal(0, noise, len(arm)))[:, None]


def test_predictions_twice_too_large_are_halved() -> None:
    effect = np.linspace(-1, 3, 20_000)
    arm, outcomes = campaign(effect, noise=0.5)
    found = calibrate_effects(2 * effect[:, None, None], arm, outcomes)
    assert abs(found.slope[0, 0] - 0.5) < 0.03
    assert abs(found.average[0, 0] - 1.0) < 0.05
    np.testing.assert_allclose(found.apply(2 * effect[:, None, None])[:, 0, 0], effect, atol=0.12)


def test_predictions_that_outcomes_do_not_confirm_become_the_average() -> None:
    rng = np.random.default_rng(1)
    arm, outcomes = campaign(np.full(5_000, 0.7), noise=1.0)
    found = calibrate_effects(rng.normal(0, 3, (5_000, 1, 1)), arm, outcomes)
    assert found.slope[0, 0] == LEAST_SLOPE
    assert abs(found.average[0, 0] - 0.7) < 0.1


def test_rows_of_other_arms_and_unknown_outcomes_are_not_counted() -> None:
    arm = np.array([0, 1, 0, 1, 2, -1, 1])
    outcomes = np.array([1.0, 4.0, 3.0, 6.0, 99.0, 99.0, np.nan])[:, None]
    found = calibrate_effects(np.zeros((7, 2, 1)), arm, outcomes)
    assert found.average[0, 0] == (4 + 6) / 2 - (1 + 3) / 2


def test_nobody_gets_more_than_was_ever_predicted_for_the_campaign() -> None:
    one = np.ones((1, 1))
    kept = EffectCalibration(average=2 * one, slope=0.5 * one, center=0 * one, low=-1 * one, high=1 * one)
    assert kept.apply(np.array([[[-50.0]], [[0.0]], [[50.0]]])).ravel().tolist() == [1.5, 2.0, 2.5]
