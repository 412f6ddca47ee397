"""The joint at which a trainer may take synthetic rows of its rarest class: used only where they help rows that nobody learned from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from training.gan.augment import lift, rare_value
from training.gan.config import GanConfig
from training.gan.fit import fit_gan
from training.gan.monitors import CollapsedGan
from training.gan.synthesis import CannotDraw, synthesis_of
from training.gan.utility import tune
from training.gan.verdict import Use, augmentation
from training.metrics import Interval
from training.splits import folds_of

#: Parts of the rows: one chooses the boosting that the lift is measured by, one is what it is measured on, the others are learned from.
PARTS = 5


@dataclass(frozen=True)
class Augmented:
    """`table` to train on: the rows that were given, with drawn ones behind them where `use` is allowed; `added` says how many.

    `is_source` says which of the given rows the generator learned from, `(given rows,)`: only the others are unseen by all that was drawn.
    """

    table: pd.DataFrame
    added: int
    use: Use
    is_source: np.ndarray
    lift: dict[str, Interval] = field(default_factory=dict)


def augment(
    table: pd.DataFrame,
    target: str,
    seed: int,
    config: GanConfig | None = None,
    *,
    log: Callable[[str], None] | None = None,
) -> Augmented:
    """`table` with as many drawn rows of the rarest class as it has, where that is allowed; else as it was, with the reason.

    All of it happens inside the rows that are given: a trainer gives its training rows, never those it is judged on.
    """
    part = folds_of(table[target].astype(str).to_numpy(), PARTS, seed)
    is_source = part > 1
    learn, choosing, held = (table[chosen].reset_index(drop=True) for chosen in (is_source, part == 0, part == 1))
    try:
        gan = fit_gan(learn, config or GanConfig(), seed, keep=[target], log=log)
        synthesis = synthesis_of(gan, learn, seed, target)
        step = lift(learn, held, target, synthesis, tune(learn, choosing, target, seed), seed)
        use = augmentation(step)
        if not use.allowed:
            return Augmented(table, 0, use, is_source, step)
        rare = rare_value(table[target])
        rows = synthesis.draw(int((table[target] == rare).sum()), seed, {target: rare}).table
    except (CollapsedGan, CannotDraw) as problem:
        return Augmented(table, 0, Use(False, (str(problem),)), is_source)
    return Augmented(pd.concat([table, rows], ignore_index=True), len(rows), use, is_source, step)
