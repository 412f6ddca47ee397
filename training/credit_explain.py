"""What moved a score, by group of columns: exact Shapley values against a typical good payer.

The columns of a series count as one group, since nobody can change September's bill and leave August's. A group's value is its mean effect
on the log odds over all orders in which the groups could be put in place of the good payer's (Shapley 1953; Lundberg & Lee 2017, with one
reference as in Sundararajan & Najmi 2020). The values add up to the difference in log odds exactly, and no sampling noise can change them
up to EXACT_GROUPS groups; beyond, they are means over PERMUTATIONS orders and their reverses, drawn once (Mitchell et al. 2022).

Who did not agree that behaviour be read is compared with a good payer who did not either: keeping it to oneself is never a reason.

A reason also says on which side of the good payer's the applicant's own values lie (DIRECTIONS), by the values alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations
from math import factorial

import numpy as np

from training.credit_columns import CreditColumns
from training.signatures import CREDIT_BEHAVIOUR

EXACT_GROUPS = 8
PERMUTATIONS = 16

#: How a group's own values lie to the reference's: a series is `mixed` where neither side has ONE_SIDED of all that it differs by.
HIGH, LOW, MIXED, OTHER, UNKNOWN = DIRECTIONS = ("high", "low", "mixed", "other", "unknown")
ONE_SIDED = 0.75

_NUMBERED = re.compile(r"(.*?)_?\d+")
#: Log odds `(rows,)` of inputs as CreditColumns gives them.
LogOdds = Callable[[dict[str, np.ndarray]], np.ndarray]


def groups_of(columns: CreditColumns) -> dict[str, list[str]]:
    """Columns by group: a series by its stem, every other column by itself."""
    stems: dict[str, list[str]] = {}
    for name in columns.names:
        found = _NUMBERED.fullmatch(name)
        stems.setdefault(found[1] if found else name, []).append(name)
    groups: dict[str, list[str]] = {}
    for stem, names in stems.items():
        groups |= {stem: names} if len(names) > 2 else {name: [name] for name in names}
    return groups


def coalitions(groups: int) -> tuple[np.ndarray, np.ndarray]:
    """`is_own` `(coalitions, groups)`, whether a group holds the applicant's own values, and `weights` `(coalitions, groups)`: the Shapley
    values are the coalitions' log odds times the weights."""
    orders = [] if groups <= EXACT_GROUPS else _orders(groups)
    weights: dict[tuple[int, ...], np.ndarray] = {}

    def add(members: tuple[int, ...], group: int, weight: float) -> None:
        weights.setdefault(tuple(sorted(members)), np.zeros(groups))[group] += weight

    for order in orders:
        for place, group in enumerate(order):
            add((*order[: place + 1],), group, 1 / len(orders))
            add((*order[:place],), group, -1 / len(orders))
    if not orders:
        for group in range(groups):
            others = [other for other in range(groups) if other != group]
            for size in range(groups):
                weight = factorial(size) * factorial(groups - 1 - size) / factorial(groups)
                for members in combinations(others, size):
                    add((*members, group), group, weight)
                    add(members, group, -weight)
    is_own = np.zeros((len(weights), groups), bool)
    for row, members in enumerate(weights):
        is_own[row, list(members)] = True
    return is_own, np.array(list(weights.values()))


def masks(columns: CreditColumns, groups: dict[str, list[str]], is_own: np.ndarray) -> dict[str, np.ndarray]:
    """`is_own` by column: `numbers` `(coalitions, numbers)` and `words` `(coalitions, words)`."""
    group = {name: place for place, names in enumerate(groups.values()) for name in names}
    return {
        kind: is_own[:, [group[name] for name in names]] if names else np.zeros((len(is_own), 0), bool)
        for kind, names in (("numbers", list(columns.numbers)), ("words", list(columns.words)))
    }


def is_consented(columns: CreditColumns) -> np.ndarray:
    """Which numbers are behaviour, known with consent alone, `(numbers,)`."""
    return np.array([name in CREDIT_BEHAVIOUR for name in columns.numbers], bool)


