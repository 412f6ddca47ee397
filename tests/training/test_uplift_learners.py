"""S-, T-, X- and DR-learners find a planted effect, and none where there is none."""

import numpy as np
import pytest

from training.uplift_learners import HELD_BACK, LEARNERS, Taught


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_finds_who_responds(name):
    generator = np.random.default_rng(0)
    responds, is_treated = generator.random(4000) < 0.5, generator.random(4000) < 0.4
    outcome = (generator.random(4000) < np.where(responds & is_treated, 0.6, 0.2)).astype(float)
    covariates, chance = responds[:, None].astype(float), np.full(4000, 0.4)
    predicted = LEARNERS[name](Taught(covariates, outcome, is_treated, chance), np.array([[0.0], [1.0]]), HELD_BACK, 1)
    assert predicted == pytest.approx([0.0, 0.4], abs=0.08)
    flat = LEARNERS[name](Taught(covariates, np.zeros(4000), is_treated, chance), np.array([[0.0]]), HELD_BACK, 1)
    assert flat.tolist() == [0.0]


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_takes_amounts_too(name):
    generator = np.random.default_rng(1)
    x, is_treated = generator.random(4000), generator.random(4000) < 0.5
    outcome = 10 + 4 * x * is_treated + generator.normal(0, 1, 4000)
    predicted = LEARNERS[name](Taught(x[:, None], outcome, is_treated, np.full(4000, 0.5)), np.array([[0.1], [0.9]]), HELD_BACK, 1)
    assert predicted == pytest.approx([0.4, 3.6], abs=0.8)
