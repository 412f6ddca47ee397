"""What the uplift network reads of a user: the house's numbers, the shop's own covariates, the portrait vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.signatures import USER_FEATURES


@dataclass(frozen=True)
class Covariates:
    """Names and types of what the network reads, frozen when it was fitted.

    `numbers` are USER_FEATURES and then the shop's own numeric covariates; `words` maps its string covariates to the values known, whose
    numbers start at 1; 0 is any other value.
    """

    numbers: tuple[str, ...]
    words: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, frame: pd.DataFrame, covariates: list[str], max_values: int) -> Covariates:
        """The covariates as typed in `frame`: what pandas holds as a number (or truth value) is a number, the rest are strings."""
        numeric = [name for name in covariates if pd.api.types.is_numeric_dtype(frame[name])]
        strings = [name for name in covariates if name not in numeric]
        words = {}
        for name in strings:
            counts = frame[name].dropna().astype(str).value_counts()
            words[name] = tuple(sorted(sorted(counts.index, key=lambda value: (-counts[value], value))[:max_values]))
        return cls((*USER_FEATURES, *numeric), words)

    def inputs(self, frame: pd.DataFrame, vectors: np.ndarray | None) -> dict[str, np.ndarray]:
        """The network's inputs; a column that `frame` lacks is unknown."""
        found = frame.reindex(columns=list(self.numbers)).astype(np.float32)
        inputs: dict[str, np.ndarray] = {"numbers": found.to_numpy(np.float32)}
        if self.words:
            columns = [
                frame[name].astype(str).map({value: place for place, value in enumerate(values, start=1)}).fillna(0)
                for name, values in self.words.items()
            ]
            inputs["words"] = np.stack([column.to_numpy(np.int32) for column in columns], axis=1)
        if vectors is not None:
            inputs["vector"] = vectors
        return inputs

    def half_hidden(self, inputs: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
        """The same with the shop's own covariates unknown in a random half of the rows: a plan asks without them, and is not to be answered
        by what was never learned. Where the house knows nothing else of people, nothing is hidden."""
        own = len(USER_FEATURES)
        if "vector" not in inputs and not np.isfinite(inputs["numbers"][:, :own]).any():
            return inputs
        hidden = np.random.default_rng(seed).permutation(len(inputs["numbers"])) % 2 == 1
        numbers = inputs["numbers"].copy()
        numbers[hidden, own:] = np.nan
        words = {"words": np.where(hidden[:, None], 0, inputs["words"])} if "words" in inputs else {}
        return inputs | {"numbers": numbers} | words

    def table(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """What trees read, `(rows, columns)` float32: the numbers, NaN where unknown, and the words one-hot."""
        words = [inputs["words"][:, [at]] == np.arange(1, len(values) + 1) for at, values in enumerate(self.words.values())]
        return np.concatenate([inputs["numbers"], *words], axis=1).astype(np.float32)

    def matrix(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """The same as finite numbers for models that are not networks, `(rows, columns)`: unknown numbers at the mean, words one-hot."""
        numbers = inputs["numbers"].astype(np.float64)
        is_known = np.isfinite(numbers)
        mean = np.where(is_known, numbers, 0).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1)
        parts = [np.where(is_known, numbers, mean), ~is_known]
        parts += [inputs["words"][:, [at]] == np.arange(1, len(values) + 1) for at, values in enumerate(self.words.values())]
        parts += [inputs["vector"]] if "vector" in inputs else []
        return np.concatenate(parts, axis=1).astype(np.float64)
