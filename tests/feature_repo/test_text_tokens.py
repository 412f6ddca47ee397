"""Words of titles in several scripts, and the vectors made from them, against a naive second way."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from feature_repo.text import fused
from feature_repo.text.company import company_vectors, item2vec, together
from feature_repo.text.spectrum import leading
from feature_repo.text.tokens import tokens
from feature_repo.text.words import WeightedWords, tfidf_svd, word2vec
from settings import ROOT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("WHITE HANGING HEART T-LIGHT HOLDER 6", ["white", "hanging", "heart", "t", "light", "holder", "6"]),
        ("Café cafe\u0301 cafe", ["café", "café", "cafe"]),  # one letter or two, the same word; without its accent another
        ("Straße ＭＵＧ Кружка", ["strasse", "mug", "кружка"]),
        ("红色陶瓷茶杯 350ml", ["红色", "陶瓷", "茶杯", "350ml"]),
        ("陶器のマグ", ["陶器", "のマ", "マグ"]),
        ("แก้ว", ["แก", "ก้", "้ว"]),
        ("हिन्दी कप", ["हिन्दी", "कप"]),  # not cut at its vowel signs
        ("한국어 머그컵", ["한국어", "머그컵"]),
        ("__ !! ...", []),
        ("", []),
    ],
)
def test_words_in_any_language(text: str, words: list[str]) -> None:
    assert tokens(text) == words


def test_weights_are_tf_idf_counted_by_hand() -> None:
    documents = [["red", "mug", "mug"], ["red", "pot"]]
    words = WeightedWords.fit(documents)
    row = dict(zip(sorted(words.places), words.matrix([["red", "mug", "mug", "unknown"]]).toarray()[0], strict=True))
    red, mug = 1 + math.log(3 / 3), (1 + math.log(2)) * (1 + math.log(3 / 2))
    assert row == pytest.approx({"mug": mug / math.hypot(red, mug), "pot": 0.0, "red": red / math.hypot(red, mug)})


def test_the_dimension_is_the_smallest_multiple_of_8_that_explains_the_share() -> None:
    matrix = sp.csr_matrix(np.diag([10.0] * 9 + [1.0] * 31))  # 900 + 31 of squares
    assert leading(matrix, 0.9, 64).directions.shape == (40, 16)  # 8 explain 800 of 931: too few; 9 would do
    assert leading(matrix, 0.9, 64).share == pytest.approx((900 + 7) / 931)
    assert leading(matrix, 0.999, 24).directions.shape == (40, 24)  # never above the cap
    assert leading(matrix[:3], 0.9, 64).directions.shape == (40, 3)  # nor above the rank
    assert leading(sp.csr_matrix((0, 5)), 0.9, 64).directions.shape == (5, 0)


def test_full_directions_keep_every_cosine_of_tf_idf() -> None:
    documents = [["red", "mug"], ["red", "pot"], ["blue", "mug", "mug"], ["tea"]]
    vectors = tfidf_svd(documents, documents, share=1.0, cap=64)
    plain = WeightedWords.fit(documents).matrix(documents).toarray()
    assert vectors @ vectors.T == pytest.approx(plain @ plain.T)


def test_information_of_pairs_counted_by_hand() -> None:
    baskets = sp.csr_matrix(np.array([[1.0, 1, 0], [1, 1, 0], [1, 0, 1]]))  # 0 meets 1 twice and 2 once
    information = together(baskets).toarray()
    context = np.array([3.0, 2.0, 1.0]) ** 0.75
    assert information[0, 1] == pytest.approx(math.log(2 * context.sum() / (3 * context[1])), rel=1e-5)
    assert information[2, 0] == pytest.approx(math.log(1 * context.sum() / (1 * context[0])), rel=1e-5)
    assert information[1, 2] == 0  # never met
    assert information.diagonal() == pytest.approx(information[~np.eye(3, dtype=bool)].reshape(3, 2).max(axis=1))


def test_an_item_in_the_same_company_lies_near_and_a_new_one_by_its_words() -> None:
    """Tea is bought with pot and milk, a lamp with bulb and shade. A new tea, never bought, must lie with the pot."""
    ids = ["tea1", "tea2", "tea3", "pot", "milk", "lamp1", "lamp2", "lamp3", "bulb", "shade"]
    documents = [["green", "tea"], ["black", "tea"], ["fine", "tea"], ["iron", "pot"], ["fresh", "milk"]]
    documents += [["desk", "lamp"], ["wall", "lamp"], ["floor", "lamp"], ["clear", "bulb"], ["paper", "shade"]]
    random = np.random.default_rng(0)
    rows = [[random.integers(0, 3), 3, 4] if n % 2 else [random.integers(5, 8), 8, 9] for n in range(60)]
    cells = np.zeros((60, len(ids)))
    for number, row in enumerate(rows):
        cells[number, row] = 1
    model = fused.fit(ids, documents, sp.csr_matrix(cells))
    new, pot, bulb, blank = model.vectors(["new", "pot", "bulb", "x"], [["oolong", "tea"], ["iron", "pot"], ["clear", "bulb"], []])
    assert new @ pot > 0.5 > new @ bulb
    assert np.linalg.norm(new) == pytest.approx(1, abs=1e-5)
    assert len(blank) == model.dim


def test_one_text_and_no_history_is_a_model_of_one_number() -> None:
    model = fused.fit(["a"], [["mug"]], sp.csr_matrix((0, 1)))
    assert model.vectors(["a", "b"], [["mug"], ["pot"]]).tolist() == [[1.0], [0.0]]  # the pot's word is unknown


@pytest.mark.slow
def test_word2vec_gives_the_same_bytes_whatever_the_hash_seed() -> None:
    code = """
import hashlib, numpy as np, scipy.sparse as sp
from feature_repo.text.words import word2vec
from feature_repo.text.company import item2vec
documents = [["red", "mug"], ["blue", "mug"], ["red", "pot"], ["tea"]] * 5
baskets = sp.csr_matrix(np.random.default_rng(0).integers(0, 2, (20, 6)).astype(float))
print(hashlib.md5(word2vec(documents, documents, 8).tobytes() + item2vec(baskets, 8).tobytes()).hexdigest())
"""
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_word2vec_is_the_idf_weighted_mean_and_item2vec_knows_only_items_with_history() -> None:
    documents = [["red", "mug"], ["blue", "mug"], ["red", "pot"]]
    vectors = word2vec([["mug"], ["mug", "mug"], ["unknown"]], documents, 8)
    assert vectors[0] == pytest.approx(vectors[1])
    assert not vectors[2].any()
    baskets = sp.csr_matrix(np.array([[1.0, 1, 0], [1, 1, 0]]))
    assert not item2vec(baskets, 4)[2].any()
    assert not company_vectors(baskets, 0.6, 8)[2].any()
