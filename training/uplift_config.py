"""Hyper-parameters of the uplift network. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class UpliftConfig:
    """How the network learns. Small and held back: an uplift is a small difference of two large numbers.

    `base_rows` and `effect_rows` say how strongly the weights are held towards zero: as strongly as that many rows of evidence would.
    """

    hidden: int = 16
    dropout: float = 0.1
    base_rows: float = 10.0
    effect_rows: float = 1000.0
    targeted: float = 0.5  # weight of the targeted regularisation
    propensity: float = 0.1  # weight of the propensity head, where propensities are not logged
    learning_rate: float = 0.005
    batch: int = 512
    epochs: int = 15
    members: int = 16  # networks, each fitted on a random half of the rows, two and two on complementary halves
    trees: int = 12  # behind each member
    leaf_rows: int = 80  # of a member's half that a leaf of a tree must hold, and no fewer than this share of them
    leaf_share: float = 0.005
    max_values: int = 30  # values of a string covariate with an input of their own, by falling count; the rest share one
    min_arm_rows: int = 20  # an arm with fewer rows is left out
    adjust: bool = False  # learn from campaigns that were not randomised, by a propensity model, and say so

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
