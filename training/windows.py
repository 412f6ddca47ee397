"""Histories cut into windows and packed into rows of one fixed length, so that no step of a batch is wasted on padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sources.landing import EVENT_TYPES
from training.catalogue import Catalogue
from training.histories import Histories
from training.layers import RESERVED, unknown_places
from training.splits import VISIT_SECONDS

#: Upper ends (exclusive) of the time-gap buckets in seconds: powers of two up to 97 days. Bucket 0 means: the first event.
GAP_SECONDS = 2 ** np.arange(24, dtype=np.int64)
VISIT_BUCKET = int(np.searchsorted(GAP_SECONDS, VISIT_SECONDS)) + 1  # the last within a visit
GAP_BUCKETS = len(GAP_SECONDS) + 2
EVENT_TYPE_IDS = {event_type: place for place, event_type in enumerate(("", "?", *EVENT_TYPES))}


@dataclass(frozen=True)
class Steps:
    """Events of one user as small integers, each `(events,)`: item places, event type ids, gap buckets; `waits` are the buckets of the time
    to the next event, 0 where there is none."""

    items: np.ndarray
    types: np.ndarray
    gaps: np.ndarray
    waits: np.ndarray


def gap_buckets(times_us: np.ndarray) -> np.ndarray:
    """Bucket of the time since the event before: 0 for the first, then 1 (under a second), 2 (under two), 3 (under four) and so on."""
    gaps = np.searchsorted(GAP_SECONDS, np.diff(times_us) // 1_000_000, side="right") + 1
    return np.concatenate([np.zeros(min(1, len(times_us)), np.int64), gaps]).astype(np.int32)


def steps_of(histories: Histories, catalogue: Catalogue, as_of_us: int | np.ndarray | None = None) -> list[Steps]:
    """Every history as integers; an item outside the catalogue is in its bucket. With `as_of_us`, the newest event waits for it."""
    if not len(histories):
        return []
    asked = np.broadcast_to(np.asarray(-1 if as_of_us is None else as_of_us, np.int64), (len(histories),))
    ends = np.cumsum(histories.lengths)[:-1]
    ids = histories.all_item_ids
    places = (catalogue.index_of(ids) + RESERVED).astype(np.int32)
    is_unknown = places < RESERVED
    places[is_unknown] = unknown_places(ids[is_unknown])
    types = np.array([EVENT_TYPE_IDS.get(name, 1) for name in np.concatenate(histories.event_types)], np.int32)
    return [
        Steps(items, kinds, gaps := gap_buckets(times), _waits(gaps, times, at))
        for items, kinds, times, at in zip(np.split(places, ends), np.split(types, ends), histories.times_us, asked, strict=True)
    ]


def _waits(gaps: np.ndarray, times_us: np.ndarray, at_us: int) -> np.ndarray:
    """The gaps one step earlier; the newest event's is the time to `at_us`, 0 where that is negative."""
    if not len(gaps):
        return gaps
    last = gap_buckets(np.array([times_us[-1], at_us]))[1] if at_us >= 0 else 0
    return np.append(gaps[1:], np.int32(last))


def newest_steps(steps: list[Steps], length: int) -> dict[str, np.ndarray]:
    """The newest `length` events of each user, left-aligned, one user a row: the encoder's inputs, each `(users, length)` int32."""
    rows = {name: np.zeros((len(steps), length), np.int32) for name in ("items", "types", "gaps", "waits", "segments")}
    for row, user in enumerate(steps):
        count = min(length, len(user.items))
        if count:
            _write(rows, row, 0, user, len(user.items) - count, count, 1)
    return {**rows, "positions": np.tile(np.arange(length, dtype=np.int32), (len(steps), 1))}


def packed_windows(
    steps: list[Steps],
    length: int,
    repeat_weight: float,
    rows_multiple: int,
    seed: int,
    wait_dropout: float = 0.0,
    visit_weight: float = 1.0,
) -> dict[str, np.ndarray]:
    """Training rows, each array `(rows, length)`: encoder inputs, `targets` (places) and `weights`.

    Every event but a user's first is a target once. A long history is cut from the newest event back; windows of several users share a
    row as `segments` 1, 2, ...; positions count from the start of a window. Unknown targets weigh 0, repeated ones `repeat_weight`,
    those within 17 minutes of the event before `visit_weight`.
    Empty rows fill up to a multiple of `rows_multiple`. A share `wait_dropout` of the waits is made unknown.
    """
    windows = [
        (user, start, min(length, end - start)) for user, row in enumerate(steps) for start, end in _cuts(len(row.items) - 1, length)
    ]
    order = np.random.default_rng(seed).permutation(len(windows))
    layout = _packed([windows[place][2] for place in order], length)
    count = -(-max(1, len(layout)) // rows_multiple) * rows_multiple
    names = ("items", "types", "gaps", "waits", "segments", "positions", "targets")
    rows = {name: np.zeros((count, length), np.int32) for name in names}
    rows["weights"] = np.zeros((count, length), np.float32)
    fresh = [_first_times(user.items) for user in steps]
    for row, members in enumerate(layout):
        at = 0
        for segment, member in enumerate(members, start=1):
            user, start, size = windows[order[member]]
            _write(rows, row, at, steps[user], start, size, segment)
            rows["positions"][row, at : at + size] = np.arange(size)
            targets = steps[user].items[start + 1 : start + 1 + size]
            weights = np.where(fresh[user][start + 1 : start + 1 + size], 1.0, repeat_weight)
            rows["targets"][row, at : at + size] = targets
            weights = np.where(steps[user].waits[start : start + size] <= VISIT_BUCKET, visit_weight, 1.0) * weights
            rows["weights"][row, at : at + size] = weights * (targets >= RESERVED)
            at += size
    rows["waits"][np.random.default_rng(seed + 1).random(rows["waits"].shape) < wait_dropout] = 0
    return rows


def _write(rows: dict[str, np.ndarray], row: int, at: int, user: Steps, start: int, size: int, segment: int) -> None:
    rows["items"][row, at : at + size] = user.items[start : start + size]
    rows["types"][row, at : at + size] = user.types[start : start + size]
    rows["gaps"][row, at : at + size] = user.gaps[start : start + size]
    rows["waits"][row, at : at + size] = user.waits[start : start + size]
    rows["segments"][row, at : at + size] = segment


def _cuts(inputs: int, length: int) -> list[tuple[int, int]]:
    """`[start, end)` of the windows over `inputs` steps: full ones from the newest back, the rest at the start."""
    return [(max(0, end - length), end) for end in range(inputs, 0, -length)]


def _first_times(items: np.ndarray) -> np.ndarray:
    is_first = np.zeros(len(items), bool)
    is_first[np.unique(items, return_index=True)[1]] = True
    return is_first


def _packed(sizes: list[int], length: int) -> list[list[int]]:
    """Rows of window numbers whose sizes add up to at most `length`: each row takes the largest window that still fits."""
    waiting: list[list[int]] = [[] for _ in range(length + 1)]
    for number, size in enumerate(sizes):
        waiting[size].append(number)
    layout: list[list[int]] = []
    left = len(sizes)
    while left:
        room, row = length, []
        for size in range(length, 0, -1):
            while size <= room and waiting[size]:
                row.append(waiting[size].pop())
                room -= size
        layout.append(row)
        left -= len(row)
    return layout
