"""How many segments, and which is which: on planted groups, by hand."""

import numpy as np
import pytest

from training.segment_stability import Tried, chosen, churn, cluster, matched, nearest, tried


def groups(places: list[tuple[float, float]], users: int = 60, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.concatenate([random.normal(place, 0.4, (users, 2)) for place in places])


FOUR = [(0.0, 0.0), (6.0, 0.0), (0.0, 6.0), (6.0, 6.0)]


def test_planted_groups_are_counted():
    found = tried(groups(FOUR), seed=1)
    assert [one.segments for one in found] == [3, 4, 5, 6, 7, 8]
    four = found[1]
    assert (four.agreement, four.smallest) == (pytest.approx(1.0), pytest.approx(0.25))
    assert four.silhouette == max(one.silhouette for one in found)
    assert chosen(found, None) == 4


def test_the_number_before_is_kept_unless_another_is_clearly_better():
    found = [Tried(3, 0.9, 0.40, 0.2), Tried(4, 0.9, 0.41, 0.2), Tried(5, 0.5, 0.90, 0.2), Tried(6, 0.9, 0.90, 0.001)]
    assert chosen(found, None) == 4  # five is no stable division, six leaves one too small
    assert chosen(found, 3) == 3
    assert chosen([*found[1:], Tried(3, 0.9, 0.30, 0.2)], 3) == 4
    assert chosen(found, 5) == 4
    assert chosen([Tried(3, 0.3, 0.9, 0.2), Tried(4, 0.4, 0.1, 0.2)], None) == 4


def test_segments_of_two_runs_are_paired_by_their_places_whatever_their_order():
    before = np.array(FOUR)
    assert matched(before[[2, 0, 3, 1]] + 0.5, before).tolist() == [2, 0, 3, 1]
    moved = np.array([*FOUR[:3], (12.0, 12.0)])
    assert matched(moved, before).tolist() == [0, 1, 2, -1]
    assert sorted(matched(np.array([*FOUR, (3.0, 3.0)]), before).tolist()) == [-1, 0, 1, 2, 3]
    assert matched(before[:2], before).tolist() == [0, 1]


def test_a_run_that_starts_from_the_centres_before_keeps_their_order():
    start = np.array(FOUR)[[3, 1, 0, 2]]
    rows = groups(FOUR, seed=5)
    centres, labels = cluster(rows, 4, seed=9, start=start)
    np.testing.assert_allclose(centres, start, atol=0.3)
    np.testing.assert_array_equal(labels, nearest(rows, centres))


def test_churn_is_the_share_that_moved_and_an_index_that_does_not_look_at_names():
    before, now = np.array(["a", "a", "b", "b"]), np.array(["b", "b", "a", "a"])
    assert churn(before, now).moved == 1.0 and churn(before, now).agreement == 1.0
    assert churn(before, np.array(["a", "a", "b", "a"])).moved == 0.25
