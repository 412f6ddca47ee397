"""The default simulated shop without dirt, delivered once for all tests that look at it."""

from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from sources.files import read_table
from sources.registry import Delivery, deliver


class Shop:
    """A delivered shop's tables and truth as frames, each read once."""

    def __init__(self, home: Path, **options: object) -> None:
        self.home, self._tables, self._truth = home, {}, {}
        self.delivery: Delivery = deliver("shop", None, home / "landing", seed=7, options=options)

    def table(self, name: str) -> pd.DataFrame:
        if name not in self._tables:
            self._tables[name] = read_table(self.home / "landing", name).to_pandas()
        return self._tables[name]

    def truth(self, name: str) -> pd.DataFrame:
        if name not in self._truth:
            self._truth[name] = pq.read_table(self.home / "truth" / f"{name}.parquet").to_pandas()
        return self._truth[name]

    @cached_property
    def known_events(self) -> pd.DataFrame:
        """Events of customers, by customer and time, with the item's top category."""
        events = self.table("events").dropna(subset=["user_id"]).sort_values(["user_id", "occurred_at"], kind="stable")
        return events.assign(top=events["item_id"].map(self.item("category")).str.split(" > ").str[0]).reset_index(drop=True)

    def item(self, column: str) -> pd.Series:
        return self.table("items").set_index("item_id")[column]


@pytest.fixture(scope="session")
def clean_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("clean-shop"), dirt=0)
