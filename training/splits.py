"""What a model may learn from, and what it is asked: the protocols of `portrait evaluate`.

Both recommendation protocols give every asked user one target, an item, and the history known at that moment. The last thing a user did
is unknown to the model by construction: a question's history ends before its target, and training ends before every target.
An item counts as seen once it stands in the history, but a target is never removed from the candidates: where a user repeats an item, that
repetition is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from training.histories import Histories


@dataclass(frozen=True)
class Questions:
    """Users with what was known of them, and the item each then chose: `histories` of `(users,)`, `targets` `(users,)` item ids."""

    histories: Histories
    targets: np.ndarray


@dataclass(frozen=True)
class Validation:
    """Histories, and the item that each user chose next, `(users,)` str objects; seen items are removed before ranking, unless told."""

    histories: Histories
    targets: np.ndarray
    removes_seen: bool = True
    as_of_us: int | np.ndarray | None = None  # when the next event is expected, once or `(users,)`

    def sampled(self, seed: int, most: int = 2500) -> Validation:
        """`most` of the questions, drawn by seed, or all."""
        asked = np.sort(np.random.default_rng(seed).permutation(len(self.targets))[:most])
        at_us = self.as_of_us[asked] if isinstance(self.as_of_us, np.ndarray) else self.as_of_us
        return replace(self, histories=self.histories[asked], targets=self.targets[asked], as_of_us=at_us)


@dataclass(frozen=True)
class Split:
    """Histories to train on, questions to choose epochs by, all that was known before the test (training and validation), and questions
    to be asked once."""

    train: Histories
    validation: Questions
    known: Histories
    test: Questions
    validation_cut_us: int | None = None  # the moment of the questions, where there is one for everybody
    test_cut_us: int | None = None


def leave_one_out(histories: Histories) -> Split:
    """Each user's last event is the test target and the one before it the validation target; all earlier ones train.

    The test history holds the validation target, the weights never saw it. Users with fewer than three events only train, with all
    their events. Order is the histories' own: equal times keep the order in which the shop delivered them.
    """
    asked = np.flatnonzero(histories.lengths >= 3)
    kept = histories[asked]
    held_out = np.where(histories.lengths >= 3, 2, 0)
    train = _first(histories, histories.lengths - held_out)
    return Split(
        train,
        Questions(kept.without_last(2), np.array([items[-2] for items in kept.item_ids], object)),
        _first(histories, histories.lengths - np.where(histories.lengths >= 3, 1, 0)),
        Questions(kept.without_last(1), np.array([items[-1] for items in kept.item_ids], object)),
    )


def time_split(histories: Histories, train_share: float = 0.8, repeats: bool = False) -> Split:
    """One moment for everybody: `train_share` of all events lie before the test cut, and as large a share of those before
    the validation cut.

    A question's target is the user's first event at or after the cut with an item that is new to the user, or with `repeats` with any
    item; its history is everything before the cut. Users without a history or without such an event are not asked. Weights learn
    from events before the validation cut, validation targets lie between the two cuts, and the test history reaches up to the test cut.
    """
    times = np.sort(np.concatenate([np.empty(0, np.int64), *histories.times_us]))
    test_cut = _cut(times, train_share)
    validation_cut = _cut(times[times < test_cut], train_share)
    return Split(
        histories.before(validation_cut),
        _first_items(histories.before(test_cut), validation_cut, repeats),
        histories.before(test_cut),
        _first_items(histories, test_cut, repeats),
        validation_cut,
        test_cut,
    )


#: Users whose newest visits are kept from teaching in order to be asked: a share, no more than, and no fewer than it takes to tell.
HELD_OUT, MOST_HELD_OUT, LEAST_HELD_OUT = 0.1, 2000, 50
ASKED_VISITS = 2
VISIT_SECONDS = 1024  # a visit ends where nothing follows for so long


def hold_out(histories: Histories, repeats: bool, seed: int) -> tuple[Histories, Validation | None]:
    """Histories without the newest visits of some users drawn by seed, and the first steps of these visits as questions, asked when they
    came; nothing is held out where too few could be asked.

    A question's target is an item that is new to the user, or with `repeats` any item. Only users with a visit before those are drawn:
    who is asked has taught, as those have who are asked once the model is served.
    """
    most, drawn = min(MOST_HELD_OUT, int(len(histories) * HELD_OUT)), 0
    lengths, users, steps = histories.lengths.copy(), [], []
    for user in np.random.default_rng(seed).permutation(len(histories)):
        if drawn == most:
            break
        items, times = histories.item_ids[user], histories.times_us[user]
        begins = np.flatnonzero(np.diff(times) >= VISIT_SECONDS * 1_000_000)[-ASKED_VISITS:] + 1
        if len(begins) == ASKED_VISITS:
            drawn += 1
            lengths[user] = begins[0]
            asked = [step for step in begins if repeats or items[step] not in items[:step]]
            users += [user] * len(asked)
            steps += asked
    if drawn < LEAST_HELD_OUT or not users:
        return histories, None
    pairs = list(zip(users, steps, strict=True))
    questions = _first(histories[np.array(users, np.int64)], np.array(steps, np.int64))
    targets = np.array([histories.item_ids[user][step] for user, step in pairs], object)
    at_us = np.array([histories.times_us[user][step] for user, step in pairs], np.int64)
    return _first(histories, lengths), Validation(questions, targets, removes_seen=not repeats, as_of_us=at_us)


def targets_sha256(user_ids: Iterable[str], targets: Iterable[object]) -> str:
    """SHA-256 of the UTF-8 lines `user<TAB>target`, sorted by code point and joined by a newline, without one at the end."""
    lines = sorted(f"{user}\t{target}" for user, target in zip(user_ids, targets, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def folds_of(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each row, `(rows,)` in `0 .. folds - 1`: shuffled by seed, every label spread evenly over the folds."""
    order = np.random.default_rng(seed).permutation(len(labels))
    by_label = order[np.argsort(np.unique(labels, return_inverse=True)[1][order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[by_label] = np.arange(len(labels)) % folds
    return fold


def undivided(fold: np.ndarray, people: np.ndarray) -> np.ndarray:
    """`fold` `(rows,)` with all rows of a person in the fold of the first one; `people` `(rows,)`."""
    _, first, person = np.unique(people, return_index=True, return_inverse=True)
    return fold[first][person]


def _cut(sorted_times: np.ndarray, share: float) -> int:
    return int(sorted_times[min(int(len(sorted_times) * share), len(sorted_times) - 1)]) if len(sorted_times) else 0


def _first_items(histories: Histories, cut_us: int, repeats: bool) -> Questions:
    known, users, targets = histories.before(cut_us), [], []
    for user, (items, before) in enumerate(zip(histories.item_ids, known.item_ids, strict=True)):
        seen = set(before)
        target = next((item for item in items[len(before) :] if repeats or item not in seen), None)
        if seen and target is not None:
            users.append(user)
            targets.append(target)
    return Questions(known[np.array(users, np.int64)], np.array(targets, object))


def _first(histories: Histories, counts: np.ndarray) -> Histories:
    def cut(columns: list[np.ndarray]) -> list[np.ndarray]:
        return [column[:count] for column, count in zip(columns, counts, strict=True)]

    return Histories(histories.user_ids, cut(histories.item_ids), cut(histories.event_types), cut(histories.times_us))
