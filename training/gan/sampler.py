"""Training by sampling (Xu et al. 2019): rare states are asked for as often as they need to be learned, not as often as they are."""

from __future__ import annotations

import numpy as np

from training.gan.table import Layout


class StateSampler:
    """Draws a column, one of its states, and a real row in that state; states are numbered over all columns.

    While learning, a state is drawn by the logarithm of its count; while writing, by its count.
    """

    def __init__(self, codes: np.ndarray, layout: Layout) -> None:
        self.layout = layout
        self._columns = np.array([place for place, size in enumerate(layout.sizes) if size > 1] or [0])
        self._counts = [np.bincount(codes[:, place], minlength=size) for place, size in enumerate(layout.sizes)]
        self._rows = [np.argsort(codes[:, place], kind="stable") for place in range(len(layout.sizes))]

    @property
    def shares(self) -> list[np.ndarray]:
        """How often each state of each column is real."""
        return [counts / counts.sum() for counts in self._counts]

    def learn(self, shape: tuple[int, ...], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Real rows and wanted states, `shape` each, int32."""
        column = self._columns[random.integers(0, len(self._columns), shape)]
        rows, states = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for place in self._columns:
            here = column == place
            logs = np.log1p(self._counts[place])
            state = random.choice(len(logs), int(here.sum()), p=logs / logs.sum())
            counts = self._counts[place]
            first = np.cumsum(counts) - counts
            rows[here] = self._rows[place][first[state] + random.integers(0, counts[state])]
            states[here] = self.layout.offsets[place] + state
        return rows, states

    def write(self, rows: int, random: np.random.Generator) -> np.ndarray:
        """Wanted states `(rows,)` as often as they are real."""
        column = self._columns[random.integers(0, len(self._columns), rows)]
        states = np.zeros(rows, np.int32)
        for place in self._columns:
            here = column == place
            shares = self._counts[place] / self._counts[place].sum()
            states[here] = self.layout.offsets[place] + random.choice(len(shares), int(here.sum()), p=shares)
        return states
