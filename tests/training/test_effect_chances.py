"""Chances of the arms: as logged, as estimated where told to, and refused otherwise."""

import numpy as np
import pandas as pd
import pytest

from training.effect_chances import LEAST_CHANCE, NotRandomised, chances_of

ARMS = ["control", "mail"]


def test_logged_chances_are_those_among_the_arms_asked_and_of_the_rows_own_campaign():
    frame = pd.DataFrame(
        {
            "campaign_id": ["a", "a", "a", "b", "b"],
            "treatment": ["control", "mail", "gift", "control", "gift"],
            "propensity": [0.4, 0.2, 0.4, 0.5, 0.5],
        }
    )
    found = chances_of(frame, ARMS, np.zeros((5, 1)), adjust=False, seed=1)
    np.testing.assert_allclose(found.chances, [[2 / 3, 1 / 3], [2 / 3, 1 / 3], [0, 0], [1, 0], [0, 0]])
    assert found.is_kept.tolist() == [True, True, False, True, False]
    assert found.arm.tolist() == [0, 1, -1, 0, -1]
    assert found.adjustment is None


def test_chances_that_differ_by_person_are_kept_as_logged():
    frame = pd.DataFrame({"treatment": ["control", "mail", "mail", "control"], "propensity": [0.9, 0.1, 0.6, 0.4]})
    found = chances_of(frame, ARMS, np.zeros((4, 1)), adjust=False, seed=1)
    np.testing.assert_allclose(found.chances, [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]], atol=1e-6)


def test_without_logged_chances_nothing_is_claimed_unless_told_to_adjust():
    frame = pd.DataFrame({"treatment": ["control", "mail"] * 4, "propensity": [0.5, np.nan] * 4})
    with pytest.raises(NotRandomised, match=r"4 of 8 rows have none that a draw would have: who got what .* say `--adjust`"):
        chances_of(frame, ARMS, np.zeros((8, 1)), adjust=False, seed=1)


def test_estimated_chances_are_near_the_true_ones_and_rows_without_overlap_are_left_out():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    true = 1 / (1 + np.exp(-(1.5 * x[:, 0])))
    frame = pd.DataFrame({"treatment": np.where(rng.random(4000) < true, "mail", "control"), "propensity": np.nan})
    found = chances_of(frame, ARMS, x, adjust=True, seed=1)
    assert np.abs(found.chances[:, 1] - true).mean() < 0.02
    np.testing.assert_array_equal(found.is_kept, found.chances.min(axis=1) >= LEAST_CHANCE)
    told = found.adjustment
    assert told.rows == 4000
    assert told.left_out == (~found.is_kept).sum() > 0
    assert told.difference_before > 0.4
    assert told.difference_after < 0.1
    assert told.as_text().startswith("NOT RANDOMISED: the chances of 4,000 rows were estimated")
