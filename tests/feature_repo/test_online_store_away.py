"""An online store that is away: SQLite's file is moved, brought back, or replaced, under processes that hold it open; no Redis listens."""

import socket
import time
from datetime import datetime
from pathlib import Path

import pytest
import redis

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


def test_a_redis_that_is_away_is_told_of_within_a_second(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apply()  # registered; what lies in the registry serves either store
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("PORTRAIT_ONLINE_STORE", "redis")
    monkeypatch.setenv("PORTRAIT_REDIS", f"127.0.0.1:{port},db=0")
    get_settings.cache_clear()
    online = OnlineFeatures()
    begin = time.monotonic()
    with pytest.raises(redis.exceptions.ConnectionError):
        online.read("portrait_v1", ["ann"])
    assert time.monotonic() - begin < 1  # by redis-py's own retries: some ten
