"""The uplift network without TensorFlow: it fits on JAX, and its parts are what they say."""

import os
import subprocess
import sys

import numpy as np
import pytest

from settings import ROOT

ON_JAX = """
import sys
sys.modules["tensorflow"] = None
import keras, numpy as np, pandas as pd
from training.uplift import fit_uplift
from training.uplift_config import UpliftConfig

random = np.random.default_rng(0)
x, arm = random.random(3000), random.integers(0, 2, 3000)
visited = (random.random(3000) < 0.2 + 0.5 * arm * (x > 0.5)).astype(float)
frame = pd.DataFrame({"treatment": np.where(arm, "mail", "control"), "propensity": 0.5, "visited": visited, "x_score": x})
found = fit_uplift(frame, ["mail"], ["visited"], ["x_score"], UpliftConfig(members=4), seed=1)
effect = found.predict(pd.DataFrame({"x_score": [0.1, 0.9]}))["visited"].mean[:, 0]
print(keras.backend.backend(), *effect.round(2))
"""


@pytest.mark.slow
def test_the_network_fits_on_jax_where_there_is_no_tensorflow():
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", ON_JAX], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    backend, low, high = done.stdout.split()
    assert backend == "jax"
    assert float(low) == pytest.approx(0.0, abs=0.15)
    assert float(high) == pytest.approx(0.5, abs=0.15)


def test_every_row_teaches_one_of_two_halves():
    from training.uplift import _halves

    counts = _halves(rows=7, members=4, seed=1)
    assert (counts[:, 0] + counts[:, 1]).tolist() == [1.0] * 7
    assert (counts[:, 2] + counts[:, 3]).tolist() == [1.0] * 7
    assert sorted(counts.sum(axis=0).tolist()) == [3.0, 3.0, 4.0, 4.0]


def test_the_loss_is_half_the_squared_error_under_the_arm_taken_plain_and_targeted():
    import keras

    from training.uplift_network import OwnArmLoss

    random = np.random.default_rng(0)
    base, effects = random.normal(size=(3, 2, 1)), random.normal(size=(3, 2, 2, 1))  # 3 rows, 2 members, 2 offers, 1 outcome
    taken, chances = np.eye(3), np.array([[0.5, 0.3, 0.2]] * 3)
    truth, is_known, counts = random.normal(size=(3, 1)), np.array([[1.0], [1.0], [0.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    layer = OwnArmLoss(targeted=0.25)
    given = [np.asarray(part, np.float32) for part in (base, effects, taken, chances, truth, is_known, counts)]
    layer(*given)
    epsilon = random.normal(size=(2, 3, 1)).astype(np.float32)
    layer.set_weights([epsilon])
    expected = []
    for row in range(3):
        total = 0.0
        for member in range(2):
            arm = row  # each row took the arm of its number
            own = base[row, member, 0] + sum(
                ((arm == offer) - chances[row, offer]) * effects[row, member, offer - 1, 0] for offer in (1, 2)
            )
            moved = own + epsilon[member, arm, 0] / chances[row, arm]
            error = (truth[row, 0] - own) ** 2 + 0.25 * (truth[row, 0] - moved) ** 2
            total += 0.5 * error * is_known[row, 0] * counts[row, member]
        expected.append(total)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(*given)), expected, rtol=1e-5)


def test_the_trees_say_the_same_of_every_offer_and_of_all_outcomes_behind_the_networks_effects():
    from training.uplift import _parts

    effects, trees = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2), np.arange(2 * 3 * 2).reshape(2, 3, 2)
    parts = _parts(effects, trees)
    assert parts.shape == (2, 3, 3, 2, 2)
    for row, member, offer, outcome in np.ndindex(effects.shape):
        assert parts[row, member, 0, offer, outcome] == effects[row, member, offer, outcome]
        for tree_outcome in range(2):
            assert parts[row, member, 1 + tree_outcome, offer, outcome] == trees[row, member, tree_outcome]
