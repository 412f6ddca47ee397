"""Splits ask what the model could not have seen, the same for everybody who reads the same data."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.histories import Histories, histories_from_events
from training.splits import folds_of, leave_one_out, targets_sha256, time_split, undivided

USERS = st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), max_size=8), min_size=1, max_size=8)


def _histories(users: list[list[tuple[int, int]]]) -> Histories:
    """One list of (time, item) a user; sorted by time, ties as given."""
    rows = [sorted(events, key=lambda event: event[0]) for events in users]
    return Histories(
        np.array([f"u{user}" for user in range(len(rows))], object),
        [np.array([f"i{item}" for _, item in events], object) for events in rows],
        [np.array(["view"] * len(events), object) for events in rows],
        [np.array([time for time, _ in events], np.int64) for events in rows],
    )


def test_leave_one_out_by_hand():
    split = leave_one_out(_histories([[(1, 1), (2, 2), (3, 3), (4, 2)], [(1, 5), (2, 6)]]))
    assert [list(items) for items in split.train.item_ids] == [["i1", "i2"], ["i5", "i6"]]  # a short user only trains
    assert split.validation.targets.tolist() == ["i3"]
    assert [list(items) for items in split.validation.histories.item_ids] == [["i1", "i2"]]
    assert split.test.targets.tolist() == ["i2"]  # bought again: still asked
    assert [list(items) for items in split.test.histories.item_ids] == [["i1", "i2", "i3"]]
    assert [list(items) for items in split.known.item_ids] == [["i1", "i2", "i3"], ["i5", "i6"]]  # all but what the test asks


def test_equal_times_keep_the_order_in_which_they_were_delivered():
    events = pa.table(
        {
            "user_id": ["u", "u", "u", "u", None],
            "item_id": ["late", "a", "c", "b", "guest"],
            "event_type": ["view"] * 5,
            "occurred_at": pa.array([9, 5, 5, 5, 5], pa.timestamp("us")),
        }
    )
    assert histories_from_events(events).item_ids[0].tolist() == ["a", "c", "b", "late"]


def test_time_split_by_hand():
    # ten events; the test cut is the ninth time (80), the validation cut the seventh of the eight before it (60)
    users = [[(0, 1), (10, 2), (60, 1), (70, 3), (80, 3), (90, 4)], [(20, 1), (30, 2)], [(40, 5), (50, 6)]]
    split = time_split(_histories(users))
    assert [list(items) for items in split.train.item_ids] == [["i1", "i2"], ["i1", "i2"], ["i5", "i6"]]
    assert split.validation.histories.user_ids.tolist() == ["u0"]
    assert split.validation.targets.tolist() == ["i3"]  # i1 is not new to the user
    assert [list(items) for items in split.test.histories.item_ids] == [["i1", "i2", "i1", "i3"]]
    assert split.test.targets.tolist() == ["i4"]
    assert [list(items) for items in split.known.item_ids] == [["i1", "i2", "i1", "i3"], ["i1", "i2"], ["i5", "i6"]]
    repeats = time_split(_histories(users), repeats=True)
    assert (repeats.validation.targets.tolist(), repeats.test.targets.tolist()) == (["i1"], ["i3"])  # whatever came next


@settings(max_examples=60, deadline=None)
@given(USERS)
def test_leave_one_out_never_leaks(users):
    histories = _histories(users)
    split = leave_one_out(histories)
    whole = dict(zip(histories.user_ids, histories.item_ids, strict=True))
    trained = dict(zip(split.train.user_ids, split.train.item_ids, strict=True))
    for questions, held_out in ((split.validation, 2), (split.test, 1)):
        for user, items, target in zip(questions.histories.user_ids, questions.histories.item_ids, questions.targets, strict=True):
            assert list(items) == list(whole[user][:-held_out])
            assert target == whole[user][-held_out]
            assert list(trained[user]) == list(whole[user][:-2])


@settings(max_examples=60, deadline=None)
@given(USERS)
def test_time_split_never_leaks(users):
    histories = _histories(users)
    split = time_split(histories)
    trained = max((times.max() for times in split.train.times_us if len(times)), default=-1)
    for questions in (split.validation, split.test):
        known = max((times.max() for times in questions.histories.times_us if len(times)), default=-1)
        for user, items, target in zip(questions.histories.user_ids, questions.histories.item_ids, questions.targets, strict=True):
            place = histories.user_ids.tolist().index(user)
            later_times, later_items = histories.times_us[place][len(items) :], histories.item_ids[place][len(items) :].tolist()
            assert len(items) and target not in items
            assert items.tolist() == histories.item_ids[place][: len(items)].tolist()
            assert min(later_times) > max(trained, known)  # nobody's history, nor training, reaches into anybody's target time
            assert target == next(item for item in later_items if item not in set(items))


def test_checksum_by_hand():
    lines = "u1\tb\nu10\ta\nu2\tü"
    assert targets_sha256(["u2", "u10", "u1"], ["ü", "a", "b"]) == hashlib.sha256(lines.encode("utf-8")).hexdigest()
    assert targets_sha256([], []) == hashlib.sha256(b"").hexdigest()


def test_folds_are_even_in_size_and_label_and_repeat_by_seed():
    labels = np.array(["F"] * 10 + ["M"] * 23)
    folds = folds_of(labels, 5, seed=3)
    assert np.bincount(folds).tolist() == [7, 7, 7, 6, 6]
    assert np.bincount(folds[labels == "F"]).tolist() == [2, 2, 2, 2, 2]
    assert folds.tolist() == folds_of(labels, 5, seed=3).tolist() != folds_of(labels, 5, seed=4).tolist()


def test_a_persons_rows_stand_in_one_fold():
    fold = np.array([0, 1, 1, 0, 1])
    assert undivided(fold, np.array(["b", "a", "b", "a", "c"])).tolist() == [0, 1, 0, 1, 1]
    assert undivided(fold, np.array(["e", "d", "c", "b", "a"])).tolist() == fold.tolist()


def test_a_user_without_enough_events_is_not_asked():
    assert len(leave_one_out(_histories([[(1, 1), (2, 2)]])).test.targets) == 0
    assert len(time_split(_histories([[(1, 1)], []])).test.targets) == 0
    with pytest.raises(ValueError, match="zip"):
        targets_sha256(["u"], [])
