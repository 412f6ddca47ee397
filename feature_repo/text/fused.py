"""The model that is published: what an item's words say, and the company it keeps or, by its words, may be expected to keep.

An item's vector is its TF-IDF on the leading directions, beside its company: a mean of what its own history says and what a ridge
regression from the words of items with history predicts, weighted by how many histories it stands in. So a new item, of which only the
title is known, already lies among the items it will be bought with. Chosen on validation (`benchmarks/text.py`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from feature_repo.text.company import company_vectors
from feature_repo.text.spectrum import Spectrum, leading, unit
from feature_repo.text.words import Documents, WeightedWords

METHOD = "fused"
SHARE = 0.6  # of what is to be explained, in words and in company
CAP = 64  # directions of either
TRUSTED = 20  # histories at which an item's own company counts as much as what its words predict
ENOUGH = 5  # histories from which an item teaches the regression
RIDGE = 1.0
WEIGHT = 3.0  # of company beside words
DECIMALS = 6


@dataclass
class FusedModel:
    """Fitted at a cut-off and frozen; `company`, `(items, dim)`, and `histories`, `(items,)`, are of the items of `places`.

    `learned_from` is the number of histories.
    """

    words: WeightedWords
    spectrum: Spectrum
    places: dict[str, int]
    company: np.ndarray
    histories: np.ndarray
    slopes: np.ndarray
    offset: np.ndarray
    learned_from: int

    @property
    def dim(self) -> int:
        return self.spectrum.directions.shape[1] + self.company.shape[1]

    def vectors(self, ids: list[str], documents: Documents) -> np.ndarray:
        """`(items, dim)`, rows at length 1; zeros where no word is known and nothing is expected."""
        matrix = self.words.matrix(documents)
        said = unit(matrix @ self.spectrum.directions)
        expected = matrix @ self.slopes + self.offset
        known = np.array([self.places.get(one, -1) for one in ids], dtype=int)
        kept = np.vstack([self.company, np.zeros((1, self.company.shape[1]))])[known]  # -1: the row of zeros
        trust = (np.append(self.histories, 0)[known] / (np.append(self.histories, 0)[known] + TRUSTED))[:, None]
        company = unit(trust * kept + (1 - trust) * expected)
        return np.round(unit(np.hstack([said, WEIGHT * company])), DECIMALS) + 0.0  # no minus zero


def fit(ids: list[str], documents: Documents, baskets: sp.csr_matrix) -> FusedModel:
    """`baskets`, `(baskets, items)`, of zeros and ones, has a column per item of `ids`.

    Without two items that met, or without an item that stands in enough histories, there is no company and the vector is the words' alone.
    """
    from sklearn.linear_model import Ridge

    words = WeightedWords.fit(documents)
    matrix = words.matrix(documents)
    company = unit(company_vectors(baskets, SHARE, CAP))
    histories = np.asarray(baskets.sum(axis=0)).ravel()
    teaches = (histories >= ENOUGH) & company.any(axis=1)
    if not teaches.any():
        company = np.zeros((len(ids), 0))
    slopes, offset = np.zeros((matrix.shape[1], company.shape[1])), np.zeros(company.shape[1])
    if company.shape[1] and matrix.shape[1]:
        ridge = Ridge(alpha=RIDGE, solver="sparse_cg", tol=1e-4).fit(matrix[teaches], company[teaches])
        slopes, offset = ridge.coef_.reshape(company.shape[1], -1).T, np.broadcast_to(ridge.intercept_, company.shape[1])
    places = {one: place for place, one in enumerate(ids)}
    return FusedModel(words, leading(matrix, SHARE, CAP), places, company, histories, slopes, offset, baskets.shape[0])


def save(model: FusedModel, path: Path) -> None:
    """Writes the model whole or not at all, as plain arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        np.savez(
            file,
            words=np.array(list(model.words.places), dtype=np.str_),
            idf=model.words.idf,
            directions=model.spectrum.directions,
            strengths=model.spectrum.strengths,
            share=model.spectrum.share,
            items=np.array(list(model.places), dtype=np.str_),
            company=model.company,
            histories=model.histories,
            slopes=model.slopes,
            offset=model.offset,
            learned_from=model.learned_from,
        )
    beside.replace(path)


def load(path: Path) -> FusedModel:
    """The model that `save` wrote."""
    with np.load(path) as held:
        words, items = ({one: place for place, one in enumerate(held[name].tolist())} for name in ("words", "items"))
        return FusedModel(
            WeightedWords(words, held["idf"]),
            Spectrum(held["directions"], held["strengths"], float(held["share"])),
            items,
            held["company"],
            held["histories"],
            held["slopes"],
            held["offset"],
            int(held["learned_from"]),
        )
