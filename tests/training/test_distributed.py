"""Several processes train as one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from settings import ROOT

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys
from training import distributed
coordinator, processes, process, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if processes > 1:
    distributed.join(coordinator, processes, process)
from tests.training.conftest import make_histories, walk
from training.catalogue import catalogue_from_items
from training.encoder import train_encoder_network
from training.encoder_config import EncoderConfig
histories = make_histories({f"u{user}": walk(user, 4 + user % 6) for user in range(48)})
catalogue = catalogue_from_items(None, None, histories.all_item_ids)
config = EncoderConfig(sequence_length=8, dim=8, epochs=4, batch_rows=8, learning_rate=0.01, negatives=4, dropout=0.2)
encoder = train_encoder_network(histories, catalogue, config, 1)
open(out, "w").write(json.dumps(encoder.curves["loss"]))
"""


def losses(folder: Path, processes: int) -> list[list[float]]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        coordinator = f"127.0.0.1:{held.getsockname()[1]}"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    outs = [folder / f"{processes}-{process}.json" for process in range(processes)]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, coordinator, str(processes), str(process), str(out)],
            env=environment,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process, out in enumerate(outs)
    ]
    for one in running:
        _, told = one.communicate(timeout=300)
        assert one.returncode == 0, told[-3000:]
    return [json.loads(out.read_text()) for out in outs]


def test_two_processes_train_to_the_losses_of_one(tmp_path: Path):
    pytest.importorskip("jax")
    (alone,) = losses(tmp_path, 1)
    first, second = losses(tmp_path, 2)
    assert first == second
    np.testing.assert_allclose(first, alone, rtol=1e-5)
    assert alone[-1] < alone[0]


def test_every_row_of_a_batch_is_fed_by_one_process(monkeypatch: pytest.MonkeyPatch):
    from training import distributed

    order = np.random.default_rng(0).permutation(24)
    alone, batch = distributed.share_of_batches(order, 8)
    assert (alone.tolist(), batch) == (order.tolist(), 8)
    parts = []
    for process in range(2):
        monkeypatch.setattr(distributed, "_place", lambda process=process: (process, 2))
        own, batch = distributed.share_of_batches(order, 8)
        assert batch == 4
        parts.append(own.reshape(-1, 4))
    assert np.concatenate(parts, axis=1).ravel().tolist() == order.tolist()
    monkeypatch.setattr(distributed, "_place", lambda: (0, 3))
    with pytest.raises(ValueError, match=r"`batch_rows` must be a multiple of the processes\. Received 8 and 3"):
        distributed.share_of_batches(order, 8)


TASK = """
import sys
from datetime import date
from training import frames
from tests.training.fake_features import FakeFeatures, events_of, no_labels
fake = FakeFeatures(events_of(10, 6), no_labels())
for name in ("training_frame", "rows_as_of", "read_mart"):
    setattr(frames, name, getattr(fake, name))
from training.runs import accompany_encoder, train_encoder
window, options, process = (date(2024, 1, 1), date(2024, 3, 1)), {"epochs": 2, "seed": 1}, int(sys.argv[1])
if process:
    accompany_encoder(window, options, process)
else:
    train_encoder(window, options)
"""


def loss_of_tasks(home: Path, processes: int) -> float:
    """The encoder's loss by as many processes as Airflow's workers would be, started in the wrong order."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(ROOT),
        "PORTRAIT_HOME": str(home),
        "PORTRAIT_TRAINING_PROCESSES": str(processes),
    }
    running = [
        subprocess.Popen([sys.executable, "-c", TASK, str(process)], env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for process in reversed(range(processes))
    ]
    for one in running:
        _, told = one.communicate(timeout=300)
        assert one.returncode == 0, told[-3000:]
    [metrics] = (home / "candidates" / "encoder").glob("*/metrics.json")
    assert not list((home / "candidates" / "encoder").glob(".*"))  # neither meeting nor checkpoint is left
    return float(json.loads(metrics.read_text())["loss"])


def test_two_tasks_train_one_encoder_to_the_loss_of_one(tmp_path: Path):
    pytest.importorskip("jax")
    assert loss_of_tasks(tmp_path / "two", 2) == pytest.approx(loss_of_tasks(tmp_path / "one", 1), rel=1e-5)


def test_who_waits_for_nobody_is_told_what_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from training import distributed

    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(distributed, "MEETING_SECONDS", 0)
    with pytest.raises(distributed.NobodyCame, match=r"2 processes train the encoder together.*PORTRAIT_GPU_WORKERS"):
        distributed.meet(tmp_path / "meeting", 1, 2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        left = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "meeting").write_text(json.dumps({"coordinator": left}))  # of a try that was killed
    with pytest.raises(distributed.NobodyCame):
        distributed.meet(tmp_path / "meeting", 1, 2)
