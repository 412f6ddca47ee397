"""Traits: calibrated probabilities, and the linear network among those that are averaged."""

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import log_softmax

from training.calibration import scale_and_shifts


def test_logits_that_are_too_large_and_lean_to_one_class_are_put_right():
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (30_000, 3))
    right = 0.5 * logits + np.array([0.6, 0.0, -0.6])
    truth = (right + random.gumbel(size=right.shape)).argmax(axis=1)
    scale, shifts = scale_and_shifts(logits, truth)
    assert abs(scale - 0.5) < 0.02
    np.testing.assert_allclose(shifts - shifts.mean(), [0.6, 0.0, -0.6], atol=0.05)


def test_calibration_is_the_minimum_that_a_search_without_gradients_finds():
    random = np.random.default_rng(1)
    logits, truth = random.normal(size=(40, 2)), random.integers(0, 2, 40)

    def loss(p: np.ndarray) -> float:
        likely = log_softmax(np.exp(p[0]) * logits + p[1:], axis=1)
        return -likely[np.arange(40), truth].mean() + (p[1] ** 2 + p[2] ** 2) / 80

    slow = minimize(
        loss, np.zeros(3), method="Nelder-Mead", bounds=[(-3, 3), (None, None), (None, None)], options={"maxiter": 5000, "fatol": 1e-12}
    )
    scale, shifts = scale_and_shifts(logits, truth)
    assert abs(loss(np.append(np.log(scale), shifts)) - slow.fun) < 1e-6
    assert scale_and_shifts(np.zeros((0, 2)), np.zeros(0, int))[0] == 1.0


def test_the_linear_network_is_the_regression_whose_penalty_the_rows_kept_out_prefer():
    import keras
    from sklearn.linear_model import LogisticRegression

    from training.portrait_config import PortraitConfig
    from training.traits import fit_linear_network

    random = np.random.default_rng(2)
    for classes in (2, 3):
        bag = csr_matrix(random.random((90, 8)) * (random.random((90, 8)) < 0.4))
        truth = (bag.toarray() @ random.normal(size=(8, classes)) + random.gumbel(size=(90, classes))).argmax(axis=1)
        learn, held = np.arange(60), np.arange(60, 90)
        config = PortraitConfig(linear_inverse_penalties=(0.001, 1.0, 1000.0))
        network = fit_linear_network(bag, truth, learn, held, classes, config)
        tried = [LogisticRegression(C=c, max_iter=500).fit(bag[learn], truth[learn]) for c in (0.001, 1.0, 1000.0)]
        losses = [-np.log(m.predict_proba(bag[held])[np.arange(30), truth[held]]).mean() for m in tried]
        best = tried[int(np.argmin(losses))]
        found = keras.ops.convert_to_numpy(keras.ops.softmax(network(bag.toarray())))
        np.testing.assert_allclose(found, best.predict_proba(bag), atol=1e-5)
