"""One column of a table as what a network can learn, and back: numbers by modes, spikes and gaps; categories by their values.

Every column is a *code* `(rows,)`, one of `codes` states, and a number is besides a *place* `(rows,)` in -1 .. 1 within its mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

#: A whole-number column with no more distinct values is read as categories.
FEW_NUMBERS = 24
#: A number that so large a share of the known rows have, and so many times more than the middle number has, is a state of its own: zeros of
#: amounts, caps, customary hours.
SPIKE_SHARE, SPIKE_HEIGHT = 0.004, 8
MOST_SPIKES = 8
MODES = 10
MODE_ROWS = 8000  # rows that the mixture is fitted on
#: Standard deviations of a mode that a place of 1 stands for (Xu et al. 2019).
REACH = 4.0
#: Values rarer than this are never written: they could point at one person.
FEWEST_ROWS = 5
#: Values of a category with a state of their own; the others share one.
MOST_VALUES = 64


class Column(Protocol):
    """What a column knows: how many states it has, and the way there and back."""

    @property
    def name(self) -> str: ...

    @property
    def codes(self) -> int: ...

    def encode(self, values: pd.Series, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Codes `(rows,)` int and places `(rows,)` float32; 0 where a state has no place."""
        ...

    def decode(self, codes: np.ndarray, places: np.ndarray, random: np.random.Generator) -> pd.Series: ...


