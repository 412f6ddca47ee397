"""How like the real table a synthetic one is: columns by themselves, columns in pairs. A figure is 0 where they are alike, 1 at most."""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.gan.features import as_text, is_number

PARTS = 10


def fidelity(real: pd.DataFrame, made: pd.DataFrame) -> dict[str, object]:
    """`marginals` a column: `tv` of categories, `ks` and `wasserstein` (over the real range) of numbers; means over columns and pairs.

    `pairs_tv` is the total variation of two columns' contingency, numbers in tenths; `correlation_gap` the difference of rank correlations
    of two numbers; `cramer_gap` that of Cramér's V of two categories.
    """
    marginals = {name: _number(real[name], made[name]) if is_number(real[name]) else _category(real[name], made[name]) for name in real}
    ours, theirs = _codes(real, made)
    numbers = [name for name in real if is_number(real[name])]
    rest = [name for name in real if not is_number(real[name])]
    names = list(real.columns)
    pairs = [(one, two) for place, one in enumerate(names) for two in names[place + 1 :]]
    tables = {pair: (_together(ours, *pair), _together(theirs, *pair)) for pair in pairs}
    tv = {pair: float(np.abs(one - two).sum() / 2) for pair, (one, two) in tables.items()}
    cramers = [abs(_cramer(one) - _cramer(two)) for pair, (one, two) in tables.items() if pair[0] in rest and pair[1] in rest]
    first, second = (table[numbers].corr("spearman").fillna(0).to_numpy() for table in (real, made))
    apart = np.abs(first - second)[np.triu_indices(len(numbers), 1)]
    worst = max(tv, key=lambda pair: tv[pair]) if tv else ("", "")
    return {
        "marginals": marginals,
        "tv": _mean([found["tv"] for found in marginals.values() if "tv" in found]),
        "ks": _mean([found["ks"] for found in marginals.values() if "ks" in found]),
        "wasserstein": _mean([found["wasserstein"] for found in marginals.values() if "wasserstein" in found]),
        "pairs_tv": _mean(list(tv.values())),
        "worst_pair": f"{worst[0]}, {worst[1]}",
        "worst_pair_tv": tv.get(worst, 0.0),
        "correlation_gap": _mean(list(apart)),
        "cramer_gap": _mean(cramers),
    }


def _number(real: pd.Series, made: pd.Series) -> dict[str, float]:
    one, two = (np.sort(column.dropna().to_numpy(np.float64)) for column in (real, made))
    missing = abs(float(real.isna().mean() - made.isna().mean()))
    if not len(one) or not len(two):
        return {"ks": 1.0 if len(one) != len(two) else 0.0, "wasserstein": 1.0 if len(one) != len(two) else 0.0, "missing": missing}
    grid = np.union1d(one, two)
    gaps = np.abs(np.searchsorted(one, grid, "right") / len(one) - np.searchsorted(two, grid, "right") / len(two))
    reach = max(one[-1] - one[0], 1e-12)
    return {"ks": float(gaps.max()), "wasserstein": float((gaps[:-1] * np.diff(grid)).sum() / reach), "missing": missing}


def _category(real: pd.Series, made: pd.Series) -> dict[str, float]:
    one, two = (as_text(column).value_counts(normalize=True) for column in (real, made))
    return {"tv": float(one.sub(two, fill_value=0).abs().sum() / 2)}


def _codes(real: pd.DataFrame, made: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables as codes of the real one: numbers in tenths, a missing value and an unknown category their own."""
    ours: dict[str, np.ndarray] = {}
    theirs: dict[str, np.ndarray] = {}
    for name in real:
        if is_number(real[name]):
            edges = np.unique(np.nanquantile(real[name].to_numpy(np.float64, na_value=np.nan), np.arange(1, PARTS) / PARTS))
            for into, table in ((ours, real), (theirs, made)):
                numbers = table[name].to_numpy(np.float64, na_value=np.nan)
                into[name] = np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers, "right"))
        else:
            texts = [as_text(table[name]) for table in (real, made)]
            place = {value: code for code, value in enumerate(texts[0].unique())}
            for into, column in zip((ours, theirs), texts, strict=True):
                into[name] = column.map(place).fillna(len(place)).to_numpy(np.int64)
    sizes = {name: int(max(ours[name].max(), theirs[name].max())) + 1 for name in real}
    one, two = pd.DataFrame(ours), pd.DataFrame(theirs)
    one.attrs, two.attrs = {"sizes": sizes}, {"sizes": sizes}
    return one, two


def _together(codes: pd.DataFrame, one: str, two: str) -> np.ndarray:
    """Shares `(states of one, states of two)`."""
    sizes = codes.attrs["sizes"]
    flat = codes[one].to_numpy() * sizes[two] + codes[two].to_numpy()
    return np.bincount(flat, minlength=sizes[one] * sizes[two]).reshape(sizes[one], sizes[two]) / len(codes)


def _cramer(shares: np.ndarray) -> float:
    rows, columns = shares.sum(1), shares.sum(0)
    wanted = np.outer(rows, columns)
    least = min((rows > 0).sum(), (columns > 0).sum()) - 1
    seen = wanted > 0
    return float(np.sqrt((((shares - wanted) ** 2)[seen] / wanted[seen]).sum() / least)) if least > 0 else 0.0


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
