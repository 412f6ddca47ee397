"""On JAX an epoch is one loop on the device: the same losses as `fit`, in float32 and nearly so in bfloat16."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from settings import ROOT

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys
from dataclasses import replace
import training.steppers as steppers
from tests.training.conftest import make_histories, walk
from training.catalogue import catalogue_from_items
from training.encoder import train_encoder_network
from training.encoder_config import EncoderConfig
histories = make_histories({f"u{user}": walk(user, 4 + user % 6) for user in range(96)})
catalogue = catalogue_from_items(None, None, histories.all_item_ids)
config = EncoderConfig(sequence_length=8, dim=16, epochs=20, batch_rows=4, learning_rate=0.01, dropout=0.2)
losses, dtypes = {}, {}
def train(name, config):
    encoder = train_encoder_network(histories, catalogue, config, 1)
    losses[name] = encoder.curves["loss"]
    dtypes[name] = [encoder.network.compute_dtype, str(encoder.network.weights[0].dtype), str(next(encoder.scores(histories)).dtype)]
train("scanned", config)
train("half", replace(config, precision="mixed_bfloat16"))
steppers.is_alone = lambda: False
train("fitted", config)
open(sys.argv[1], "w").write(json.dumps([losses, dtypes]))
"""


def test_a_scanned_epoch_learns_as_a_fitted_one_and_half_precision_nearly_so(tmp_path: Path):
    pytest.importorskip("jax")
    out = tmp_path / "losses.json"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(out)], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    losses, dtypes = json.loads(out.read_text())
    assert losses["scanned"][-1] < 0.5 * losses["scanned"][0]
    np.testing.assert_allclose(losses["scanned"], losses["fitted"], rtol=1e-4)
    np.testing.assert_allclose(losses["half"], losses["scanned"], rtol=0.1)
    assert dtypes["half"] == ["float32", "float32", "float32"]
