"""Training on several devices or machines, on the JAX backend: every process holds the model and feeds its share of each batch.

`join` before anything else of Keras; then train as always. Two processes train to the losses of one, since what is averaged is the
batch of all (Keras's DataParallel over `jax.distributed`; on CPUs the processes talk through gloo). On TensorFlow, Keras's `fit` trains on
the devices of one machine under `tf.distribute.MirroredStrategy`, and on several machines not at all.
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import numpy as np

from settings import get_settings
from sources.durable import replace_text

MEETING_SECONDS = 300


class NobodyCame(Exception):
    """The processes that should train together did not find each other in time."""


def meet(place: Path, process: int, processes: int) -> None:
    """`join` for tasks that Airflow starts anywhere: process 0 writes into the file `place` where it listens, and the others wait for it.

    A killed try may have left its file: nobody listens at that address, so the others wait on. To be called before Keras is imported.
    Raises NobodyCame where process 0 did not listen within five minutes.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    if process == 0:
        host = get_settings().host
        with socket.create_server(("", 0)) as free:
            port = free.getsockname()[1]
        address = f"{host if host.startswith('127.') else socket.gethostname()}:{port}"
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_text(place, json.dumps({"coordinator": address}))
    else:
        deadline = time.monotonic() + MEETING_SECONDS
        while not (address := _listening(place)):
            if time.monotonic() > deadline:
                raise NobodyCame(
                    f"{processes} processes train the encoder together, and the first has not come within {MEETING_SECONDS} s. Start as "
                    "many workers of the queue `gpu` (PORTRAIT_GPU_WORKERS), or lower PORTRAIT_TRAINING_PROCESSES."
                )
            time.sleep(0.2)
    join(address, processes, process)
    place.unlink(missing_ok=True)  # all are there: whoever comes later belongs to another try


def _listening(place: Path) -> str:
    """The address in `place` if somebody listens there, else ''."""
    try:
        address = str(json.loads(place.read_text())["coordinator"])
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return ""
    return address


def join(coordinator: str, processes: int, process: int) -> None:
    """Makes this process number `process` of `processes` that meet at `coordinator` (`host:port` of process 0).

    Raises RuntimeError where Keras does not run on JAX.
    """
    import keras

    if keras.backend.backend() != "jax":
        raise RuntimeError(f"Several processes train on JAX. Keras runs on {keras.backend.backend()}. Set KERAS_BACKEND=jax.")
    import jax

    if not Path("/dev/nvidiactl").exists():
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(coordinator, processes, process)
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=keras.distribution.list_devices(), auto_shard_dataset=False)
    )


def share_of_batches(order: np.ndarray, batch_rows: int) -> tuple[np.ndarray, int]:
    """The rows of `order` that this process feeds, and how many of each batch: all of them where it trains alone.

    Raises ValueError where a batch cannot be shared evenly.
    """
    process, processes = _place()
    if batch_rows % processes:
        raise ValueError(f"`batch_rows` must be a multiple of the processes. Received {batch_rows} and {processes}. Choose another.")
    own = batch_rows // processes
    batches = order.reshape(-1, batch_rows)
    return batches[:, process * own : (process + 1) * own].ravel(), own


def is_alone() -> bool:
    """Whether one process trains the model on one device."""
    import keras

    return keras.distribution.distribution() is None


def _place() -> tuple[int, int]:
    """This process and how many there are."""
    if is_alone():
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()
