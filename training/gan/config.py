"""How a GAN for rows is built, learns and is watched. Light to import."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class GanConfig:
    """Defaults were set by hand and none was searched for on test rows; docs/gan.md says what they reach."""

    noise_dim: int = 128
    hidden: int = 256
    layers: int = 2
    pack: int = 5  # rows that the critic sees at once
    batch: int = 500
    steps: int = 12000
    learning_rate: float = 5e-4
    penalty: float = 10.0
    temperature: float = 0.2
    averaging: float = 0.999  # of the generator's weights
    checks: int = 12  # looks at held-out rows during training
    restarts: int = 2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
