"""docker-compose.yml as the tests read it."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from settings import ROOT, get_settings


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """The main file, anchors resolved and variables as they are written."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return compose["services"]


@pytest.fixture(autouse=True)
def _settings_of_this_process() -> Iterator[None]:
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()
