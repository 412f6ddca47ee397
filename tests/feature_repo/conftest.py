"""A house whose marts are the small shop's, exported."""

from datetime import date
from pathlib import Path

import pytest

from feature_repo.export import export_marts
from tests.feature_repo.warehouse import small_shop, write_warehouse

MAY = (date(2024, 5, 1), date(2024, 6, 1))


@pytest.fixture
def shop(house: Path) -> Path:
    write_warehouse(small_shop())
    export_marts(*MAY)
    return house
