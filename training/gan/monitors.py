"""Is the generator collapsing? Coverage, density, recall of categories and pairs of columns, on real rows that it never learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from training.gan.table import Encoded, Layout

NEIGHBOURS = 5
#: Of what real rows reach on other real rows: below these shares, after a third of the training, a run has collapsed.
LEAST_COVERAGE = 0.35
LEAST_RECALL = 0.7
#: A state is recalled where it is drawn at least so often as this share of how often it is real; states under 1 % are not asked for.
RECALLED = 0.25
LEAST_STATE = 0.01


class CollapsedGan(RuntimeError):
    """Every run collapsed: the table gets no synthetic rows."""


def features(rows: Encoded, layout: Layout) -> np.ndarray:
    """`(rows, width)` float32 in which two rows that differ in one state are 1 apart, and places of one mode at most 2."""
    blocks = [np.eye(size, dtype=np.float32)[rows.codes[:, place]] / np.sqrt(2) for place, size in enumerate(layout.sizes)]
    return np.concatenate([*blocks, rows.places[:, layout.numbers]], axis=1)


def density_and_coverage(real: np.ndarray, made: np.ndarray, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Density and coverage of `made` `(rows, width)` by `real` (Naeem et al. 2020).

    A real row's ball reaches to its k-th nearest real neighbour. Density is how many balls a made row lies in, over k; coverage the share
    of balls with a made row in them. Of rows drawn like the real ones, density is 1 and coverage near 1 - 2^-k.
    """
    apart = _squared(real, real)
    np.fill_diagonal(apart, np.inf)
    radius = np.partition(apart, neighbours - 1, axis=1)[:, neighbours - 1]  # (real,)
    inside = _squared(real, made) <= radius[:, None]  # (real, made)
    return float(inside.sum() / (neighbours * len(made))), float(inside.any(1).mean())


def state_recall(shares: Sequence[np.ndarray], made: Encoded) -> float:
    """Share of the real states of at least `LEAST_STATE` that are drawn often enough."""
    found, asked = 0, 0
    for place, share in enumerate(shares):
        drawn = np.bincount(made.codes[:, place], minlength=len(share)) / len(made)
        wanted = share >= LEAST_STATE
        found, asked = found + int((drawn[wanted] >= RECALLED * share[wanted]).sum()), asked + int(wanted.sum())
    return found / max(asked, 1)


def pair_gap(real: Encoded, made: Encoded, layout: Layout, largest: bool = False) -> float:
    """Total variation between the shares of two columns' states together: mean over the pairs of columns, or the largest.

    A number's mode is cut into four by its place.
    """
    first, slices = _pair_shares(real, layout)
    second, _ = _pair_shares(made, layout)
    gaps = [np.abs(first[one, two] - second[one, two]).sum() / 2 for place, one in enumerate(slices) for two in slices[place + 1 :]]
    if not gaps:
        return 0.0
    return float(max(gaps) if largest else np.mean(gaps))


def _pair_shares(rows: Encoded, layout: Layout) -> tuple[np.ndarray, list[slice]]:
    """How often two states are together, `(states, states)`, and where each column's states are."""
    blocks, slices, start = [], [], 0
    for place, size in enumerate(layout.sizes):
        code, states = rows.codes[:, place], size
        if layout.modes[place]:
            quarter = np.digitize(rows.places[:, place], [-0.17, 0.0, 0.17])  # quartiles of a normal, a place of 1 being 4 deviations
            code, states = code * 4 + quarter, size * 4
        blocks.append(np.eye(states, dtype=np.float32)[code])
        slices.append(slice(start, start + states))
        start += states
    wide = np.concatenate(blocks, axis=1)
    return wide.T @ wide / len(wide), slices


@dataclass
class Monitor:
    """Looks at drawn rows beside held-out ones; keeps every figure, one value a look, and says when a run has collapsed."""

    held: Encoded
    layout: Layout
    shares: list[np.ndarray]
    ceiling: float  # coverage of the held-out rows by as many rows that were learned from
    curves: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, held: Encoded, learned: Encoded, layout: Layout, shares: list[np.ndarray]) -> Monitor:
        return cls(held, layout, shares, density_and_coverage(features(held, layout), features(learned, layout))[1])

    def look(self, made: Encoded) -> dict[str, float]:
        """The figures of `made`, appended to the curves."""
        density, coverage = density_and_coverage(features(self.held, self.layout), features(made, self.layout))
        found = {
            "coverage": coverage / max(self.ceiling, 1e-9),
            "density": density,
            "category recall": state_recall(self.shares, made),
            "pair gap": pair_gap(self.held, made, self.layout),
        }
        for name, value in found.items():
            self.curves.setdefault(name, []).append(value)
        return found


def has_collapsed(found: dict[str, float]) -> bool:
    """Whether these figures are those of a generator that has lost most of the rows there are."""
    return found["coverage"] < LEAST_COVERAGE or found["category recall"] < LEAST_RECALL


def _squared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.maximum((one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T, 0)
