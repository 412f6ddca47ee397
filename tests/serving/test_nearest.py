"""The index over large catalogues: what it finds beside exact search, and that exact scores, exclusions and what is recalled hold."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from serving.nearest import Indexes, NearestItems, build, open_index
from serving.recommend import recommend
from serving.rules import Rules
from tests.serving.fakes import Answer, FakeFront
from tests.serving.test_recommend import card, listed, row
from training.signatures import ITEM_IDS_FILE, ITEM_VECTORS_FILE, RETRIEVE

ITEMS, DIM = 3000, 17


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Thirty crowds of a hundred items each; the last column is a bias."""
    generator = np.random.default_rng(1)
    rows = np.repeat(generator.normal(size=(30, DIM)), ITEMS // 30, axis=0) + 0.2 * generator.normal(size=(ITEMS, DIM))
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def saved(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "recommender" / "7"
    (folder / "assets.extra").mkdir(parents=True)
    np.save(folder / ITEM_VECTORS_FILE, vectors)
    (folder / ITEM_IDS_FILE).write_text(json.dumps([f"i{number:04}" for number in range(ITEMS)]))
    return folder


@pytest.fixture(scope="module")
def nearest(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> NearestItems:
    return open_index(saved, tmp_path_factory.mktemp("kept") / "recommender-7.faiss")


def questions(count: int = 60) -> np.ndarray:
    asked = np.random.default_rng(2).normal(size=(count, DIM)).astype(np.float32)
    asked[:, -1] = 1.0
    return asked


def test_nine_in_ten_of_the_exact_best_are_found_with_their_exact_scores(nearest: NearestItems, vectors: np.ndarray) -> None:
    for count in (10, 100):
        shares = []
        for vector in questions():
            exact = np.argsort(-(vectors @ vector), kind="stable")[:count]
            item_ids, scores = nearest.best(vector, {}, set(), count)
            shares.append(len(set(item_ids) & {f"i{place:04}" for place in exact}) / count)
            np.testing.assert_allclose(scores, [vectors[int(item[1:])] @ vector for item in item_ids], rtol=1e-4)
            assert (np.diff(scores) <= 0).all()
        assert np.mean(shares) > 0.9


def test_what_is_recalled_is_a_candidate_and_what_is_excluded_is_none(nearest: NearestItems, vectors: np.ndarray) -> None:
    vector = questions(1)[0]
    worst = f"i{int((vectors @ vector).argmin()):04}"
    (first, second), _ = nearest.best(vector, {}, set(), 2)
    item_ids, scores = nearest.best(vector, {worst: 1000.0, "not one of these": 9.0}, {first}, 2)
    assert item_ids == [worst, second]
    assert scores[0] == pytest.approx(float(vectors[int(worst[1:])] @ vector) + 1000.0, rel=1e-5)


def test_an_index_is_kept_and_read_again(saved: Path, tmp_path: Path, nearest: NearestItems, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "indexes" / "recommender-7.faiss"
    open_index(saved, kept)
    monkeypatch.setattr("serving.nearest.build", lambda *_: pytest.fail("built twice"))
    vector = questions(1)[0]
    assert open_index(saved, kept).best(vector, {}, set(), 9)[0] == nearest.best(vector, {}, set(), 9)[0]


def test_until_an_index_is_open_and_for_versions_without_vectors_there_is_none(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_build = threading.Event()
    monkeypatch.setattr("serving.nearest.build", lambda vectors: may_build.wait(10) and build(vectors))
    (saved.parent / "8").mkdir(exist_ok=True)
    indexes = Indexes(saved.parents[1], tmp_path)
    assert indexes.of("recommender", 7) is None
    assert indexes.of("recommender", 8) is None
    may_build.set()
    until = time.monotonic() + 30
    while (index := indexes.of("recommender", 7)) is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert len(index.item_ids) == ITEMS
    assert indexes.of("recommender", 8) is None


def test_a_recommendation_goes_by_the_index_of_the_version_that_answers(nearest: NearestItems, vectors: np.ndarray) -> None:
    items = {item: card(item, in_stock=number % 2 == 0) for number, item in enumerate(nearest.item_ids)}
    shop = FakeFront({"ann": row(["i0000", "i0002"], ["view", "purchase"])}, items, ranking=["i0004"])
    vector = questions(1)[0]
    answer = Answer(vector=vector[None], recalled_item_ids=np.array([["i0008", ""]], object), recalled=np.array([[500.0, 0.0]]))
    answer.version = 7
    exact = shop.predict
    asked = []

    def predict(model: str, inputs: dict, **chosen: object) -> Answer:
        asked.append(chosen.get("signature"))
        return answer if chosen.get("signature") == RETRIEVE else exact(model, inputs)

    shop.predict = predict  # type: ignore[method-assign]
    shop.nearest = lambda model, label=None: (7, nearest)  # type: ignore[method-assign, assignment, return-value]
    shop.rules_in_force = Rules(had={"purchase": float("inf")})
    scores = vectors @ vector
    scores[8] += 500
    scores[[2, *range(1, ITEMS, 2)]] = -np.inf
    found = recommend("ann", 10, shop=shop)
    assert (found.model_version, found.source) == (7, "model")
    assert asked == [RETRIEVE]
    assert listed(found)[0] == "i0008"
    assert len(set(listed(found)) & {f"i{place:04}" for place in np.argsort(-scores)[:10]}) >= 9
    shop.nearest = lambda model, label=None: (6, nearest)  # type: ignore[method-assign, assignment, return-value]
    assert listed(recommend("ann", 1, shop=shop)) == ["i0004"]  # another version answered: its index is not this one
