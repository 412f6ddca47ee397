"""What a model must beat: simple methods fitted on exactly the rows that the model sees.

A recommender baseline is fitted on `interactions`, a CSR matrix `(users, items)` of event counts, and scores users given as rows of the
same width: `scores(rows) -> (users, items)`.
"""

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_matrix, diags

Scorer = Callable[[csr_matrix], np.ndarray]

#: EASE inverts a dense `(items, items)` matrix: beyond this, memory and time are no longer small.
EASE_ITEMS = 15_000


def interactions(item_index: list[np.ndarray], items: int) -> csr_matrix:
    """Event counts `(users, items)` from each user's item indices; -1 (not in the catalogue) is left out."""
    users = np.repeat(np.arange(len(item_index)), [len(row) for row in item_index])
    columns = np.concatenate([np.empty(0, np.int64), *item_index])
    known = columns >= 0
    ones = np.ones(int(known.sum()), np.float32)
    return csr_matrix((ones, (users[known], columns[known])), shape=(len(item_index), items), dtype=np.float32)


def popularity(train: csr_matrix) -> Scorer:
    """Items by number of events; the same for everybody."""
    counts = np.asarray(train.sum(axis=0)).ravel()
    return lambda rows: np.broadcast_to(counts, rows.shape)


def item_knn(train: csr_matrix, neighbours: int = 100) -> Scorer:
    """Sum of cosine similarities to the items of the user's history, each item with its nearest `neighbours` alone."""
    nearest = cosines(train, neighbours).T.tocsr()
    return lambda rows: (_binary(rows) @ nearest).toarray()


def cosines(train: csr_matrix, neighbours: int) -> csr_matrix:
    """Cosine similarities of items by the users who had both, `(items, items)`: in each row the nearest `neighbours`, itself left out;
    where the last ones are equal, those that stand first."""
    unit = _binary(train)
    norms = np.sqrt(np.asarray(unit.sum(axis=0)).ravel())
    unit = (unit @ diags(np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0))).tocsr()
    similarity = (unit.T @ unit).tocsr()
    similarity = (similarity - diags(similarity.diagonal())).tocsr()
    similarity.eliminate_zeros()
    similarity.sort_indices()
    for item in range(similarity.shape[0]):
        row = similarity.data[similarity.indptr[item] : similarity.indptr[item + 1]]
        row[np.argsort(-row, kind="stable")[neighbours:]] = 0
    similarity.eliminate_zeros()
    return similarity


def ease(train: csr_matrix, l2: float = 100.0) -> Scorer:
    """Embarrassingly shallow autoencoder: the closed-form linear item-item model without a diagonal (Steck, WWW 2019)."""
    from scipy.linalg.lapack import spotrf, spotri

    seen = _binary(train)
    gram = (seen.T @ seen).toarray(order="F").astype(np.float32)
    gram[np.diag_indices_from(gram)] += l2
    upper = spotri(spotrf(gram, overwrite_a=True)[0], overwrite_c=True)[0]  # the upper triangle of the inverse
    inverse = np.triu(upper) + np.triu(upper, 1).T
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices_from(weights)] = 0.0
    return lambda rows: _binary(rows) @ weights


def als(train: csr_matrix, seed: int, dim: int = 64, alpha: float = 10.0, l2: float = 1.0, sweeps: int = 10) -> Scorer:
    """Implicit-feedback matrix factorisation by alternating least squares (Hu, Koren & Volinsky, ICDM 2008); asked users are folded in."""
    seen = _binary(train).astype(np.float32)
    generator = np.random.default_rng(seed)
    items = generator.normal(scale=0.1, size=(train.shape[1], dim)).astype(np.float32)
    for _ in range(sweeps):
        users = _least_squares(seen, items, alpha, l2)
        items = _least_squares(seen.T.tocsr(), users, alpha, l2)
    return lambda rows: _least_squares(_binary(rows).astype(np.float32), items, alpha, l2) @ items.T


def _least_squares(seen: csr_matrix, factors: np.ndarray, alpha: float, l2: float) -> np.ndarray:
    """Factors of the rows of `seen` `(rows, n)` for fixed `factors` `(n, dim)`: confidence is 1, and 1 + alpha where seen."""
    whole = factors.T @ factors + l2 * np.eye(factors.shape[1], dtype=np.float32)
    found = np.zeros((seen.shape[0], factors.shape[1]), np.float32)
    for row in np.flatnonzero(np.diff(seen.indptr)):
        own = factors[seen.indices[seen.indptr[row] : seen.indptr[row + 1]]]
        found[row] = np.linalg.solve(whole + alpha * own.T @ own, (1 + alpha) * own.sum(0))
    return found


def top_frequency(train: csr_matrix) -> Scorer:
    """A user's own items by how often the user had them, and popularity among the others: the baseline of repeated purchases."""
    counts = np.asarray(train.sum(axis=0), dtype=np.float32).ravel()
    others = counts / (counts.max(initial=0) + 1.0)  # below one: never above an item of the user's own
    return lambda rows: np.asarray(rows.todense(), dtype=np.float32) + others


def base_rate(truth: np.ndarray, classes: int) -> np.ndarray:
    """Share of each class, `(classes,)`; one is added to every count, so that no class is impossible."""
    counts = np.bincount(truth, minlength=classes) + 1.0
    return counts / counts.sum()


def trait_regression(train: csr_matrix, truth: np.ndarray, test: csr_matrix, classes: int) -> np.ndarray:
    """Class probabilities `(test rows, classes)` by logistic regression on log item counts, rows scaled to unit length."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import normalize

    model = LogisticRegression(C=10.0, max_iter=300).fit(normalize(train.log1p()), truth)
    probabilities = np.zeros((test.shape[0], classes))
    probabilities[:, model.classes_] = model.predict_proba(normalize(test.log1p()))
    return probabilities


def boosted_trees(learn: np.ndarray, truth: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities of two classes `(asked rows, 2)` by gradient boosting, stopped on a tenth of the rows; NaN is a value of its own."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=500, learning_rate=0.05, max_leaf_nodes=15, early_stopping=True, random_state=seed)
    return model.fit(learn, truth).predict_proba(asked)


def boosted_amounts(learn: np.ndarray, truth: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
    """Amounts of money `(asked rows,)` by gradient boosting of their logarithm (Poisson deviance), stopped on a tenth of the rows."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        loss="poisson", max_iter=500, learning_rate=0.05, max_leaf_nodes=15, early_stopping=True, random_state=seed
    )
    return model.fit(learn, np.maximum(truth, 0)).predict(asked)


def logistic_regression(learn: np.ndarray, truth: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Probabilities of two classes `(asked rows, 2)` by logistic regression on standardised columns."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(learn, truth).predict_proba(asked)


def _binary(matrix: csr_matrix) -> csr_matrix:
    return csr_matrix((np.ones_like(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)
