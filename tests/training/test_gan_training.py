"""The GAN learns on both backends, says the same twice, and a run that collapses is stopped."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from settings import ROOT
from training.gan.config import GanConfig

pytestmark = pytest.mark.slow

SMALL = GanConfig(noise_dim=8, hidden=32, batch=60, pack=2, steps=300, checks=3, learning_rate=4e-3, averaging=0.98, restarts=0)


def clothes(rows: int = 800) -> pd.DataFrame:
    """Coats are dear and bought in winter, hats are cheap and bought in summer; three quarters are hats."""
    random = np.random.default_rng(1)
    is_coat = random.random(rows) < 0.25
    price = np.where(is_coat, random.normal(150, 10, rows), random.normal(20, 3, rows)).round(2)
    season = np.where(is_coat ^ (random.random(rows) < 0.05), "winter", "summer")
    return pd.DataFrame({"kind": np.where(is_coat, "coat", "hat"), "price": price, "season": season})


SCRIPT = """
import json, sys
from tests.training.test_gan_training import SMALL, clothes, figures
open(sys.argv[1], "w").write(json.dumps(figures(clothes(), SMALL)))
"""


def figures(table: pd.DataFrame, config: GanConfig) -> dict[str, object]:
    """What a fitted generator's rows say, drawn twice."""
    import keras

    from training.gan.fit import fit_gan

    gan = fit_gan(table, config, 3)
    made, again = gan.sample_table(1500, 5), gan.sample_table(1500, 5)
    is_coat = made["kind"] == "coat"
    return {
        "backend": keras.backend.backend(),
        "coats": float(is_coat.mean()),
        "winter": float((made["season"][is_coat] == "winter").mean()),
        "summer": float((made["season"][~is_coat] == "summer").mean()),
        "dear": float((made["price"][is_coat] > 80).mean()),
        "cheap": float((made["price"][~is_coat] < 80).mean()),
        "same": bool(made.equals(again)),
        "other": bool(made.equals(gan.sample_table(1500, 6))),
        "curves": gan.curves,
    }


def assert_learned(found: dict[str, object], backend: str) -> None:
    """That a generator of `backend` learned what belongs together, draws by the seed alone and was looked at three times."""
    assert found["backend"] == backend
    assert found["coats"] == pytest.approx(0.25, abs=0.1)
    assert min(found["winter"], found["summer"], found["dear"], found["cheap"]) > 0.75  # type: ignore[type-var]
    assert (found["same"], found["other"]) == (True, False)
    assert {len(curve) for curve in found["curves"].values()} == {3}  # type: ignore[attr-defined]


def test_what_belongs_together_is_learned_on_tensorflow():
    assert_learned(figures(clothes(), SMALL), "tensorflow")


def test_what_belongs_together_is_learned_on_jax(tmp_path: Path):
    pytest.importorskip("jax")
    out = tmp_path / "figures.json"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(out)], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_learned(json.loads(out.read_text()), "jax")


def test_the_critics_loss_by_hand():
    import tensorflow as tf

    from training.gan.losses import critic_loss, generator_loss, packed

    weights = np.array([[3.0], [4.0]], np.float32)
    random = np.random.default_rng(0)
    real, made = (random.normal(size=(6, 2)).astype(np.float32) for _ in range(2))

    def gradient(function, values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = tf.reduce_sum(function(values))
        return tape.gradient(total, values)

    found = critic_loss(
        lambda rows: tf.matmul(rows, weights), gradient, tf.constant(real), tf.constant(made), random.random((6, 1), np.float32), 10.0
    )
    # a linear critic's slope is |(3, 4)| = 5 everywhere: (5 - 1)^2 = 16
    assert float(found) == pytest.approx((made @ weights).mean() - (real @ weights).mean() + 10 * 16, rel=1e-5)
    logs = np.log(np.array([[0.5, 0.5, 0.9, 0.1], [0.2, 0.8, 0.5, 0.5]], np.float32))
    wanted = np.array([[0, 0, 1, 0], [0, 1, 0, 0]], np.float32)
    assert float(generator_loss(np.array([[1.0], [3.0]], np.float32), logs, wanted)) == pytest.approx(-2 - (np.log(0.9) + np.log(0.8)) / 2)
    rows = np.array(packed(real, made[:, :1], 2))
    np.testing.assert_array_equal(rows[1], np.concatenate([real[2], made[2, :1], real[3], made[3, :1]]))


def test_a_generator_that_collapses_is_stopped_begun_again_and_given_up():
    from training.gan.fit import fit_gan
    from training.gan.monitors import CollapsedGan

    said: list[str] = []
    with pytest.raises(CollapsedGan, match=r"2 runs collapsed, the last with coverage 0.0"):
        fit_gan(clothes(), replace(SMALL, learning_rate=3.0, steps=300, restarts=1, averaging=0.0), 3, log=said.append)
    stopped = [line for line in said if "begun again" in line]
    assert len(stopped) == 2
    assert sum(line.startswith("step") for line in said) < 6  # not every look of both runs was needed


def test_evaluate_gan_gives_the_promised_object_and_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import training.gan.config as settings_of_gan
    import training.gan.utility as utility
    from training.evaluate import CannotEvaluate, evaluate_gan

    monkeypatch.setattr(settings_of_gan, "GanConfig", lambda: SMALL)
    monkeypatch.setattr(utility, "CHOICES", ({"max_iter": 40, "max_leaf_nodes": 7},))
    clothes().assign(bought=lambda table: np.where(table["kind"] == "coat", "yes", "no")).to_csv(tmp_path / "rows.csv", index=False)
    found = evaluate_gan(table=tmp_path / "rows.csv", target="bought", seed=2, steps=300, report=tmp_path / "page.html")
    json.dumps(found, allow_nan=False)
    assert {"metrics", "baselines", "verdict", "curves", "counts", "targets_sha256", "seconds"} <= set(found)
    assert found["counts"]["learned"] == 512  # four fifths of four fifths of 800
    assert set(found["verdict"]["uses"]) == {"sharing", "augmentation"}
    assert found["verdict"]["lift"]["average_precision_alone"]["mean"] > 0.9
    page = (tmp_path / "page.html").read_text()
    assert "Columns in pairs" in page and "category recall" in page
    with pytest.raises(CannotEvaluate, match=r"`target` must be a column of rows.csv. Received 'sold'"):
        evaluate_gan(table=tmp_path / "rows.csv", target="sold")
    with pytest.raises(CannotEvaluate, match="`price` must have 2 to 20 values"):
        evaluate_gan(table=tmp_path / "rows.csv", target="price")
