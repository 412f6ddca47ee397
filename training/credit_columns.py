"""What the credit model reads of an application: names and types frozen when it was fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

AMOUNT = "amount"


@dataclass(frozen=True)
class CreditColumns:
    """`numbers` in order; `words` maps string columns to the values known, whose codes start at 1; 0 is unknown or any other value."""

    numbers: tuple[str, ...]
    words: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, frame: pd.DataFrame, names: list[str], max_values: int) -> CreditColumns:
        """The columns `names` as typed in `frame`: what pandas holds as a number (or truth value) is one, the rest are words."""
        numbers = [name for name in names if pd.api.types.is_numeric_dtype(frame[name])]
        words = {}
        for name in (name for name in names if name not in numbers):
            counts = frame[name].dropna().astype(str).value_counts()
            words[name] = tuple(sorted(sorted(counts.index, key=lambda value: (-counts[value], value))[:max_values]))
        return cls(tuple(numbers), words)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.numbers, *self.words)

    @property
    def sizes(self) -> list[int]:
        """Codes of each word, 0 included."""
        return [len(values) + 1 for values in self.words.values()]

    def inputs(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """`numbers` `(rows, numbers)` float32, NaN where unknown, and `words` `(rows, words)` int32; what `frame` lacks is unknown."""
        found = frame.reindex(columns=list(self.numbers)).astype(np.float32).to_numpy(np.float32)
        codes = np.zeros((len(frame), len(self.words)), np.int32)
        for place, (name, values) in enumerate(self.words.items()):
            if name in frame:
                code = {value: number for number, value in enumerate(values, start=1)}
                codes[:, place] = frame[name].astype(str).map(code).fillna(0).to_numpy(np.int32)
        return {"numbers": found.reshape(len(frame), len(self.numbers)), "words": codes}
