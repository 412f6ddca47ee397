"""Hyper-parameters of the portrait heads. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PortraitConfig:
    """How the trait, propensity and spend heads on the frozen encoder learn."""

    hidden: int = 32
    dropout: float = 0.3
    weight_decay: float = 1e-3
    learning_rate: float = 3e-3
    batch: int = 256
    propensity_epochs: int = 6
    spend_power: float = 1.7  # of the Tweedie loss: 1 is Poisson, 2 gamma
    spend_steps: int = 200  # of the optimizer, however many rows there are
    spend_dropout: float = 0.3
    spend_parts: int = 5  # networks, each fitted without another part of the users
    trait_epochs: int = 60
    trait_patience: int = 4
    trait_parts: int = 3  # every network of a trait is fitted so many times, each without another part of the labels
    trait_learning_rate: float = 1e-3
    trait_weight_decay: float = 1e-2
    trait_dropout: float = 0.5
    linear_inverse_penalties: tuple[float, ...] = (1.0, 2.0, 3.0)  # tried; on bags of length 1
    item_hidden: int = 128
    item_dropout: float = 0.8  # share of a user's items hidden while training
    taste_hidden: int = 256
    taste_dropout: float = 0.4
    directions: int = 200  # in which users' items vary
    bag_scale: float = 8.0  # a bag has length 1; its parts are small numbers
    trait_precision: float = 0.8  # a value is said from the probability at which it was right so often
    min_labels: int = 20  # a trait with fewer labels has no head
    min_value_labels: int = 5  # a value with fewer labels is no class
    calibration_share: float = 0.2  # labels kept out of fitting, for calibration

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
