"""Which assignments of past campaigns were drawn by chance: nothing and an offer were both possible, and the counts are those of the draw.

A row of an arm stands for one over its propensity rows, so each arm must add up to all rows (Horvitz and Thompson 1952). Where everybody
was given what a rule said and 1 was logged, or where the shares of the arms are not those logged, they do not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

CONTROL = "control"
#: By how much of all rows an arm may be off beside chance: propensities are rounded, and rows are lost on the way.
SHARE_ERROR = 0.1
STANDARD_ERRORS = 4


def draws(rows: pd.DataFrame, campaigns: Path) -> np.ndarray:
    """The draw that each row was part of, `(rows,)`: `<campaign_id>`, or `<campaign_id>/<intended offer>` where the house assigned it.

    `rows` have `campaign_id`, `user_id` and `assigned_at`. What this house assigned lies in the folder `campaigns`: there chance only said
    who gets the offer that a plan intended for them and who gets nothing. Rows of earlier days are of another campaign of that name.
    """
    found = rows["campaign_id"].to_numpy(object, copy=True)
    for file in sorted(campaigns.glob("*/assignments.parquet")):
        if not (is_own := (rows["campaign_id"] == file.parent.name).to_numpy()).any():
            continue
        assigned = pd.read_parquet(file, columns=["user_id", "intended_offer", "assigned_at"], partitioning=None)
        is_own &= (rows["assigned_at"] >= assigned["assigned_at"].min().floor("D")).to_numpy()
        intended = rows["user_id"][is_own].map(assigned.set_index("user_id")["intended_offer"]).fillna("")
        found[is_own] = f"{file.parent.name}/" + intended.to_numpy(object)
    return found


def randomised(rows: pd.DataFrame, draw: np.ndarray) -> np.ndarray:
    """Whether each row was assigned by chance, `(rows,)`, of whole campaigns with `treatment` and `propensity`; `draw` as of `draws`."""
    propensity, treatment = rows["propensity"].to_numpy(float), rows["treatment"].to_numpy(object)
    found = is_chance(propensity)
    places = np.flatnonzero(found)
    for own in pd.Series(places).groupby(draw[places]).indices.values():
        own = places[own]
        arms = set(treatment[own])
        found[own] = CONTROL in arms and len(arms) > 1 and not misfit(treatment[own], propensity[own]).any()
    return found


def is_chance(propensity: np.ndarray) -> np.ndarray:
    """Whether something else could have happened, `(rows,)`; False where the propensity is unknown."""
    return (propensity > 0) & (propensity < 1)


def misfit(treatment: np.ndarray, propensity: np.ndarray) -> np.ndarray:
    """By how many rows each arm of one draw adds up to more (less: below 0) than all rows, beyond what chance and small errors explain,
    `(arms,)`; 0 where it fits. Where other arms were left out of the rows, only what is below 0 tells of a misfit."""
    rows, name = len(treatment), treatment.astype(str)
    found = []
    for arm in np.unique(name):
        weight = 1 / propensity[name == arm]
        off = weight.sum() - rows
        chance = np.sqrt(rows * (weight * (weight - 1)).sum() / weight.sum())
        found.append(np.sign(off) * max(0.0, abs(off) - SHARE_ERROR * rows - STANDARD_ERRORS * chance))
    return np.array(found)
