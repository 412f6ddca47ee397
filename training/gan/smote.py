"""SMOTE with categories (Chawla et al. 2002) as the simple method to beat: rows between a real row and a near one of its class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.gan.features import is_number
from training.gan.privacy import Metric

NEAR = 5


def smote(real: pd.DataFrame, target: str, rows: int, seed: int) -> pd.DataFrame:
    """`rows` rows; numbers lie between the two rows, categories are those of one of the two, the class is theirs."""
    from sklearn.neighbors import NearestNeighbors

    random = np.random.default_rng(seed)
    vectors = Metric.of(real.drop(columns=target)).vectors(real)
    found = []
    for label, count in (real[target].value_counts(normalize=True) * rows).round().astype(int).items():
        own = np.flatnonzero((real[target] == label).to_numpy())
        first = random.integers(0, len(own), count)
        near = NearestNeighbors(n_neighbors=min(NEAR + 1, len(own))).fit(vectors[own])
        others = near.kneighbors(vectors[own[first]], return_distance=False)[:, 1:]
        second = others[np.arange(count), random.integers(0, others.shape[1], count)]
        one, two = (real.iloc[own[chosen]].reset_index(drop=True) for chosen in (first, second))
        share = random.random(count)
        table = {}
        for name in real.columns:
            if is_number(real[name]):
                between = one[name] + share * (two[name] - one[name])
                table[name] = between.round() if pd.api.types.is_integer_dtype(real[name]) else between
            else:
                table[name] = one[name].where(random.random(count) < 0.5, two[name])
        found.append(pd.DataFrame(table))
    return pd.concat(found, ignore_index=True)
