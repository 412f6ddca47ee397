"""Drawn applications beside the real ones that teach the credit model, where the shop wants them and where they are shown to help.

They come from the learning part alone, teach every group of the network, and nothing is judged by them: the epoch of a group and the
calibration go by real rows that neither the group nor the generator has learned from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from settings import get_settings

if TYPE_CHECKING:
    from training.metrics import Interval

TARGET = "defaulted"
#: A generator of fewer rows, or of fewer of a class, says nothing.
LEAST_ROWS, LEAST_RARE = 1000, 100


@dataclass(frozen=True)
class DrawnRows:
    """`rows` that teach and are not judged by; `is_source` says from which real rows their generator learned, `(real rows,)`."""

    rows: pd.DataFrame
    is_source: np.ndarray


@dataclass(frozen=True)
class Augmentation:
    """`drawn` is None where nothing was added, and `reason` says why not, or what it is worth."""

    drawn: DrawnRows | None
    reason: str
    lift: dict[str, Interval]

    def facts(self) -> dict[str, Any]:
        """As it stands in a run's metrics."""
        return {"used": self.drawn is not None, "rows": len(self.drawn.rows) if self.drawn else 0, "reason": self.reason, **self.lift}


def credit_augmentation(learn: pd.DataFrame, names: list[str], seed: int) -> Augmentation:
    """What drawn rows of the rarer outcome add to `learn`, of the columns `names`; minutes of work where the setting asks for it."""
    if not get_settings().credit_augmentation:
        return Augmentation(None, "PORTRAIT_CREDIT_AUGMENTATION is off.", {})
    rare = int(min(learn[TARGET].sum(), (1 - learn[TARGET]).sum()))
    if len(learn) < LEAST_ROWS or rare < LEAST_RARE:
        reason = f"A generator needs {LEAST_ROWS:,} rows, {LEAST_RARE} of the rarer outcome. Found {len(learn):,} with {rare}."
        return Augmentation(None, reason, {})
    from training.gan_augmentation import augment

    table = learn[[*names, TARGET]]
    found = augment(table, TARGET, seed)
    reason = "; ".join(found.use.reasons)
    lift = {name: step for name, step in found.lift.items() if name.startswith("average_precision")}
    if not found.use.allowed:
        return Augmentation(None, reason, lift)
    return Augmentation(DrawnRows(found.table.iloc[len(table) :].reset_index(drop=True), found.is_source), reason, lift)
