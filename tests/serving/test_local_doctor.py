"""The doctor's lines on the records: how far features know, and whether that is too long ago."""

from pathlib import Path

import pytest

from feature_repo.export import export_marts
from serving.local.doctor import Line, _records
from settings import get_settings
from tests.feature_repo.conftest import MAY
from tests.feature_repo.warehouse import small_shop, write_warehouse


def records() -> Line:
    (line,) = _records(get_settings())
    return line


def test_a_house_without_features_is_told_what_to_run(house: Path) -> None:
    assert (records().state, records().detail) == ("warn", "none published: run `portrait ingest`")


def test_old_records_are_a_warning_only_where_the_clock_is_the_walls(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_warehouse(small_shop())
    export_marts(*MAY)
    assert (records().state, records().detail) == ("ok", "known until 2024-05-05 00:00")
    monkeypatch.setenv("PORTRAIT_CLOCK", "wall")
    get_settings.cache_clear()
    assert records().state == "warn"
    assert (
        records().detail.startswith("known until 2024-05-05 00:00, ") and "days ago: `portrait ingest` the days since" in records().detail
    )
