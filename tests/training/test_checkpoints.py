"""A training run that was killed ends with the same numbers as one that was not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from settings import ROOT

pytestmark = pytest.mark.slow

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from tests.training.conftest import make_histories, walk
from training.catalogue import catalogue_from_items
from training.checkpoints import Checkpoint
from training.encoder import train_encoder_network
from training.encoder_config import EncoderConfig
from training.fitting import Watch
from training.splits import Validation

folder, kill_at = Path(sys.argv[1]), int(sys.argv[2])
histories = make_histories({f"u{user}": walk(user, 4 + user % 6) for user in range(48)})
catalogue = catalogue_from_items(None, None, histories.all_item_ids)
validation = Validation(histories.without_last(1)[:20], np.array([items[-1] for items in histories.item_ids[:20]], object))
lines = []

def log(epoch, figures):
    if epoch == kill_at:  # the epoch is done and not yet kept: all of it is lost
        os.kill(os.getpid(), signal.SIGKILL)

config = EncoderConfig(sequence_length=8, dim=8, epochs=6, patience=6, batch_rows=4, learning_rate=0.01, negatives=4, id_dropout=0.2)
watch = Watch(lines.append, log, Checkpoint(folder / "kept"))
encoder = train_encoder_network(histories.without_last(1), catalogue, config, 1, validation=validation, watch=watch)
np.save(folder / "vectors.npy", encoder.vectors(histories))
(folder / "curves.json").write_text(json.dumps({"curves": encoder.curves, "first line": lines[0]}))
"""


def train(folder: Path, kill_at: int) -> int:
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(kill_at)], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    return done.returncode


def test_a_killed_run_goes_on_and_ends_with_the_same_numbers_to_the_last_digit(tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(whole, -1) == 0
    assert train(killed, 3) == -signal.SIGKILL
    assert (killed / "kept").exists()
    assert train(killed, -1) == 0
    found = [json.loads((folder / "curves.json").read_text()) for folder in (whole, killed)]
    assert found[1]["first line"] == "goes on after epoch 3 of 6"
    assert found[0]["curves"] == found[1]["curves"]
    assert len(found[0]["curves"]["loss"]) == 6
    np.testing.assert_array_equal(*(np.load(folder / "vectors.npy") for folder in (whole, killed)))
    assert not (killed / "kept").exists()
