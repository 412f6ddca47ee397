"""Online features as the named inputs of the served models: the one place where a Feast row becomes tensors.

Shapes: `batch` users, `steps` the longest history of the batch. Missing histories are empty, missing numbers NaN, as
`training.signatures` says.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from training.signatures import HISTORY, USER_FEATURES

Row = Mapping[str, Any]


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 UTC; a time without zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1_000_000)


def history_inputs(rows: Sequence[Row], as_of: datetime) -> dict[str, np.ndarray]:
    """`event_item_ids`, `event_types`, `event_times_us` of shape `(batch, steps)`, right-padded, and `as_of_us` of shape `(batch,)`.

    A user with live events from `as_of` on is asked about just after the newest of them: models read what happened before the question.
    """
    histories = [tuple(_list(row, tensor.name) for tensor in HISTORY[:3]) for row in rows]
    steps = max(1, max((len(items) for items, _, _ in histories), default=1))
    item_ids = np.full((len(rows), steps), "", dtype=object)
    types = np.full((len(rows), steps), "", dtype=object)
    times = np.zeros((len(rows), steps), dtype=np.int64)
    for index, (items, kinds, moments) in enumerate(histories):
        item_ids[index, : len(items)] = items
        types[index, : len(kinds)] = kinds
        times[index, : len(moments)] = moments
    return {
        "event_item_ids": item_ids,
        "event_types": types,
        "event_times_us": times,
        "as_of_us": np.maximum(times.max(axis=1) + 1, to_us(as_of)),
    }


def user_inputs(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Each of `USER_FEATURES` as float32 of shape `(batch,)`; NaN where unknown."""
    return {
        name: np.array([np.nan if (value := row.get(name)) is None else value for row in rows], dtype=np.float32) for name in USER_FEATURES
    }


def _list(row: Row, name: str) -> Sequence[Any]:
    value = row.get(name)
    return () if value is None else value
