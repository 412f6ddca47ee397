"""Hyper-parameters of the uplift networks. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class UpliftConfig:
    """How the networks, one per arm, learn. Small and held back: an uplift is a small difference of two large numbers."""

    hidden: int = 16
    dropout: float = 0.2
    weight_decay: float = 0.02
    learning_rate: float = 2e-3
    batch: int = 512
    epochs: int = 12
    members: int = 1
    max_values: int = 30  # values of a string covariate with an input of their own, by falling count; the rest share one
    min_arm_rows: int = 20  # an arm with fewer rows is left out

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
