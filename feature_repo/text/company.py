"""Which items keep company: vectors of items from the baskets (or histories) that they stand in together."""

import numpy as np
import scipy.sparse as sp

from feature_repo.text.spectrum import SEED, leading

SMOOTHING = 0.75  # of context frequencies: Levy, Goldberg and Dagan 2015


def together(baskets: sp.csr_matrix) -> sp.csr_matrix:
    """Positive pointwise mutual information of pairs of items, `(items, items)`, from `baskets`, `(baskets, items)` of zeros and ones.

    An item is as close to itself as to the closest other: two items that only ever meet each other have the same row, not opposite ones.
    """
    baskets = baskets.astype(np.float32)  # halves memory and time where many items met
    pairs = (baskets.T @ baskets).tocoo()
    other = pairs.row != pairs.col
    rows, columns, counts = pairs.row[other], pairs.col[other], pairs.data[other]
    met = np.maximum(np.bincount(rows, weights=counts, minlength=baskets.shape[1]), 1)  # 1: an item without pairs is not asked for
    context = met**SMOOTHING
    of_row, of_column = np.log(met).astype(np.float32), np.log(context / context.sum()).astype(np.float32)
    information = np.log(counts) - of_row[rows] - of_column[columns]
    kept = information > 0
    close = sp.csr_matrix((information[kept], (rows[kept], columns[kept])), shape=pairs.shape)
    return (close + sp.diags(close.max(axis=1).toarray().ravel())).tocsr()


def company_vectors(baskets: sp.csr_matrix, share: float, cap: int) -> np.ndarray:
    """Item vectors, `(items, dim)`: singular directions of `together`, times the root of their strength: what skip-gram over baskets
    factorises implicitly (Levy and Goldberg 2014), without its training. An item that met no other has zeros."""
    spectrum = leading(together(baskets), share, cap)
    return spectrum.directions * np.sqrt(spectrum.strengths)


def item2vec(baskets: sp.csr_matrix, dim: int) -> np.ndarray:
    """Skip-gram over baskets as sentences (Barkan and Koenigstein 2016, gensim), `(items, dim)`; one worker, one seed."""
    from gensim.models import Word2Vec

    mixed = np.random.default_rng(SEED)
    sentences = [[str(item) for item in mixed.permutation(row.indices)] for row in baskets]
    model = Word2Vec(sentences, vector_size=dim, window=20, min_count=1, sg=1, negative=10, epochs=5, workers=1, seed=SEED)
    vectors = np.zeros((baskets.shape[1], dim))
    for word in model.wv.index_to_key:
        vectors[int(word)] = model.wv[word]
    return vectors
