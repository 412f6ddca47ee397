"""Which assignments of past campaigns were drawn by chance: nothing and an offer were both possible, and the counts are those of the draw.

A row of an arm stands for one over its propensity rows, so each arm must add up to all rows (Horvitz and Thompson 1952). Where everybody
was given what a rule said and 1 was logged, or where the shares of the arms are not those logged, they do not.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

CONTROL = "control"
#: By how much of all rows an arm may be off beside chance: propensities are rounded, and rows are lost on the way.
SHARE_ERROR = 0.1
STANDARD_ERRORS = 4


def randomised(rows: pd.DataFrame, stratum: np.ndarray) -> np.ndarray:
    """Whether each row was assigned by chance, `(rows,)`, of whole campaigns with `treatment` and `propensity`.

    `stratum` `(rows,)` is the draw that a row was part of: its campaign's, where that had one.
    """
    propensity, treatment = rows["propensity"].to_numpy(float), rows["treatment"].to_numpy(object)
    found = is_chance(propensity)
    places = np.flatnonzero(found)
    for own in pd.Series(places).groupby(stratum[places]).indices.values():
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
