"""All that a shop's users did, however many they are: at once, or in pieces that lie on disk while an encoder is fitted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np

from settings import get_settings
from training.frames import histories_until, users_known
from training.histories import Histories, read_histories, write_histories
from training.rows import HistoryPieces
from training.run_folder import content_hash


@contextmanager
def known_histories(until: datetime, start: datetime) -> Iterator[tuple[Histories | HistoryPieces, str]]:
    """Everything known of every user at `until`, and its hash; pieces of `training_users_in_memory` users where there are more."""
    limit = get_settings().training_users_in_memory
    users = users_known(until)
    if len(users) <= limit:
        histories = histories_until(until, start)
        yield histories, _hash_of(histories)
        return
    with tempfile.TemporaryDirectory(prefix=".histories-", dir=get_settings().home) as folder:
        paths, hashes = [], []
        for number, part in enumerate(np.array_split(users, -(-len(users) // limit))):
            piece = histories_until(until, start, part)
            paths.append(Path(folder) / f"{number:06d}.parquet")
            write_histories(piece, paths[-1])
            hashes.append(_hash_of(piece))
        yield HistoryPieces(len(users), lambda: map(read_histories, paths), Path(folder)), content_hash(hashes)


def some_users(at: datetime, seed: int) -> np.ndarray:
    """Users known at `at`, sorted: all, or as many as fit into memory, drawn by seed."""
    users = users_known(at)
    drawn = np.random.default_rng(seed).permutation(len(users))[: get_settings().training_users_in_memory]
    return users[np.sort(drawn)]


def _hash_of(histories: Histories) -> str:
    return content_hash(histories.user_ids, histories.item_ids, histories.times_us)
