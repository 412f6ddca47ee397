"""The golden request that every SavedModel carries: inputs, and what the model answered when it was exported."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving.portrait_client import wire
from training.signatures import GOLDEN_FILE

TOLERANCE = 1e-4


class GoldenMismatch(Exception):
    """The golden request is missing or unreadable, or the model does not answer it as recorded."""


@dataclass(frozen=True)
class GoldenRequest:
    """`inputs` and `outputs` as nested lists by name."""

    inputs: dict[str, Any]
    outputs: dict[str, Any]

    def arrays(self, dtypes: dict[str, int]) -> dict[str, np.ndarray]:
        """The inputs as arrays of the signature's dtypes (TensorFlow's numbers); text as bytes."""
        found = {}
        for name, values in self.inputs.items():
            kind = wire.DTYPES[dtypes[name]][1] if name in dtypes else None
            array = np.array(values, kind)
            if array.dtype.kind in "OU":
                array = np.array([str(value).encode() for value in array.flat] + [None], object)[:-1].reshape(array.shape)
            found[name] = array
        return found

    def check(self, answer: dict[str, np.ndarray]) -> None:
        """GoldenMismatch unless `answer` (text as bytes or str) has the recorded outputs: numbers to 1e-4, text exactly."""
        if answer.keys() != self.outputs.keys():
            raise GoldenMismatch(f"The golden answer has the outputs {sorted(self.outputs)}. Received {sorted(answer)}")
        for name, recorded in self.outputs.items():
            array = answer[name]
            if array.dtype.kind == "O":
                got = np.vectorize(lambda value: value.decode() if isinstance(value, bytes) else value, otypes=[object])(array).tolist()
                same = got == recorded
            elif array.size == 0:
                same = array.tolist() == recorded  # an array made of empty lists has lost its last dimensions
            else:
                expected = np.array(recorded, array.dtype)
                same = expected.shape == array.shape and np.allclose(expected, array, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
            if not same:
                shown = f"recorded {str(recorded)[:120]}, received {str(array.tolist())[:120]}"
                raise GoldenMismatch(f"Output `{name}` must equal the golden answer to {TOLERANCE:g}: {shown}")


def read(folder: Path) -> GoldenRequest:
    """The golden request of a SavedModel folder."""
    try:
        content = json.loads((folder / GOLDEN_FILE).read_text(encoding="utf-8"))
        return GoldenRequest(dict(content["inputs"]), dict(content["outputs"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"A model must carry {GOLDEN_FILE} with its inputs and outputs. Reading it in {folder}: {error!r}. Export it again."
        raise GoldenMismatch(message) from None
