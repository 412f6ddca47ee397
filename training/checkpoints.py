"""A fit that was killed goes on where its last whole epoch ended, and ends with the same numbers as one that was not.

What an epoch needs is kept: weights, optimiser state, the state of every random generator in the model, and what the loop knows. The
order of the rows is drawn from seed and epoch, so it needs no state.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np


class Checkpoint:
    """One file, `path`, written whole or not at all after each epoch."""

    def __init__(self, path: Path, is_read_only: bool = False) -> None:
        self.path, self.is_read_only = path, is_read_only

    def save(self, model: keras.Model, facts: dict[str, Any], best: list[np.ndarray] | None) -> None:
        """Keeps the model's whole state, `facts` that JSON can hold, and the best weights so far; of several processes, one does."""
        if self.is_read_only:
            return
        parts = {"state": _state(model), "best": best or []}
        arrays: dict[str, Any] = {
            f"{part}_{place}": np.asarray(values) for part, found in parts.items() for place, values in enumerate(found)
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f"{self.path.name}.tmp-{os.getpid()}")
        with beside.open("wb") as file:
            np.savez(file, facts=np.array(json.dumps(facts)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)

    def load(self, model: keras.Model) -> tuple[dict[str, Any], list[np.ndarray] | None] | None:
        """Puts the kept state into a compiled `model` of the same form and gives facts and best weights; None where nothing is kept."""
        if not self.path.exists():
            return None
        model.optimizer.build(model.trainable_variables)
        with np.load(self.path) as kept:
            for place, variable in enumerate(_variables(model)):
                variable.assign(kept[f"state_{place}"])
            best = [kept[f"best_{place}"] for place in range(sum(name.startswith("best_") for name in kept.files))]
            return json.loads(str(kept["facts"])), best or None

    def discard(self) -> None:
        """Forgets what was kept: the fit has ended."""
        if not self.is_read_only:
            self.path.unlink(missing_ok=True)


def _variables(model: keras.Model) -> list[Any]:
    """Weights and random states of the model, then the optimiser's, in an order that the model's form decides."""
    return [*model.variables, *model.optimizer.variables]


def _state(model: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in _variables(model)]
