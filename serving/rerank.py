"""From scored candidates to the places of a list: promoted items, variety, category caps and explored places, one place after another."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from serving.explore import drawn
from serving.rules import Rules

Reason = Literal["ranked", "promoted", "explored", "popular"]


@dataclass(frozen=True)
class Pool:
    """What may be placed, every array `(candidates,)` but `vectors`, `(candidates, dim)` of unit rows or zeros.

    `relevance` is finite and compares within the pool; `tops` numbers top-level categories, 0 where unknown; `is_spare` marks what stands
    in where the candidates run out (popular items that the model did not propose), and promoted items that it did not propose.
    """

    relevance: np.ndarray
    tops: np.ndarray
    vectors: np.ndarray
    is_promoted: np.ndarray
    is_spare: np.ndarray

    def __len__(self) -> int:
        return len(self.relevance)


@dataclass(frozen=True)
class Placed:
    """One place: the index in the pool, why it stands there, and the chance that it would, given the places above it."""

    index: int
    reason: Reason
    propensity: float


@dataclass(frozen=True)
class Arrangement:
    """A list. `is_full` says that it has `k` places, none filled by a spare or in spite of the cap: more candidates would change nothing
    in that."""

    places: tuple[Placed, ...]
    over_cap: int
    spares: int

    def is_full(self, k: int) -> bool:
        return len(self.places) == k and not self.over_cap and not self.spares


def arrange(pool: Pool, k: int, rules: Rules, generator: np.random.Generator | None = None) -> Arrangement:
    """The first `k` places, filled from the top; fewer only where the pool has fewer.

    A place is promoted, explored or ranked (`kinds_of_places`). A ranked place takes the item with the most
    `(1 - diversity) * relevance - diversity * likeness`, relevance being scaled to 0 .. 1 over the candidates and likeness the greatest
    cosine to an item placed so far. An explored place is drawn by `generator` among the best `exploration_pool` candidates left; without a
    generator it is ranked. The cap counts all kinds of places. Where nothing below the cap is left among candidates, a spare stands in, and
    where none is left either, the cap is given up.
    """
    count = len(pool)
    places: list[Placed] = []
    over_cap = spares = 0
    scaled = (1 - rules.diversity) * _scaled(pool.relevance, ~pool.is_spare)
    likeness = np.zeros(count, np.float32)
    is_free = np.ones(count, bool)
    by_top = np.zeros(int(pool.tops.max(initial=0)) + 1, np.int64)
    kinds = kinds_of_places(k, rules)
    value = scaled
    for position in range(min(k, count)):
        is_open = is_free
        if rules.category_cap:
            is_open = is_free & ((by_top[pool.tops] < rules.category_cap) | (pool.tops == 0))
        is_first = is_open & ~pool.is_spare
        kind = kinds[position]
        propensity = 1.0
        reason: Reason = "ranked"
        if kind == "promoted" and (is_open & pool.is_promoted).any():
            chosen, reason = _best(pool.relevance, is_open & pool.is_promoted & ~pool.is_spare, is_open & pool.is_promoted), "promoted"
        elif kind == "explored" and generator is not None and is_first.any():
            near = np.flatnonzero(is_first)
            near = near[np.argsort(-pool.relevance[near], kind="stable")[: rules.exploration_pool]]
            place, propensity = drawn(pool.relevance[near], rules.temperature, generator)
            chosen, reason = int(near[place]), "explored"
        else:
            chosen = _best(value, is_first, is_open, is_free & ~pool.is_spare, is_free)
            over_cap += not is_open[chosen]
            if pool.is_spare[chosen]:
                spares += 1
                reason = "popular"
        places.append(Placed(chosen, reason, propensity))
        is_free[chosen] = False
        by_top[pool.tops[chosen]] += 1
        if rules.diversity:
            np.maximum(likeness, pool.vectors @ pool.vectors[chosen], out=likeness)
            value = scaled - rules.diversity * likeness
    return Arrangement(tuple(places), over_cap, spares)


def kinds_of_places(k: int, rules: Rules) -> list[Reason]:
    """What each place is for: promoted ones spread evenly, explored ones the last of the rest, whole places only.

    Of five places with 0.4 promoted and 0.2 explored: ranked, ranked, promoted, explored, promoted.
    """
    kinds: list[Reason] = ["ranked"] * k
    promoted = _whole(rules.promoted_share * k) if rules.promoted else 0
    for number in range(1, promoted + 1):
        kinds[-(-number * k // promoted) - 1] = "promoted"
    rest = [position for position, kind in enumerate(kinds) if kind == "ranked"]
    for position in rest[len(rest) - min(len(rest), _whole(rules.exploration_share * k)) :]:
        kinds[position] = "explored"
    return kinds


def _whole(places: float) -> int:
    return int(places + 1e-9)


def _best(value: np.ndarray, *choices: np.ndarray) -> int:
    """The index of the greatest value among the first of the choices that is not empty; of equals the first."""
    for is_choice in choices:
        chosen = int(np.where(is_choice, value, -np.inf).argmax())
        if is_choice[chosen]:
            return chosen
    raise ValueError("something must be left to choose from")


def _scaled(relevance: np.ndarray, is_candidate: np.ndarray) -> np.ndarray:
    """Relevance from 0, the least of the candidates, to 1, the greatest; spares are below, in their order."""
    if not is_candidate.any():
        is_candidate = np.ones(len(relevance), bool)
    within = relevance[is_candidate]
    if not len(within):
        return relevance
    low, high = within.min(), within.max()
    return (relevance - low) / (high - low) if high > low else np.zeros(len(relevance))