def attributions(inputs: dict[str, np.ndarray], reference: dict[str, np.ndarray], columns: CreditColumns, log_odds: LogOdds) -> np.ndarray:
    """What each group adds to the log odds of default compared with `reference` (one row), `(rows, groups)`."""
    groups = groups_of(columns)
    is_own, weights = coalitions(len(groups))
    by_column = masks(columns, groups, is_own)
    rows, size = len(inputs["numbers"]), len(is_own)
    typical = np.where(is_consented(columns) & np.isnan(inputs["numbers"]), np.nan, reference["numbers"]).astype(np.float32)
    compared = {"numbers": typical, "words": reference["words"]}
    mixed = {
        kind: np.where(mask[None], inputs[kind][:, None], compared[kind][:, None]).reshape(rows * size, mask.shape[1])
        for kind, mask in by_column.items()
    }  # (rows * coalitions, columns)
    return log_odds(mixed).reshape(rows, size) @ weights


def members(columns: CreditColumns, groups: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """Which columns belong to which group, 1 or 0: `numbers` `(numbers, groups)` and `words` `(words, groups)`."""
    own = masks(columns, groups, np.eye(len(groups), dtype=bool))
    return {kind: mask.T.astype(np.float32) for kind, mask in own.items()}


def directions(inputs: dict[str, np.ndarray], reference: dict[str, np.ndarray], columns: CreditColumns) -> np.ndarray:
    """One of DIRECTIONS for each group, `(rows, groups)` str; '' where it is as the reference's. Words can only be `other`.

    What is known of one of the two alone is `unknown` (the applicant's is not known) or `other` (the reference's is not).
    """
    of = members(columns, groups_of(columns))
    own, typical = inputs["numbers"].astype(np.float64), reference["numbers"].astype(np.float64)
    is_known, is_typical_known = np.isfinite(own), np.isfinite(typical)
    step = np.where(is_known & is_typical_known, own - typical, 0.0)
    up, down = np.maximum(step, 0) @ of["numbers"], np.maximum(-step, 0) @ of["numbers"]
    whole = up + down
    is_other = (is_known & ~is_typical_known) @ of["numbers"] + (inputs["words"] != reference["words"]) @ of["words"] > 0
    is_unknown = (~is_known & is_typical_known) @ of["numbers"] > 0
    return np.select(
        [(whole > 0) & (up >= ONE_SIDED * whole), (whole > 0) & (down >= ONE_SIDED * whole), whole > 0, is_other, is_unknown],
        DIRECTIONS,
        "",
    )


def good_payer(inputs: dict[str, np.ndarray], defaulted: np.ndarray, chances: np.ndarray) -> dict[str, np.ndarray]:
    """One row: the medians and commonest words of those who paid back and were likelier to than most of these."""
    paid = np.flatnonzero(defaulted == 0)
    good = paid[chances[paid] <= np.median(chances[paid])]
    numbers, words = inputs["numbers"][good], inputs["words"][good]
    with np.errstate(all="ignore"):
        medians = np.array([np.median(known) if len(known := column[np.isfinite(column)]) else np.nan for column in numbers.T], np.float32)
    modes = np.array([np.bincount(column).argmax() for column in words.T], np.int32)
    return {"numbers": medians.reshape(1, -1), "words": modes.reshape(1, -1)}


def reasons(values: np.ndarray, least: float, most: int = 4) -> list[list[int]]:
    """For each row of `values` `(rows, groups)` the groups that raised the risk most, at most `most` and none below `least`."""
    found = []
    for row in values:
        order = np.argsort(-row, kind="stable")[:most]
        found.append([int(group) for group in order if row[group] >= least])
    return found


def _orders(groups: int) -> list[tuple[int, ...]]:
    draw = np.random.default_rng(0)
    drawn = [tuple(int(group) for group in draw.permutation(groups)) for _ in range(PERMUTATIONS)]
    return [order for one in drawn for order in (one, one[::-1])]
