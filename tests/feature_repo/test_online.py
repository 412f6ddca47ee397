"""Whatever windows come, in whatever order, the online store holds the newest known row of everybody."""

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_repo.contract import views
from feature_repo.export import export_marts
from feature_repo.materialise import materialise
from feature_repo.online import OnlineFeatures
from tests.feature_repo.conftest import MAY
from tests.feature_repo.warehouse import Rows, features, small_shop, write_warehouse

pytestmark = pytest.mark.slow


def publish(rows: Rows) -> None:
    write_warehouse(rows)
    export_marts(*MAY)


def written(**rows: int) -> dict[str, int]:
    return {view: rows.get(view, 0) for view in views()}


def contents(house: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every online value, by view."""
    with closing(sqlite3.connect(house / "feast" / "online.db")) as online:
        names = [f"portrait_{view}" for view in views()]
        return {name: sorted(online.execute(f"select entity_key, feature_name, value, event_ts, created_ts from {name}")) for name in names}


def test_a_users_row_is_served_as_plain_values(shop: Path) -> None:
    assert materialise(*MAY) == written(user_features=2, user_sequences=1, item_features=1)
    ann, nobody, bob, again = OnlineFeatures().read("user_v1", ["ann", "nobody", "bob", "ann"])
    assert (ann["events_7d"], ann["spend_7d"], ann["country"], ann["top_categories"]) == (2, 30.5, None, ["toys", "tea"])
    assert ann["features_at"] == datetime(2024, 5, 3, tzinfo=UTC)
    assert ann["top_category_shares"].tolist() == [0.75, 0.25]
    assert ann["event_item_ids"] == ["mug", "pot"]
    assert ann["event_times_us"].dtype == np.int64
    assert ann["event_times_us"].tolist() == [1_714_607_999_999_995, 1_714_608_000_000_007]
    assert (bob["events_7d"], bob["spend_7d"], bob["top_categories"], bob["event_item_ids"]) == (4, None, [], None)
    assert str(again) == str(ann)
    assert set(nobody) == set(ann)
    assert set(nobody.values()) == {None}


def test_items_and_times_are_served(shop: Path) -> None:
    rows = small_shop()
    rows["user_features"] = rows["user_features"][:1]
    publish(rows)
    materialise(*MAY)
    online = OnlineFeatures()
    mug = online.read("item_v1", ["mug"])[0]
    assert (mug["title"], mug["price"], mug["in_stock"], mug["views_7d"], mug["brand"]) == ("Mug", 4.5, True, 1, None)
    assert online.read("user_v1", ["ann"])[0]["last_event_at"] == datetime(2024, 5, 1, 9, 30, 15, tzinfo=UTC)  # whole seconds
    assert online.read("item_v1", []) == []


def test_an_older_window_after_a_newer_one_leaves_the_newest(shop: Path) -> None:
    materialise(date(2024, 5, 3), date(2024, 5, 4))
    materialise(date(2024, 5, 1), date(2024, 5, 2))
    assert OnlineFeatures().read("portrait_v1", ["ann"])[0]["events_7d"] == 2


def test_windows_twice_and_in_any_order_end_equal(shop: Path) -> None:
    materialise(*MAY)
    whole = contents(shop)
    materialise(*MAY)
    assert contents(shop) == whole
    (shop / "feast" / "online.db").unlink()
    for start in (4, 1, 3, 2):
        materialise(date(2024, 5, start), date(2024, 5, start + 1))
    assert contents(shop) == whole
    assert sum(map(len, whole.values())) == 2 * 29 + 5 + len(views()["item_features"].features)


def test_a_late_correction_with_the_same_features_at_arrives(shop: Path) -> None:
    materialise(*MAY)
    rows = small_shop()
    rows["user_features"].append(features("ann", 3, 8, events_7d=8, spend_7d=None))
    publish(rows)
    assert materialise(date(2024, 5, 7), date(2024, 5, 8)) == written(user_features=1)
    ann = OnlineFeatures().read("user_v1", ["ann"])[0]
    assert (ann["events_7d"], ann["spend_7d"], ann["top_categories"]) == (8, None, None)


def test_a_correction_of_an_older_day_does_not_hide_the_newest(shop: Path) -> None:
    # Day 2 was corrected on day 5; the window of that correction brings Ann's day 3, the newest as known.
    assert materialise(date(2024, 5, 4), date(2024, 5, 5))["user_features"] == 1
    assert OnlineFeatures().read("portrait_v1", ["ann", "bob"])[0]["events_7d"] == 2


def test_empty_marts_write_nothing(house: Path) -> None:
    publish({})
    assert materialise(*MAY) == written()


def test_misuse_says_the_way_out(house: Path) -> None:
    with pytest.raises(ValueError, match=r"A window must end after it starts. Received \[2024-05-02, 2024-05-01\)"):
        materialise(date(2024, 5, 2), date(2024, 5, 1))
    with pytest.raises(FileNotFoundError, match=r"must be exported before it is read"):
        materialise(*MAY)
    with pytest.raises(LookupError, match=r"Found no user_sequences in .*registry.db. Run `portrait up`"):
        OnlineFeatures().read("recommender_v1", ["ann"])
    with pytest.raises(KeyError, match=r"A feature service must be one of .*Received 'nope'"):
        OnlineFeatures().read("nope", ["ann"])


def test_reads_go_on_while_a_window_is_being_written(shop: Path) -> None:
    materialise(*MAY)
    reader = OnlineFeatures()
    with closing(sqlite3.connect(shop / "feast" / "online.db", isolation_level=None)) as writer:
        writer.execute("begin exclusive")
        writer.execute("delete from portrait_user_features")
        assert reader.read("portrait_v1", ["bob"])[0]["events_7d"] == 4
        writer.execute("rollback")
