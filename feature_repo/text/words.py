"""Texts as weighted words, and two ways from there to vectors: TF-IDF with truncated SVD, and Word2Vec.

A *document* is the list of an item's words. Everything is fitted on the documents known at a cut-off and frozen: words first seen later
count for nothing until the next fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from feature_repo.text.spectrum import SEED, leading, unit

Documents = Sequence[Sequence[str]]


@dataclass
class WeightedWords:
    """TF-IDF: a word counts `(1 + ln tf) * (1 + ln((1 + documents) / (1 + df)))`, rows at length 1 (Salton and Buckley 1988, smoothed)."""

    places: dict[str, int] = field(default_factory=dict)
    idf: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def fit(cls, documents: Documents) -> "WeightedWords":
        counts: dict[str, int] = {}
        for document in documents:
            for word in set(document):
                counts[word] = counts.get(word, 0) + 1
        words = sorted(counts)
        frequencies = np.array([counts[word] for word in words], dtype=float)
        return cls({word: place for place, word in enumerate(words)}, 1 + np.log((1 + len(documents)) / (1 + frequencies)))

    def matrix(self, documents: Documents) -> sp.csr_matrix:
        """`(documents, words)`; unknown words are left out."""
        known = [[self.places[word] for word in document if word in self.places] for document in documents]
        rows = np.repeat(np.arange(len(known)), [len(words) for words in known])
        columns = np.fromiter((place for words in known for place in words), dtype=np.int64, count=len(rows))
        counts = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(known), len(self.places)))
        counts.sum_duplicates()
        counts.data = 1 + np.log(counts.data)
        weighted = sp.csr_matrix(counts.multiply(self.idf))
        lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
        return sp.csr_matrix(sp.diags(np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)) @ weighted)


def word2vec_table(documents: Documents, words: WeightedWords, dim: int) -> np.ndarray:
    """Skip-gram vectors of the words of `words`, `(words, dim)` (Mikolov et al. 2013, gensim).

    One worker and one seed: the same documents in the same order give the same table, whatever Python's hash seed is.
    """
    from gensim.models import Word2Vec

    model = Word2Vec(
        [list(document) for document in documents],
        vector_size=dim,
        window=10,
        min_count=1,
        sg=1,
        negative=10,
        epochs=5,
        workers=1,
        seed=SEED,
    )
    return np.array([model.wv[word] for word in sorted(words.places, key=words.places.__getitem__)], dtype=float).reshape(-1, dim)


def tfidf_svd(documents: Documents, known: Documents, share: float, cap: int) -> np.ndarray:
    """TF-IDF of `documents` on the leading directions of `known`'s, rows at length 1."""
    words = WeightedWords.fit(known)
    return unit(words.matrix(documents) @ leading(words.matrix(known), share, cap).directions)


def word2vec(documents: Documents, known: Documents, dim: int) -> np.ndarray:
    """The IDF-weighted mean of the words' vectors, learned on `known`, rows at length 1."""
    words = WeightedWords.fit(known)
    return unit(words.matrix(documents) @ word2vec_table(known, words, dim))
