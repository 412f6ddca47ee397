"""Truncated singular value decomposition with a dimension that the matrix itself sets."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

STEP = 8
SEED = 7


class Spectrum(NamedTuple):
    """`directions`, `(columns, dim)`: orthonormal; `strengths`, `(dim,)`: singular values, falling; `share` of the squares they explain."""

    directions: np.ndarray
    strengths: np.ndarray
    share: float


def leading(matrix: sp.csr_matrix, share: float, cap: int) -> Spectrum:
    """The leading right singular directions of `matrix`, `(rows, columns)`: the smallest multiple of 8 that explains `share`, to `cap`.

    What is explained is the sum of squared singular values over the sum of squared cells, uncentred (Halko, Martinsson and Tropp 2011, as
    scikit-learn's `randomized_svd`). A matrix of lower rank than that has one direction per rank: one text has one. A direction's
    sign is such that its largest coordinate is positive. Without a cell that is not zero there is none: dim is 0.
    """
    from sklearn.utils.extmath import randomized_svd

    total = float(matrix.multiply(matrix).sum())
    most = min(cap, *matrix.shape)
    if not total or not most:
        return Spectrum(np.zeros((matrix.shape[1], 0)), np.zeros(0), 0.0)
    _, strengths, rows = randomized_svd(matrix, most, n_iter=2, random_state=SEED)
    rank = int((strengths > 1e-6 * strengths[0]).sum())
    explained = np.cumsum(strengths**2) / total
    enough = int(np.searchsorted(explained, share)) + 1
    dim = min(-(-enough // STEP) * STEP, rank)
    rows = rows[:dim]
    rows = rows * np.sign(rows[np.arange(dim), np.abs(rows).argmax(axis=1)])[:, None]
    return Spectrum(rows.T, strengths[:dim], float(explained[dim - 1]))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Every row at length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
