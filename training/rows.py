"""Training rows in blocks of whole batches: one block where all rows fit into memory, else a few row groups of a Parquet file at a time.

A row is what `windows.packed_windows` makes: arrays `(rows, steps)` by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.text.known import MOST_HISTORIES
from training.catalogue import Catalogue
from training.encoder_config import EncoderConfig
from training.histories import Histories, joined
from training.layers import RESERVED
from training.splits import Validation, hold_out
from training.windows import packed_windows, steps_of

GROUP_BATCHES = 32  # batches in a row group

Arrays = dict[str, np.ndarray]


class TrainingRows(Protocol):
    """`count` rows with `events` steps that hold an event; `blocks` gives rows and the order in which an epoch takes them."""

    count: int
    events: int

    def blocks(self, seed: tuple[int, int]) -> Iterator[tuple[Arrays, np.ndarray]]: ...


class RowsInMemory:
    """All rows at once: every epoch is one block, in an order drawn from `seed`."""

    def __init__(self, rows: Arrays) -> None:
        self._rows = rows
        self.count, self.events = len(rows["weights"]), int((rows["segments"] > 0).sum())

    def blocks(self, seed: tuple[int, int]) -> Iterator[tuple[Arrays, np.ndarray]]:
        yield self._rows, np.random.default_rng(seed).permutation(self.count)


class RowsInParquet:
    """Rows on disk: an epoch reads the file once, its row groups in an order drawn from `seed`, `groups` at a time shuffled together.

    Memory holds `groups` row groups, however long the file is.
    """

    def __init__(self, path: Path, groups: int = 8) -> None:
        self._path, self._groups = path, groups
        metadata = pq.read_metadata(path)
        self.count, self._row_groups = metadata.num_rows, metadata.num_row_groups
        self.events = int(metadata.metadata[b"events"])

    def blocks(self, seed: tuple[int, int]) -> Iterator[tuple[Arrays, np.ndarray]]:
        random = np.random.default_rng(seed)
        order = random.permutation(self._row_groups)
        with pq.ParquetFile(self._path) as file:
            for start in range(0, len(order), self._groups):
                table = file.read_row_groups(sorted(order[start : start + self._groups]))
                rows = {name: _matrix(table[name]) for name in table.column_names}
                yield rows, random.permutation(table.num_rows)


def write_rows(pieces: Iterator[Arrays], path: Path, group_rows: int) -> RowsInParquet:
    """Rows of each piece as row groups of `group_rows`, the file whole or not at all; pieces hold a multiple of the batch each.

    Raises ValueError without pieces.
    """
    beside = path.with_name(f"{path.name}.tmp")
    writer, events = None, 0
    for piece in pieces:
        events += int((piece["segments"] > 0).sum())
        table = pa.table({name: _lists(values) for name, values in piece.items()})
        writer = writer or pq.ParquetWriter(beside, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=group_rows)
    if writer is None:
        raise ValueError("Rows are written of at least one piece. Received none. Give the histories of one user or more.")
    writer.add_key_value_metadata({"events": str(events)})
    writer.close()
    beside.replace(path)
    return RowsInParquet(path)


def _lists(values: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """The fixed-size lists of a column as one matrix `(rows, size)`."""
    lists = column.combine_chunks()
    return lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), -1)


@dataclass(frozen=True)
class HistoryPieces:
    """More histories than memory holds: `read()` gives them piece by piece, each with whole users; rows go to a file in `folder`.

    The items' content is learned from a sample of the `users`, as many of each piece as its share of all.
    """

    users: int
    read: Callable[[], Iterator[Histories]]
    folder: Path

    def __len__(self) -> int:
        return self.users


@dataclass(frozen=True)
class Learned:
    """What a fit learns from: `rows`, `targets` of their steps with a next event; events per item, `counts` `(items,)`; `sample` for the
    items' content and company; questions `held_out` from all of these."""

    rows: TrainingRows
    counts: np.ndarray
    users: int
    targets: int
    sample: Histories
    held_out: Validation | None = None


def learned_from(histories: Histories | HistoryPieces, catalogue: Catalogue, config: EncoderConfig, seed: int, holds_out: bool) -> Learned:
    """Rows, counts and content sample of all histories, in one pass; of pieces, the first holds out the users to ask."""
    counts, targets, samples = np.zeros(len(catalogue), np.int64), 0, []
    held_out: Validation | None = None

    def rows_of(part: Histories, number: int, sampled: int) -> Arrays:
        nonlocal counts, targets, held_out
        if holds_out and number == 0:
            part, held_out = hold_out(part, config.repeat_weight > 0, seed)
        chosen = np.sort(np.random.default_rng((seed, number)).permutation(len(part))[:sampled])
        samples.append(part[chosen])
        steps = steps_of(part, catalogue)
        places = np.concatenate([np.empty(0, np.int32), *(user.items for user in steps)])
        counts += np.bincount(places, minlength=len(catalogue) + RESERVED)[RESERVED:]
        rows = packed_windows(
            steps, config.sequence_length, config.repeat_weight, config.batch_rows, seed + number, config.wait_dropout, config.visit_weight
        )
        targets += int((rows["weights"] > 0).sum())
        return rows

    rows: TrainingRows
    if isinstance(histories, Histories):
        rows = RowsInMemory(rows_of(histories, 0, len(histories)))
    else:
        share = min(1.0, MOST_HISTORIES / max(1, len(histories)))
        pieces = (rows_of(piece, number, round(share * len(piece))) for number, piece in enumerate(histories.read()))
        rows = write_rows(pieces, histories.folder / "rows.parquet", GROUP_BATCHES * config.batch_rows)
    return Learned(rows, counts, len(histories), targets, joined(samples), held_out)
