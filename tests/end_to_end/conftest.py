"""The road is walked once for each file of tests, on the profile that the file names in `PROFILE`."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.local import servers
from settings import Settings, get_settings
from tests.end_to_end.road import Road, open_road


@pytest.fixture(scope="module")
def road(request: pytest.FixtureRequest) -> Iterator[Road]:
    profile = getattr(request.module, "PROFILE", "embedded")
    folder = Path(tempfile.mkdtemp(prefix=f"portrait-road-{profile}-"))
    folder.chmod(0o755)  # Postgres' own user passes through
    try:
        if profile == "services" and (missing := servers.missing(Settings(home=folder))):
            pytest.skip("; ".join(missing))
        with open_road(folder, profile) as walked:
            yield walked
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def in_house(road: Road, monkeypatch: pytest.MonkeyPatch) -> Iterator[Road]:
    """This process, too, lives in the road's house."""
    for name in [name for name in os.environ if name.startswith("PORTRAIT_")]:
        monkeypatch.delenv(name)
    for name, value in road.environment.items():
        if name.startswith("PORTRAIT_"):
            monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield road
    get_settings.cache_clear()
