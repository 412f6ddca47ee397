"""A shop small enough to learn in seconds: an item's successor is the item two places on, so users see only even or only odd items."""

import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ITEMS = 24
START_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000


def make_histories(rows: dict[str, list[int]]):
    """Histories from item numbers by user; one view an hour."""
    from training.histories import Histories

    return Histories(
        np.array(list(rows), object),
        [np.array([f"i{number:02d}" for number in row], object) for row in rows.values()],
        [np.full(len(row), "view", object) for row in rows.values()],
        [START_US + HOUR_US * np.arange(len(row), dtype=np.int64) for row in rows.values()],
    )


def walk(start: int, length: int) -> list[int]:
    return [(start + 2 * step) % ITEMS for step in range(length)]


@pytest.fixture(scope="session")
def shop():
    """160 users with 3 to 10 events each."""
    return make_histories({f"u{user:03d}": walk(user % ITEMS, 3 + user % 8) for user in range(160)})


@pytest.fixture(scope="session")
def catalogue():
    from training.catalogue import Catalogue

    blank = np.full(ITEMS + 1, "", object)
    ids = np.array([f"i{number:02d}" for number in range(ITEMS)] + ["never_sold"], object)
    category = np.array([("even" if number % 2 == 0 else "odd") + " > thing" for number in range(ITEMS)] + [""], object)
    return Catalogue(ids, blank, category, blank, np.full(ITEMS + 1, np.nan, np.float32), blank)


@pytest.fixture(scope="session")
def encoder(shop, catalogue):
    from training.encoder import train_encoder_network
    from training.encoder_config import EncoderConfig

    config = EncoderConfig(sequence_length=8, dim=16, epochs=25, batch_rows=8, learning_rate=0.01, dropout=0.0)
    return train_encoder_network(shop, catalogue, config, seed=3)
