"""A house of the profile `services` whose Postgres and Redis run, and nothing else; real servers of this machine, on free ports."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.local import house, servers
from serving.local.services import SERVERS, services
from settings import Settings, get_settings
from tests.end_to_end.road import free_ports


@contextmanager
def running_servers() -> Iterator[dict[str, str]]:
    """The environment of the house; skips where this machine lacks the servers. It is down, and gone, when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="portrait-servers-"))
    folder.chmod(0o755)  # Postgres' own user passes through
    if missing := servers.missing(Settings(home=folder)):
        folder.rmdir()
        pytest.skip("; ".join(missing))
    ports = dict(zip(("POSTGRES_PORT", "REDIS_PORT"), map(str, free_ports(2)), strict=True))
    given = {"HOME": str(folder / "house"), "PROFILE": "services", **ports}
    environment = {f"PORTRAIT_{name}": value for name, value in given.items()}
    with pytest.MonkeyPatch.context() as patch:
        settings = servers.settle(live_in(environment, patch))
        settings.logs_dir.mkdir()
        try:
            house._bring_up([service for service in services(settings) if service.group == SERVERS], settings, print)
        except BaseException:
            house.down(settings)
            raise
    get_settings.cache_clear()
    try:
        yield environment
    finally:
        house.down(settings)
        shutil.rmtree(folder)


def live_in(environment: dict[str, str], patch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment.items():
        patch.setenv(name, value)
    get_settings.cache_clear()
    return get_settings()
