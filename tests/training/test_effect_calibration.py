"""Calibrated effects: the measured average, a slope that outcomes confirm, and no more than they confirm."""

import numpy as np

from training.effect_calibration import LEAST_SLOPE, EffectCalibration, calibrate_effects, robust_effects


def campaign(true_effect: np.ndarray, noise: float, seed: int = 0) -> np.ndarray:
    """Doubly robust effects of a campaign of two equal arms, with a wrong idea of what happens without it."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 2, len(true_effect))
    outcomes = (5 + arm * true_effect + rng.normal(0, noise, len(arm)))[:, None]
    return robust_effects(np.full((len(arm), 2, 1), 4.0), arm, np.full((len(arm), 2), 0.5), outcomes)


def test_predictions_twice_too_large_are_halved() -> None:
    effect = np.linspace(-1, 3, 20_000)
    found = calibrate_effects(2 * effect[:, None, None], campaign(effect, noise=0.5))
    assert abs(found.slope[0, 0] - 0.5) < 0.03
    assert abs(found.average[0, 0] - 1.0) < 0.05
    np.testing.assert_allclose(found.apply(2 * effect[:, None, None])[:, 0, 0], effect, atol=0.12)


def test_predictions_that_outcomes_do_not_confirm_become_the_average() -> None:
    rng = np.random.default_rng(1)
    found = calibrate_effects(rng.normal(0, 3, (5_000, 1, 1)), campaign(np.full(5_000, 0.7), noise=1.0))
    assert found.slope[0, 0] == LEAST_SLOPE
    assert abs(found.average[0, 0] - 0.7) < 0.15


def test_a_row_counts_for_the_arms_it_could_have_had_and_by_its_chances() -> None:
    """Control is expected to give 1 and the offers 2: who got what is corrected by the surprise over its chance."""
    expected = np.tile(np.array([1.0, 2.0, 2.0])[:, None], (4, 1, 1))
    chances = np.array([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0], [0.5, 0.25, 0.25], [0.5, 0.5, 0.0]])
    arm, outcomes = np.array([0, 1, 2, 0]), np.array([[3.0], [4.0], [4.0], [np.nan]])
    found = robust_effects(expected, arm, chances, outcomes)[:, :, 0]
    np.testing.assert_allclose(found[0], [2 - (1 + 2 / 0.5), 2 - (1 + 2 / 0.5)])
    np.testing.assert_allclose(found[1], [2 + 2 / 0.5 - 1, np.nan])
    np.testing.assert_allclose(found[2], [2 - 1, 2 + 2 / 0.25 - 1])
    assert np.isnan(found[3]).all()


def test_the_interval_of_the_average_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = []
    for seed in range(200):
        found = calibrate_effects(rng.normal(size=(400, 1, 1)), campaign(np.full(400, 0.7), noise=1.0, seed=seed))
        width = found.width(np.zeros((1, 1, 1)), np.zeros((1, 1, 1)))[0, 0, 0]
        covered.append(abs(found.average[0, 0] - 0.7) <= width)
    assert 0.9 <= np.mean(covered) <= 0.99


def test_nobody_gets_more_than_was_ever_predicted_for_the_campaign() -> None:
    one = np.ones((1, 1))
    kept = EffectCalibration(2 * one, 0.5 * one, 0 * one, -1 * one, high=1 * one, average_error=0.3 * one, slope_error=0.4 * one)
    assert kept.apply(np.array([[[-50.0]], [[0.0]], [[50.0]]])).ravel().tolist() == [1.5, 2.0, 2.5]
    width = kept.width(np.array([[[50.0]]]), np.array([[[0.6]]]))
    np.testing.assert_allclose(width, 1.96 * np.sqrt((0.5 * 0.6) ** 2 + 0.3**2 + 0.4**2))
