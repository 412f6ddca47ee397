"""Threads and GPU memory of a training process, set before TensorFlow starts."""

from __future__ import annotations

from settings import get_settings


def prepare() -> None:
    """At most `settings.training_threads` CPU threads, and GPU memory as needed; later calls in the same process change nothing."""
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(get_settings().training_threads)
        tf.config.threading.set_inter_op_parallelism_threads(get_settings().training_threads)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:  # TensorFlow has started: it keeps what it has
        return
