"""A table as the network's rows, and back: columns one beside the other, each a place (numbers) and one of its states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.gan.columns import Column, NumberColumn, column_of
from training.gan.constraints import Constraint, check, dependencies


@dataclass(frozen=True)
class Encoded:
    """`codes` `(rows, columns)` int32, a state a column; `places` `(rows, columns)` float32, 0 where a state has none."""

    codes: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: np.ndarray | slice) -> Encoded:
        return Encoded(self.codes[rows], self.places[rows])


@dataclass(frozen=True)
class Layout:
    """What the network must know of a table: states a column, and how many of a number's states are modes, 0 for a category."""

    sizes: tuple[int, ...]
    modes: tuple[int, ...]

    @property
    def states(self) -> int:
        return sum(self.sizes)

    @property
    def offsets(self) -> np.ndarray:
        """Where each column's states begin among all, `(columns,)`."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)

    @property
    def numbers(self) -> list[int]:
        """Places of the columns that are numbers."""
        return [place for place, modes in enumerate(self.modes) if modes]

    @property
    def width(self) -> int:
        return self.states + len(self.numbers)


@dataclass(frozen=True)
class TableEncoder:
    """Fitted on real rows: `encode` gives what is learned from, `decode` gives a table with all columns and all constraints kept."""

    names: tuple[str, ...]
    columns: tuple[Column, ...]
    constraints: tuple[Constraint, ...]

    @property
    def layout(self) -> Layout:
        modes = (len(column.centres) if isinstance(column, NumberColumn) else 0 for column in self.columns)
        return Layout(tuple(column.codes for column in self.columns), tuple(modes))

    def encode(self, table: pd.DataFrame, seed: int) -> Encoded:
        random = np.random.default_rng(seed)
        reduced = self._reduce(table)
        parts = [column.encode(reduced[column.name], random) for column in self.columns]
        return Encoded(np.column_stack([part[0] for part in parts]).astype(np.int32), np.column_stack([part[1] for part in parts]))

    def decode(self, rows: Encoded, seed: int) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        found = {
            column.name: column.decode(rows.codes[:, place], rows.places[:, place], random) for place, column in enumerate(self.columns)
        }
        table = pd.DataFrame(found)
        for constraint in reversed(self.constraints):
            table = constraint.restore(table)
        return table[list(self.names)]

    def _reduce(self, table: pd.DataFrame) -> pd.DataFrame:
        for constraint in self.constraints:
            table = constraint.reduce(table)
        return table


def fit_encoder(table: pd.DataFrame, seed: int, constraints: Sequence[Constraint] = (), keep: Sequence[str] = ()) -> TableEncoder:
    """The encoder of `table`; `constraints` are declared and hold in it, dependencies between columns are found; `keep` are not reduced."""
    check(constraints, table)
    reduced = table
    for constraint in constraints:
        reduced = constraint.reduce(reduced)
    found = dependencies(reduced, keep)
    for constraint in found:
        reduced = constraint.reduce(reduced)
    columns = tuple(column_of(reduced[name], seed + place) for place, name in enumerate(reduced.columns))
    return TableEncoder(tuple(map(str, table.columns)), columns, (*constraints, *found))
