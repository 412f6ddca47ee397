"""A table as boosted trees read it: numbers as they are, categories as codes of the real table, a missing value as its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

#: Boosted trees of scikit-learn know no more categories of a column.
MOST_CODES = 250


@dataclass(frozen=True)
class TableFeatures:
    """Fitted on the real table; `categories` maps a column to its values, by falling count."""

    numbers: tuple[str, ...]
    categories: dict[str, dict[str, int]]

    @classmethod
    def of(cls, table: pd.DataFrame, without: str | None = None) -> TableFeatures:
        names = [name for name in table.columns if name != without]
        numbers = tuple(name for name in names if is_number(table[name]))
        rest = [name for name in names if name not in numbers]
        values = {name: as_text(table[name]).value_counts().index[:MOST_CODES] for name in rest}
        return cls(numbers, {name: {value: code for code, value in enumerate(found)} for name, found in values.items()})

    def matrix(self, table: pd.DataFrame) -> np.ndarray:
        """`(rows, columns)` float64, numbers first; an unknown category is NaN."""
        columns = [table[name].to_numpy(np.float64, na_value=np.nan) for name in self.numbers]
        columns += [as_text(table[name]).map(codes).to_numpy(np.float64) for name, codes in self.categories.items()]
        return np.column_stack(columns) if columns else np.zeros((len(table), 0))

    @property
    def is_category(self) -> list[bool]:
        return [False] * len(self.numbers) + [True] * len(self.categories)


def is_number(values: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values)) and not pd.api.types.is_bool_dtype(values)


def boosted(features: TableFeatures, seed: int, **chosen: Any) -> Any:
    """A gradient boosting classifier for matrices of `features`."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(categorical_features=features.is_category, random_state=seed, **chosen)


def as_text(values: pd.Series) -> pd.Series:
    """Every value as text, a missing one as a text that no table holds."""
    return values.astype(object).where(values.notna(), "\x00missing").astype(str)