@dataclass(frozen=True)
class NumberColumn:
    """A number as a mode of a Bayesian Gaussian mixture and a place in it (mode-specific normalisation, Xu et al. 2019).

    Spikes (mixed type, Zhao et al. 2021) and a missing value are states without a place. Where the values are skewed the mixture is that of
    `sign(x) log(1 + |x|)`. Written numbers have the decimals of the real ones and lie between their 0.1 % and 99.9 % points.
    """

    name: str
    centres: np.ndarray  # (modes,)
    spreads: np.ndarray  # (modes,)
    weights: np.ndarray  # (modes,)
    spikes: np.ndarray  # (spikes,)
    has_missing: bool
    is_log: bool
    decimals: int
    low: float
    high: float
    is_whole: bool  # the column is of an integer type

    @property
    def codes(self) -> int:
        return len(self.centres) + len(self.spikes) + int(self.has_missing)

    def encode(self, values: pd.Series, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        numbers = values.to_numpy(np.float64, na_value=np.nan)
        codes = np.full(len(numbers), self.codes - 1 if self.has_missing else 0)
        places = np.zeros(len(numbers), np.float32)
        known = np.isfinite(numbers)
        is_spike = np.zeros(len(numbers), bool)
        for place, spike in enumerate(self.spikes):
            here = known & (numbers == spike)
            codes[here], is_spike = len(self.centres) + place, is_spike | here
        rest = known & ~is_spike
        scaled = _scaled(numbers[rest], self.is_log)
        if len(scaled):
            gaps = (scaled[:, None] - self.centres) / self.spreads
            logs = np.log(self.weights) - np.log(self.spreads) - gaps**2 / 2  # (rows, modes)
            drawn = (logs + random.gumbel(size=logs.shape)).argmax(1)  # a mode by its posterior probability
            codes[rest] = drawn
            places[rest] = np.clip(gaps[np.arange(len(drawn)), drawn] / REACH, -1, 1)
        return codes, places

    def decode(self, codes: np.ndarray, places: np.ndarray, random: np.random.Generator) -> pd.Series:
        modes = len(self.centres)
        mode = np.minimum(codes, modes - 1)
        scaled = self.centres[mode] + np.clip(places, -1, 1) * REACH * self.spreads[mode]
        numbers = np.sign(scaled) * np.expm1(np.abs(scaled)) if self.is_log else scaled
        numbers = np.round(np.clip(numbers, self.low, self.high), self.decimals)
        is_spike = (codes >= modes) & (codes < modes + len(self.spikes))
        if len(self.spikes):
            numbers = np.where(is_spike, self.spikes[np.clip(codes - modes, 0, len(self.spikes) - 1)], numbers)
        if self.has_missing:
            numbers = np.where(codes == self.codes - 1, np.nan, numbers)
        found = pd.Series(numbers, name=self.name)
        return found.astype("int64") if self.is_whole and not self.has_missing else found


@dataclass(frozen=True)
class CategoryColumn:
    """A column of values. `values` have a state each; `others` share one and are drawn by `other_shares`, all known of enough rows.

    A missing value is a value. Rarer values than `FEWEST_ROWS` are learned as one of the others, and never written; where all are rarer, a
    missing value is all that is.
    """

    name: str
    values: tuple[object, ...]
    others: tuple[object, ...]
    other_shares: np.ndarray
    dtype: str

    @property
    def codes(self) -> int:
        return len(self.values) + int(bool(self.others))

    def encode(self, values: pd.Series, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        place = {value: number for number, value in enumerate(self.values)}
        rest = len(self.values) if self.others else 0
        codes = np.array([place.get(value, rest) for value in _plain(values)], np.int64)
        return codes, np.zeros(len(codes), np.float32)

    def decode(self, codes: np.ndarray, places: np.ndarray, random: np.random.Generator) -> pd.Series:
        written = np.array([*self.values, None], dtype=object)[np.minimum(codes, len(self.values))]
        is_other = codes >= len(self.values)
        if self.others and is_other.any():
            drawn = random.choice(len(self.others), int(is_other.sum()), p=self.other_shares)
            written[is_other] = np.array([*self.others, None], dtype=object)[drawn]
        found = pd.Series(written, name=self.name, dtype=object)
        return found if self.dtype == "object" or found.isna().any() else found.astype(self.dtype)


def column_of(values: pd.Series, seed: int) -> Column:
    """How the column `values` is learned: as a number, unless it holds text, yes and no, or few whole numbers."""
    name = str(values.name)
    return (
        _number_column(name, values, values.dropna().to_numpy(np.float64), seed) if _is_number(values) else _category_column(name, values)
    )


def unwritten(table: pd.DataFrame) -> list[str]:
    """Categories of which no value stands in `FEWEST_ROWS` rows, as e-mail addresses do not: nothing of them is written."""
    known = {str(name): table[name].dropna() for name in table.columns if not _is_number(table[name])}
    return [name for name, values in known.items() if len(values) and values.astype(object).value_counts().max() < FEWEST_ROWS]


def as_written(table: pd.DataFrame) -> pd.DataFrame:
    """`table` without the values of its `unwritten` columns: what rows that were drawn from it can be held against."""
    return table.assign(**dict.fromkeys(unwritten(table)))


def _is_number(values: pd.Series) -> bool:
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return False
    known = values.dropna()
    is_few = known.nunique() <= FEW_NUMBERS and (known.to_numpy(np.float64) % 1 == 0).all()
    return not is_few and known.nunique() > 1


def _number_column(name: str, values: pd.Series, numbers: np.ndarray, seed: int) -> NumberColumn:
    from sklearn.mixture import BayesianGaussianMixture

    distinct, counts = np.unique(numbers, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_SPIKES]
    least = max(SPIKE_SHARE * len(numbers), SPIKE_HEIGHT * np.median(counts), FEWEST_ROWS)
    spikes = np.sort(distinct[order][counts[order] >= least])
    rest = numbers[~np.isin(numbers, spikes)]
    rest = rest if len(rest) else numbers
    is_log = abs(_skew(rest)) > 2 and abs(_skew(_scaled(rest, True))) < abs(_skew(rest))
    scaled = _scaled(rest, is_log)
    random = np.random.default_rng(seed)
    shown = random.choice(scaled, MODE_ROWS, replace=False) if len(scaled) > MODE_ROWS else scaled
    middle, width = float(shown.mean()), float(shown.std()) or 1.0
    most = max(1, min(MODES, len(np.unique(shown)) // 2))
    mixture = BayesianGaussianMixture(
        n_components=most, weight_concentration_prior_type="dirichlet_process", weight_concentration_prior=1e-3, random_state=seed
    )
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 100 rounds are enough for modes, converged or not
        mixture.fit(((shown - middle) / width)[:, None])
    kept = mixture.weights_ > 0.005
    low, high = np.quantile(numbers, [0.001, 0.999])
    return NumberColumn(
        name,
        mixture.means_[kept, 0] * width + middle,
        np.sqrt(mixture.covariances_[kept, 0, 0]) * width,
        mixture.weights_[kept] / mixture.weights_[kept].sum(),
        spikes,
        bool(values.isna().any()),
        bool(is_log),
        _decimals(numbers),
        float(low),
        float(high),
        pd.api.types.is_integer_dtype(values),
    )


def _category_column(name: str, values: pd.Series) -> CategoryColumn:
    counts = pd.Series(_plain(values), dtype=object).value_counts(dropna=False, sort=True)
    by_count_then_name = np.lexsort((np.array([str(value) for value in counts.index]), -counts.to_numpy()))
    counts = counts.iloc[by_count_then_name]
    common = counts[counts >= FEWEST_ROWS]
    own, others = common.index[:MOST_VALUES], common.index[MOST_VALUES:]
    shares = common.iloc[MOST_VALUES:].to_numpy(np.float64)
    whole = [None if _is_missing(value) else value for value in own] or [None]
    return CategoryColumn(name, tuple(whole), tuple(others), shares / shares.sum() if len(shares) else shares, str(values.dtype))


def _plain(values: pd.Series) -> list[object]:
    """Python values, None for a missing one."""
    return [None if _is_missing(value) else value for value in values.astype(object).tolist()]


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value))


def _scaled(numbers: np.ndarray, is_log: bool) -> np.ndarray:
    return np.sign(numbers) * np.log1p(np.abs(numbers)) if is_log else numbers


def _skew(numbers: np.ndarray) -> float:
    spread = numbers.std()
    return float((((numbers - numbers.mean()) / spread) ** 3).mean()) if spread else 0.0


def _decimals(numbers: np.ndarray) -> int:
    """Digits after the point that the numbers are written with, at most 6."""
    shown = numbers[:2000]
    return next((digits for digits in range(6) if np.allclose(shown, np.round(shown, digits), rtol=0, atol=1e-9)), 6)
