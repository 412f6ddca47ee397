"""A house whose marts are the small shop's, exported; and both online stores, Redis as a real server of this machine."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from feature_repo.export import export_marts
from settings import get_settings
from tests.feature_repo.warehouse import small_shop, write_warehouse

MAY = (date(2024, 5, 1), date(2024, 6, 1))


@pytest.fixture
def shop(house: Path) -> Path:
    write_warehouse(small_shop())
    export_marts(*MAY)
    return house


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis without persistence on a free port, stopped by its process id."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("needs the distribution's redis-server, which is not on this machine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    server = subprocess.Popen(
        [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None and time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(params=["sqlite", "redis"])
def each_store(request: pytest.FixtureRequest, house: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The house with either online store, empty; yields its name."""
    if request.param == "redis":
        import redis

        port = request.getfixturevalue("redis_port")
        redis.Redis(port=port).flushall()
        monkeypatch.setenv("PORTRAIT_REDIS", f"127.0.0.1:{port},db=0")
    monkeypatch.setenv("PORTRAIT_ONLINE_STORE", request.param)
    get_settings.cache_clear()
    return str(request.param)
