"""The Complete Journey's tables, small enough to check by hand."""

from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest

from sources.complete_journey import FILES
from sources.errors import DataNotFound
from sources.files import read_table
from sources.registry import deliver

at = datetime.fromisoformat


@pytest.fixture
def journey(tmp_path: Path) -> Path:
    """Household 1 redeems a coupon of campaign 7, household 2 only shops, 3 neither; campaign 8 outlasts the file."""
    folder = tmp_path / "given"
    folder.mkdir()
    rows: dict[str, list[tuple]] = {
        "transactions_sample": [
            ("1", "b1", "p1", 2.0, 5.0, at("2017-03-01 10:00")),
            ("2", "b2", "p2", 0.0, 0.0, at("2017-03-03 23:59")),
            ("2", "b3", "p1", 1.0, 3.0, at("2017-03-05 00:00")),
            ("2", "b4", "p1", 1.0, 9.0, at("2017-03-08 12:00")),
        ],
        "demographics": [("1", "65+", "35-49K", None, "Married", "2", "2 Adults No Kids", "0")],
        "products": [
            ("p1", "2", "GROCERY", "National", "FRZN ICE", "ICE - CRUSHED/CUBED", "22 LB"),
            ("p2", "69", "MISC", "Private", None, None, None),
        ],
        "campaigns": [("7", "1"), ("7", "2"), ("7", "3"), ("8", "2")],
        "campaign_descriptions": [
            ("7", "Type A", date(2017, 3, 2), date(2017, 3, 5)),
            ("8", "Type B", date(2017, 2, 1), date(2017, 3, 31)),
        ],
        "coupon_redemptions": [("1", "7", date(2017, 3, 4))],
    }
    for name, (_, kinds) in FILES.items():
        pd.DataFrame(rows[name], columns=list(kinds)).to_parquet(folder / f"{name}.parquet", index=False)
    return folder


def test_an_exposure_comes_when_made_and_again_with_its_outcome(journey: Path, house: Path):
    delivery = deliver("complete_journey", journey, house)
    assert (delivery.start, delivery.end) == (date(2017, 3, 1), date(2017, 3, 9))
    rows = [
        tuple(row[name] for name in ("campaign_id", "user_id", "ds", "assigned_at", "visited", "converted", "spend"))
        for row in read_table(house, "campaign_exposures").to_pylist()
    ]
    made, known = date(2017, 3, 2), date(2017, 3, 6)
    start = at("2017-03-02")
    assert rows == [
        ("8", "2", date(2017, 3, 1), at("2017-02-01"), None, None, None),  # before the file begins: known on its first day
        *[("7", user, made, start, None, None, None) for user in "123"],
        ("7", "1", known, start, True, True, 0.0),  # the coupon; none of the sampled lines lies within
        ("7", "2", known, start, True, False, 3.0),  # days are counted whole, ends included
        ("7", "3", known, start, False, False, 0.0),
    ]
    exposures = read_table(house, "campaign_exposures").to_pylist()
    assert {row["propensity"] for row in exposures} == {None}
    assert {row["treatment"] for row in exposures} == {"type_a", "type_b"}


def test_lines_products_and_demographics(journey: Path, house: Path):
    deliver("complete_journey", journey, house)
    events = [(row["event_id"], row["item_id"], row["unit_price"], row["order_id"]) for row in read_table(house, "events").to_pylist()]
    assert events == [
        ("j000000", "p1", 2.5, "b1"),
        ("j000001", "p2", None, "b2"),
        ("j000002", "p1", 3.0, "b3"),
        ("j000003", "p1", 9.0, "b4"),
    ]
    items = [(row["title"], row["category"], row["brand"]) for row in read_table(house, "items").to_pylist()]
    assert items == [
        ("ICE - CRUSHED/CUBED 22 LB", "GROCERY > FRZN ICE > ICE - CRUSHED/CUBED", "maker 2"),
        (None, "MISC", "maker 69"),
    ]
    assert [row["user_id"] for row in read_table(house, "users").to_pylist()] == ["1", "2", "3"]
    traits = {row["trait"]: row["value"] for row in read_table(house, "user_traits").to_pylist()}
    assert traits["age"] == "65+"
    assert "home_ownership" not in traits  # unknown


def test_a_missing_table_is_named(journey: Path, house: Path):
    (journey / "products.parquet").unlink()
    with pytest.raises(DataNotFound, match=r"has no products.parquet"):
        deliver("complete_journey", journey, house)
