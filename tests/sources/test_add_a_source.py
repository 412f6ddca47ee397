"""The worked example of docs/sources.md, followed step by step."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import sources
from settings import ROOT
from sources import registry
from sources.errors import DataNotFound, FileRefused
from sources.files import read_table
from sources.registry import SOURCES, Source, deliver


@pytest.fixture
def market_till(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the till's file, with the page's file and registry entry in place."""
    adapter, entry = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "sources.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "market_till.py").write_text(adapter)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path / "code")])
    new = eval(entry, {"Source": Source})
    monkeypatch.setitem(registry.SOURCES, new.name, new)
    (tmp_path / "till").mkdir()
    return tmp_path / "till"


def test_the_pages_source_delivers_and_refuses_as_any_other(market_till: Path, house: Path):
    (market_till / "till.csv").write_text("receipt,when,article,pieces\nr1,2024-05-01 09:30,tea,2\nr2,2024-05-02 10:00,pot,1\n")
    delivery = deliver("market_till", market_till, house)
    assert set(delivery.tables) == set(SOURCES["market_till"].tables)
    assert delivery.missing["users"] == "source market_till does not carry it"
    rows = [(str(row["ds"]), row["order_id"], row["item_id"], row["quantity"]) for row in read_table(house, "events").to_pylist()]
    assert rows == [("2024-05-01", "r1", "tea", 2.0), ("2024-05-02", "r2", "pot", 1.0)]

    (market_till / "till.csv").write_text("receipt,when,article\nr1,2024-05-01,tea\n")
    with pytest.raises(FileRefused, match=r"The till's file has the columns .* lacks pieces"):
        deliver("market_till", market_till, house)
    (market_till / "till.csv").unlink()
    (market_till / "else.csv").write_text("a\n")
    with pytest.raises(DataNotFound, match=r"Source market_till reads a folder with till.csv"):
        deliver("market_till", market_till, house)


def test_every_source_has_its_paragraph():
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    assert [name for name in SOURCES if f"**{name}** " not in page] == []


def test_every_source_that_reads_published_files_compares_checksums_and_the_page_says_where_they_stand():
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    for name in SOURCES.keys() - {"shop", "landing"}:  # nothing published
        module = import_module(f"sources.{name}")
        said = f"`{module.MD5}`" if hasattr(module, "MD5") else f"md5 of each file in `sources/{name}.py`"
        assert said in page, name
        assert hasattr(module, "note_unless_published") or hasattr(module, "is_published"), name
