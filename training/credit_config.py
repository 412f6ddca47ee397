"""Hyper-parameters of the credit network. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class CreditConfig:
    """How the network is built and learns; `parts * repeats` groups learn side by side, each without one part of the rows.

    Widths, bins and weight decay are those that `benchmarks/credit.py` chose by rows kept out of another seed's learning part. The
    benchmark divides the rows more often and has more members, which is for a GPU.
    """

    parts: int = 5
    repeats: int = 1  # divisions of the rows into parts
    members: int = 16  # networks of a group, which share their matrices
    bins: int = 16  # of a number, at its quantiles
    number_dim: int = 24
    projected: int = 96
    hidden: int = 96
    layers: int = 2
    dropout: float = 0.2
    learning_rate: float = 1e-3
    weight_decay: float = 0.03
    batch: int = 256  # smaller where an epoch would have fewer than LEAST_STEPS steps
    epochs: int = 60
    patience: int = 8
    derives: bool = True  # whether series are summed up in columns of their own
    max_values: int = 30  # values of a string column with an input of their own, by falling count; the rest share one

    @property
    def groups(self) -> int:
        return self.parts * self.repeats

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
