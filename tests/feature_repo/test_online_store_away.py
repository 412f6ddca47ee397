"""The SQLite online store's file is moved away, brought back, or replaced, under processes that hold it open."""

from datetime import datetime
from pathlib import Path

import pytest

from feature_repo.online import OnlineFeatures
from feature_repo.store import apply
from settings import get_settings
from tests.feature_repo.test_online_stores import write
from tests.feature_repo.warehouse import day

pytestmark = pytest.mark.slow


def known(events: int) -> dict:
    return {"user_id": "ann", "features_at": day(3), "created_at": day(3), "events_7d": events}


def move(begin: str, end: str) -> None:
    """The file, with what SQLite keeps beside it."""
    folder = get_settings().feast_dir
    for path in sorted(folder.glob(f"{begin}*")):
        path.replace(folder / path.name.replace(begin, end))


def test_readers_say_that_the_file_is_away_make_none_and_follow_what_comes_in_its_place(house: Path) -> None:
    write(apply(), [known(5)])
    online = OnlineFeatures()

    def read() -> int:
        return online.read("portrait_v1", ["ann"], as_of=datetime(2024, 5, 3))[0]["events_7d"]  # noqa: DTZ001

    assert read() == 5
    move("online.db", "away.db")
    with pytest.raises(
        FileNotFoundError, match=r"The online store must lie at .*online\.db\. Nothing is there\. Bring it back, or run `ingest`"
    ):
        read()
    assert not (get_settings().feast_dir / "online.db").exists()
    move("away.db", "online.db")
    assert read() == 5

    move("online.db", "away.db")
    write(apply(), [known(8)])  # made anew, by another connection
    assert read() == 8
