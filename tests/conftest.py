"""Fixtures that every folder's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from settings import ROOT, get_settings


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh, empty house: every setting that names a path lies under the yielded folder."""
    home = tmp_path / "house"
    home.mkdir()
    monkeypatch.setenv("PORTRAIT_HOME", str(home))
    get_settings.cache_clear()
    yield home
    get_settings.cache_clear()


def shared_data(name: str) -> Path:
    """The folder of a public data set beside the checkout; skips the test, with the reason, where it is missing."""
    folder = ROOT.parent / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"needs the public data set {name} in {folder.relative_to(ROOT.parent)}, which is not on this machine")
    return folder
