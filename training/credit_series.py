"""What a series of columns sums up to: `x_bill_1 ... x_bill_6` is one story told six times, and its ratios say more than its parts.

Nothing here knows a data set. A series is three or more numeric columns whose names differ in a number at the end; the lowest number is
taken for the newest. A series of amounts, not of codes, is also compared with the amount asked for and with other series of amounts of its
length: what was paid of the bill before, what of it stayed unpaid, and what was newly spent, as shares of the amount.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from keras import ops

#: A column with no more distinct values is one of codes.
MOST_CODES = 24
LEAST = 3
_NUMBERED = re.compile(r"(.*?)_?(\d+)")


@dataclass(frozen=True)
class Series:
    """Places of the columns of each series, newest first; `amounts` are those that hold money, `amount` the place of the amount asked."""

    series: list[list[int]] = field(default_factory=list)
    amounts: list[list[int]] = field(default_factory=list)
    amount: int | None = None

    @classmethod
    def of(cls, names: tuple[str, ...], numbers: np.ndarray, amount: str = "amount") -> Series:
        """The series among the columns `names` of `numbers` `(rows, names)`."""
        by_stem: dict[str, list[tuple[int, int]]] = {}
        for place, name in enumerate(names):
            if found := _NUMBERED.fullmatch(name):
                by_stem.setdefault(found[1], []).append((int(found[2]), place))
        series = [[place for _, place in sorted(pairs)] for pairs in by_stem.values() if len(pairs) >= LEAST]
        is_money = [len(np.unique(column[np.isfinite(column)])) > MOST_CODES for column in numbers.T]
        amounts = [places for places in series if all(is_money[place] for place in places)]
        return cls(series, amounts, names.index(amount) if amount in names else None)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def columns(self) -> int:
        """How many columns `series_features` adds."""
        shares = sum(len(places) for places in self.amounts) if self.amount is not None else 0
        paired = sum((3 if self.amount is not None else 1) * (len(first) - 1) for first, _ in self._pairs())
        return 9 * len(self.series) + shares + paired

    def _pairs(self) -> list[tuple[list[int], list[int]]]:
        return [(one, other) for one in self.amounts for other in self.amounts if one is not other and len(one) == len(other)]


def series_features(numbers: Any, known: Series) -> Any:
    """`numbers` `(rows, numbers)` and, behind them, what the series sum up to; unknown (NaN) where a part is unknown."""
    found = [numbers]
    for places in known.series:
        found += _sums(ops.take(numbers, np.array(places), axis=1))
    asked = None if known.amount is None else ops.maximum(ops.abs(numbers[:, known.amount : known.amount + 1]), 1.0)
    if asked is not None:
        found += [ops.take(numbers, np.array(places), axis=1) / asked for places in known.amounts]
    for one, other in known._pairs():
        paid, owed = ops.take(numbers, np.array(one[:-1]), axis=1), ops.take(numbers, np.array(other[1:]), axis=1)
        found.append(paid / ops.maximum(ops.abs(owed), 1.0))  # this month's payment of last month's bill
        if asked is not None:
            now = ops.take(numbers, np.array(other[:-1]), axis=1)
            found += [(owed - paid) / asked, (now - owed + paid) / asked]
    return ops.concatenate(found, axis=1)


def _sums(series: Any) -> list[Any]:
    """Mean, most, least, spread, newest less oldest, newer half less older half; how many are above, at and below zero."""
    mean = ops.mean(series, axis=1, keepdims=True)
    half = series.shape[1] // 2
    spread = ops.sqrt(ops.mean(ops.square(series - mean), axis=1, keepdims=True))
    counts = [ops.sum(ops.cast(is_so, "float32"), axis=1, keepdims=True) for is_so in (series > 0, series == 0, series < 0)]
    return [
        mean,
        ops.max(series, axis=1, keepdims=True),
        ops.min(series, axis=1, keepdims=True),
        spread,
        series[:, :1] - series[:, -1:],
        ops.mean(series[:, :half], axis=1, keepdims=True) - ops.mean(series[:, half:], axis=1, keepdims=True),
        *(count + 0.0 * mean for count in counts),  # unknown where the mean is
    ]
