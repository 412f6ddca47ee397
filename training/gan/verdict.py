"""What a synthetic table may be used for, and why: written beside every table that is made.

Two uses, each allowed or refused by a rule of its own. *Sharing* is refused where `privacy.leaks` finds anything. *Augmentation* is refused
where the lift of the rare class on held-out rows is not positive with its whole interval. Columns of which nothing is written are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from training.gan.columns import FEWEST_ROWS, as_written, unwritten
from training.gan.fidelity import fidelity
from training.gan.privacy import leaks, privacy
from training.gan.utility import utility
from training.metrics import Interval


@dataclass(frozen=True)
class Use:
    """Whether a use is allowed; `reasons` say why it is refused, or what it rests on."""

    allowed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """The figures of one synthetic table, and its uses. `unwritten` columns have values that too few rows share: they are left out."""

    fidelity: dict[str, Any]
    utility: dict[str, Interval]
    privacy: dict[str, Any]
    lift: dict[str, Interval]
    sharing: Use
    augmentation: Use
    unwritten: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        uses = {name: {"allowed": use.allowed, "reasons": list(use.reasons)} for name, use in self.uses.items()}
        figures = {"fidelity": self.fidelity, "utility": self.utility, "privacy": self.privacy, "lift": self.lift}
        return {"uses": uses, **figures, "unwritten": list(self.unwritten)}

    @property
    def uses(self) -> dict[str, Use]:
        return {"sharing": self.sharing, "augmentation": self.augmentation}


def judge_table(
    made: pd.DataFrame,
    learned: pd.DataFrame,
    unseen: pd.DataFrame,
    seed: int,
    *,
    target: str | None = None,
    choice: Mapping[str, Any] | None = None,
    lift: Mapping[str, Interval] | None = None,
) -> Verdict:
    """The verdict on `made`, drawn by what knows the rows `learned`, beside real rows `unseen` of the same kind.

    With a `target`, and the `choice` of boosting tuned for it, what is learned from `made` is tested on `unseen`. `lift` is that of
    `augment.lift`; without it nothing speaks for augmentation, and it is refused.
    """
    left_out = unwritten(learned)
    kept = privacy(as_written(learned), unseen.assign(**dict.fromkeys(left_out)), made, seed)
    useful = utility(made, unseen, target, dict(choice), seed) if target and choice is not None else {}
    uses = sharing(kept, left_out), augmentation(lift or {})
    return Verdict(fidelity(unseen, made), useful, kept, dict(lift or {}), *uses, tuple(left_out))


def sharing(found: dict[str, Any], left_out: Sequence[str] = ()) -> Use:
    """Whether a table with these figures of `privacy.privacy` may leave the house; nothing is written of the columns `left_out`."""
    why = leaks(found)
    told = [f"nothing is written in {', '.join(left_out)}: no value stands in {FEWEST_ROWS} rows"] if left_out else []
    return Use(not why, (*(why or ["no copy, and no nearer to the rows it learned from than to rows it never saw"]), *told))


def augmentation(lift: Mapping[str, Interval]) -> Use:
    """Whether rows with this lift may stand among a model's training rows."""
    step = lift.get("average_precision_lift")
    if step is None:
        return Use(False, ("no lift on held-out rows was measured",))
    said = f"average precision of the rare class on held-out rows changes by {step['mean']:+.4f} [{step['low']:+.4f}, {step['high']:+.4f}]"
    return Use(bool(step["low"] > 0), (said,))
