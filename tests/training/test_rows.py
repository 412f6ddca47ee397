"""Rows in memory and rows on disk are the same rows, and a fit on either learns the same."""

import numpy as np
import pytest

from tests.training.conftest import make_histories, walk
from training.rows import HistoryPieces, RowsInMemory, learned_from, write_rows

pytestmark = pytest.mark.slow


def rows_of(count: int, start: int = 0):
    numbers = np.arange(start, start + count, dtype=np.int32)[:, None] * np.ones(4, np.int32)
    return {"items": numbers, "segments": np.ones((count, 4), np.int32), "weights": np.ones((count, 4), np.float32)}


def seen(blocks) -> list[int]:
    return [int(number) for rows, order in blocks for number in rows["items"][order, 0]]


def test_an_epoch_from_disk_sees_every_row_once_in_an_order_by_seed_and_no_more_than_some_groups_at_a_time(tmp_path):
    rows = write_rows(iter([rows_of(24), rows_of(40, start=24)]), tmp_path / "rows.parquet", group_rows=8)
    rows._groups = 3
    blocks = list(rows.blocks((7, 0)))
    assert rows.count == 64
    assert rows.events == 256
    assert max(len(order) for _, order in blocks) == 24
    assert sorted(seen(blocks)) == list(range(64))
    assert seen(blocks) == seen(rows.blocks((7, 0))) != seen(rows.blocks((7, 1)))
    for name, values in rows_of(64).items():
        whole = np.concatenate([block[name] for block, _ in blocks])
        assert whole.dtype == values.dtype
        assert whole.shape == values.shape


def test_rows_in_memory_are_one_block():
    ((rows, order),) = RowsInMemory(rows_of(16)).blocks((7, 0))
    assert sorted(rows["items"][order, 0]) == list(range(16))


def test_no_pieces_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one piece"):
        write_rows(iter([]), tmp_path / "rows.parquet", 8)


def test_histories_in_pieces_teach_what_they_teach_at_once(shop, catalogue, tmp_path):
    from training.encoder import train_encoder_network
    from training.encoder_config import EncoderConfig

    config = EncoderConfig(sequence_length=8, dim=16, epochs=25, batch_rows=8, learning_rate=0.01, dropout=0.0)
    pieces = HistoryPieces(len(shop), lambda: (shop[start : start + 50] for start in range(0, len(shop), 50)), tmp_path)
    whole = learned_from(shop, catalogue, config, 3, holds_out=False)
    parts = learned_from(pieces, catalogue, config, 3, holds_out=False)
    assert (whole.counts == parts.counts).all()
    assert whole.targets == parts.targets
    assert whole.rows.events == parts.rows.events
    assert sorted(whole.sample.user_ids) == sorted(parts.sample.user_ids)

    encoder = train_encoder_network(pieces, catalogue, config, seed=3)
    asked = make_histories({"even": walk(4, 3), "odd": walk(7, 3)})
    best = catalogue.item_ids[next(encoder.scores(asked)).argmax(axis=1)]
    assert best.tolist() == ["i10", "i13"]
