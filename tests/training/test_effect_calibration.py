"""Calibrated effects: the measured average, weights of what outcomes confirm, and no more than they confirm."""

import numpy as np
from scipy.optimize import minimize

from training.effect_calibration import LEAST_SLOPE, EffectCalibration, calibrate_effects, robust_effects, stacked


def campaign(true_effect: np.ndarray, noise: float, seed: int = 0) -> np.ndarray:
    """Doubly robust effects of a campaign of two equal arms, with a wrong idea of what happens without it."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 2, len(true_effect))
    outcomes = (5 + arm * true_effect + rng.normal(0, noise, len(arm)))[:, None]
    return robust_effects(np.full((len(arm), 2, 1), 4.0), arm, np.full((len(arm), 2), 0.5), outcomes)


def test_predictions_twice_too_large_are_halved() -> None:
    effect = np.linspace(-1, 3, 20_000)
    parts = 2 * effect[:, None, None, None]
    found = calibrate_effects(parts, campaign(effect, noise=0.5))
    assert abs(found.slope[0, 0, 0] - 0.5) < 0.03
    assert abs(found.average[0, 0] - 1.0) < 0.05
    np.testing.assert_allclose(found.apply(parts)[:, 0, 0], effect, atol=0.12)


def test_predictions_that_outcomes_do_not_confirm_become_the_average() -> None:
    rng = np.random.default_rng(1)
    found = calibrate_effects(rng.normal(0, 3, (5_000, 2, 1, 1)), campaign(np.full(5_000, 0.7), noise=1.0))
    assert (found.slope == LEAST_SLOPE).all()
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
        found = calibrate_effects(rng.normal(size=(400, 1, 1, 1)), campaign(np.full(400, 0.7), noise=1.0, seed=seed))
        width = found.width(found.center[None], np.zeros((1, 1, 1)))[0, 0, 0]
        covered.append(abs(found.average[0, 0] - 0.7) <= width)
    assert 0.9 <= np.mean(covered) <= 0.99


def test_nobody_gets_more_than_was_ever_predicted_for_the_campaign() -> None:
    """Two parts, one offer, one outcome."""
    both, one = np.ones((2, 1, 1)), np.ones((1, 1))
    errors = np.array([[0.4, 0.0], [0.3, 0.3]])[:, :, None, None]
    kept = EffectCalibration(2 * one, 0.5 * both, 0 * both, -1 * both, high=1 * both, average_error=0.3 * one, slope_error=errors)
    asked = np.array([[-50.0, 0.0], [0.0, 0.0], [50.0, 50.0]])[:, :, None, None]
    assert kept.apply(asked).ravel().tolist() == [1.5, 2.0, 3.0]
    width = kept.width(asked[2:], np.array([[[0.6]]]))
    np.testing.assert_allclose(width, 1.96 * np.sqrt(0.6**2 + 0.3**2 + 0.4**2 + (0.3 + 0.3) ** 2))


def test_the_weights_are_the_least_squares_of_zero_or_more_and_shrunk_by_their_noise() -> None:
    """Two rightful predictors, one that is wrong way round, over two offers; the least squares found by a general optimiser."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3_000, 3, 2))
    effect = 0.8 * x[:, 0] + 0.3 * x[:, 1] - 0.5 * x[:, 2] + rng.normal(0, 2, (3_000, 2))
    weight, root = stacked(x, effect)

    def error(tried: np.ndarray) -> float:
        return float(np.square(effect - np.einsum("rkt,k->rt", x, tried)).sum())

    best = minimize(error, np.full(3, 0.5), bounds=[(0, None)] * 3).x
    own = x[:, :2].transpose(0, 2, 1).reshape(-1, 2)
    inverse = np.linalg.inv(own.T @ own)
    left = effect - np.einsum("rkt,k->rt", x, best)
    score = np.stack([x[row, :2] @ left[row] for row in range(len(x))])  # both offers' noise is one row's
    covariance = inverse @ score.T @ score @ inverse
    noise = np.trace(own.T @ own @ covariance) / np.square(own @ best[:2]).sum()
    np.testing.assert_allclose(weight, best * (1 - noise), atol=1e-4)
    assert weight[2] == 0
    np.testing.assert_allclose((root.T @ root)[:2, :2], covariance, rtol=1e-3)
    assert 0.9 < 1 - noise < 1


def test_an_offer_that_does_nothing_is_not_given_the_differences_of_one_that_does() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(6_000, 1))
    parts = np.repeat(x[:, :, None, None], 2, axis=2)  # the same prediction for both offers
    effects = np.stack([x[:, 0], 0 * x[:, 0]], axis=1)[:, :, None] + rng.normal(0, 1, (6_000, 2, 1))
    found = calibrate_effects(parts, effects)
    np.testing.assert_allclose(found.slope[0, :, 0], [1.0, 0.0], atol=0.06)


def test_two_offers_that_noise_cannot_tell_apart_share_their_weights() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(2_000, 1))
    parts = np.repeat(x[:, :, None, None], 2, axis=2)
    effects = 0.5 * parts[:, 0] + rng.normal(0, 1, (2_000, 2, 1))
    apart = [np.ptp(calibrate_effects(parts, effects).slope[0, :, 0])]
    alone = [calibrate_effects(parts[:, :, [at]], effects[:, [at]]).slope[0, 0, 0] for at in range(2)]
    assert apart[0] <= np.ptp(alone)


def test_what_an_offer_nobody_got_would_do_is_the_average_of_nothing() -> None:
    parts = np.random.default_rng(9).normal(size=(50, 2, 1, 1))
    found = calibrate_effects(parts, np.full((50, 1, 1), np.nan))
    assert found.average[0, 0] == found.average_error[0, 0] == 0
    assert (found.slope == LEAST_SLOPE).all()
    np.testing.assert_allclose(found.center[:, 0, 0], parts.mean(axis=0)[:, 0, 0])
