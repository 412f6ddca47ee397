"""What every known user did, in order: the form in which events reach the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Histories:
    """Events per user, oldest first.

    `user_ids` has shape `(users,)`; each list holds one array of shape `(events of that user,)`: item ids and event types as str
    objects, times in microseconds since 1970 UTC as int64. A user may have no events.
    """

    user_ids: np.ndarray
    item_ids: list[np.ndarray]
    event_types: list[np.ndarray]
    times_us: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.user_ids)

    def __getitem__(self, users: slice | np.ndarray | Sequence[int]) -> Histories:
        """The chosen users (slice, positions or a boolean mask), in the order asked."""
        chosen = np.arange(len(self))[users]
        return Histories(
            self.user_ids[chosen],
            [self.item_ids[user] for user in chosen],
            [self.event_types[user] for user in chosen],
            [self.times_us[user] for user in chosen],
        )

    def before(self, cut_us: int | np.ndarray) -> Histories:
        """Events earlier than `cut_us` (one time, or one per user); every user stays, if need be without events."""
        cuts = np.broadcast_to(np.asarray(cut_us, np.int64), (len(self),))
        return self._first([int(np.searchsorted(times, cut, side="left")) for times, cut in zip(self.times_us, cuts, strict=True)])

    def without_last(self, events: int) -> Histories:
        """All but the newest `events` of every user."""
        return self._first([max(0, len(times) - events) for times in self.times_us])

    def _first(self, counts: list[int]) -> Histories:
        def cut(columns: list[np.ndarray]) -> list[np.ndarray]:
            return [column[:count] for column, count in zip(columns, counts, strict=True)]

        return Histories(self.user_ids, cut(self.item_ids), cut(self.event_types), cut(self.times_us))

    @property
    def lengths(self) -> np.ndarray:
        """Number of events per user, `(users,)`."""
        return np.array([len(times) for times in self.times_us], np.int64)

    @property
    def all_item_ids(self) -> np.ndarray:
        """Item ids of all events, users one after the other, `(events,)`."""
        return np.concatenate(self.item_ids) if len(self) else np.empty(0, object)


def joined(parts: Sequence[Histories]) -> Histories:
    """The users of all parts, one part after the other; no user is in two of them."""
    return Histories(
        np.concatenate([part.user_ids for part in parts]),
        [row for part in parts for row in part.item_ids],
        [row for part in parts for row in part.event_types],
        [row for part in parts for row in part.times_us],
    )


def histories_from_events(events: pa.Table) -> Histories:
    """Histories of all users of a landing table `events`; guests are dropped; equal times keep the file's order."""
    frame = (
        events.select(["user_id", "item_id", "event_type", "occurred_at"]).to_pandas().dropna(subset=["user_id", "item_id", "occurred_at"])
    )
    frame["times_us"] = frame["occurred_at"].to_numpy("datetime64[us]").astype(np.int64)
    frame = frame.sort_values(["user_id", "times_us"], kind="stable")
    user_ids, starts = np.unique(frame["user_id"].to_numpy(object), return_index=True)

    def split(column: str, dtype: type) -> list[np.ndarray]:
        return np.split(frame[column].to_numpy(dtype), starts[1:]) if len(user_ids) else []

    return Histories(user_ids, split("item_id", object), split("event_type", object), split("times_us", np.int64))


def write_histories(histories: Histories, path: Path) -> None:
    """One row a user in a Parquet file."""
    types = {"item_ids": pa.string(), "event_types": pa.string(), "times_us": pa.int64()}
    columns = {name: pa.array(getattr(histories, name), pa.list_(kind)) for name, kind in types.items()}
    pq.write_table(pa.table({"user_id": pa.array(histories.user_ids, pa.string()), **columns}), path, compression="zstd")


def read_histories(path: Path) -> Histories:
    """The histories that `write_histories` wrote."""
    table = pq.read_table(path).combine_chunks()

    def lists(name: str, dtype: type) -> list[np.ndarray]:
        column = table[name].combine_chunks()
        values, ends = column.flatten().to_numpy(zero_copy_only=False).astype(dtype), np.cumsum(column.value_lengths().to_numpy())
        return np.split(values, ends[:-1]) if len(column) else []

    users = table["user_id"].to_numpy(zero_copy_only=False).astype(object)
    return Histories(users, lists("item_ids", object), lists("event_types", object), lists("times_us", np.int64))
