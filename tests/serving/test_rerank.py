"""Places of a list against a naive recomputation of maximal marginal relevance and caps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.rerank import Pool, arrange, kinds_of_places
from serving.rules import Rules


def pool_of(relevance: list[float], tops: list[int], vectors: np.ndarray) -> Pool:
    none = np.zeros(len(relevance), bool)
    return Pool(np.array(relevance), np.array(tops, np.int64), vectors, none, none)


def naive(relevance: list[float], tops: list[int], vectors: np.ndarray, k: int, diversity: float, cap: int) -> list[int]:
    low, high = min(relevance), max(relevance)
    chosen: list[int] = []
    while len(chosen) < min(k, len(relevance)):
        left = [i for i in range(len(relevance)) if i not in chosen]
        below = [i for i in left if not cap or tops[i] == 0 or [tops[j] for j in chosen].count(tops[i]) < cap]
        worth = {}
        for i in below or left:
            scaled = (relevance[i] - low) / (high - low) if high > low else 0.0
            alike = max([0.0, *(float(vectors[i] @ vectors[j]) for j in chosen)])
            worth[i] = (1 - diversity) * scaled - diversity * alike
        chosen.append(max(worth, key=lambda i: (round(worth[i], 9), -i)))
    return chosen


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 12), st.integers(1, 10), st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.integers(0, 3), st.integers(0, 10_000))
def test_places_are_those_of_a_naive_recomputation(count: int, k: int, diversity: float, cap: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    relevance = generator.normal(size=count).tolist()
    tops = generator.integers(0, 3, count).tolist()
    vectors = generator.normal(size=(count, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = arrange(pool_of(relevance, tops, vectors), k, Rules(diversity=diversity, category_cap=cap))
    assert [place.index for place in found.places] == naive(relevance, tops, vectors, k, diversity, cap)


def test_without_variety_the_order_is_that_of_the_scores() -> None:
    found = arrange(pool_of([1.0, 3.0, 2.0], [1, 1, 1], np.ones((3, 1))), 3, Rules())
    assert [place.index for place in found.places] == [1, 2, 0]


def test_a_twin_of_the_first_item_waits_for_something_else() -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = arrange(pool_of([3.0, 2.9, 2.0], [1, 1, 1], vectors), 3, Rules(diversity=0.5))
    assert [place.index for place in found.places] == [0, 2, 1]


@pytest.mark.parametrize(
    ("k", "promoted", "explored", "kinds"),
    [
        (5, 0.4, 0.2, "r r p e p"),
        (10, 0.2, 0.1, "r r r r p r r r e p"),
        (10, 0.3, 0.0, "r r r p r r p r r p"),
        (3, 0.3, 0.3, "r r r"),
        (2, 1.0, 1.0, "p p"),
        (4, 0.0, 1.0, "e e e e"),
    ],
)
def test_promoted_places_are_spread_and_explored_ones_are_the_last_of_the_rest(
    k: int, promoted: float, explored: float, kinds: str
) -> None:
    rules = Rules(promoted=("x",), promoted_share=promoted, exploration_share=explored)
    assert " ".join(kind[0] for kind in kinds_of_places(k, rules)) == kinds
