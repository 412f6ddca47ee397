"""Hyper-parameters of the portrait heads. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PortraitConfig:
    """How the trait and the propensity heads on the frozen encoder learn."""

    hidden: int = 32
    dropout: float = 0.3
    weight_decay: float = 1e-3
    learning_rate: float = 3e-3
    batch: int = 256
    trait_epochs: int = 30
    propensity_epochs: int = 6
    min_labels: int = 20  # a trait with fewer labels has no head
    min_value_labels: int = 5  # a value with fewer labels is no class
    calibration_share: float = 0.2  # labels kept out of fitting, for calibration

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
