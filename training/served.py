"""SavedModels asked in this process, just as the model server asks them: for golden requests and for comparing candidates."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from settings import get_settings
from training.histories import Histories
from training.signatures import EXPLAIN, GOLDEN_FILE, SIGNATURE, USER_FEATURES

_DTYPES = {tf.string: object, tf.int32: np.int32, tf.int64: np.int64, tf.float32: np.float32}


def history_inputs(histories: Histories, as_of_us: int | np.ndarray) -> dict[str, np.ndarray]:
    """The signature's history inputs, right-padded: `(users, steps)`, and `as_of_us` `(users,)`."""
    steps = max(1, int(histories.lengths.max(initial=0)))

    def padded(columns: list[np.ndarray], dtype: Any, blank: Any) -> np.ndarray:
        rows = np.full((len(histories), steps), blank, dtype)
        for row, column in zip(rows, columns, strict=True):
            row[: len(column)] = column
        return rows

    return {
        "event_item_ids": padded(histories.item_ids, object, ""),
        "event_types": padded(histories.event_types, object, ""),
        "event_times_us": padded(histories.times_us, np.int64, 0),
        "as_of_us": np.broadcast_to(np.asarray(as_of_us, np.int64), (len(histories),)).copy(),
    }


def number_inputs(numbers: np.ndarray) -> dict[str, np.ndarray]:
    """`numbers` `(rows, USER_FEATURES)` as the signature's inputs, each `(rows,)`."""
    return {name: np.ascontiguousarray(numbers[:, place], np.float32) for place, name in enumerate(USER_FEATURES)}


class SavedPredictor:
    """A SavedModel folder that answers with numpy arrays; strings come back as str objects."""

    def __init__(self, path: Path) -> None:
        self._model = tf.saved_model.load(str(path))  # kept: its variables live as long as it does
        self._sign(SIGNATURE)

    def explaining(self) -> SavedPredictor:
        """The same loaded model, asked by its signature `explain`."""
        return self.asked_by(EXPLAIN)

    def asked_by(self, signature: str) -> SavedPredictor:
        """The same loaded model, asked by another of its signatures."""
        other = copy(self)
        other._sign(signature)
        return other

    def _sign(self, signature: str) -> None:
        self._signature = self._model.signatures[signature]
        self.inputs = self._signature.structured_input_signature[1]

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {name: tf.constant(inputs[name], spec.dtype) for name, spec in self.inputs.items()}
        return {name: _text(tensor.numpy()) for name, tensor in self._signature(**tensors).items()}


def latency_ms(saved_model: Path, calls: int = 15) -> dict[int, float]:
    """Median milliseconds of a call in this process with the first golden request, at batch 1 and 32."""
    golden = json.loads((saved_model / GOLDEN_FILE).read_text())["inputs"]
    ask, found = SavedPredictor(saved_model), {}
    for batch in (1, 32):
        rows: dict[str, np.ndarray] = {
            name: np.repeat(np.array(golden[name][:1], _DTYPES[spec.dtype]), batch, axis=0) for name, spec in ask.inputs.items()
        }
        times = []
        for _ in range(calls):
            started = time.perf_counter()
            ask(rows)
            times.append(time.perf_counter() - started)
        found[batch] = round(1000 * statistics.median(times), 2)
    return found


def champion(model: str) -> tuple[int, Path] | None:
    """The version of `model` that answers users and its folder, else the highest published one; None where there is none.

    A version that is on trial or was rolled back is higher than the one that answers, and no champion: `releases_dir` says which that is.
    """
    folder = get_settings().models_dir / model
    release = get_settings().releases_dir / f"{model}.json"
    if release.exists():
        stable = json.loads(release.read_text(encoding="utf-8"))["stable"]
        return (stable, folder / str(stable)) if stable is not None else None
    versions = sorted((int(path.name), path) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []
    return versions[-1] if versions else None


def blocks(count: int, size: int = 256) -> Iterator[np.ndarray]:
    """Row numbers `0 .. count - 1` in blocks."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def _text(values: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda value: value.decode(), otypes=[object])(values) if values.dtype == object and values.size else values
