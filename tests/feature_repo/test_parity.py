"""A served value that the offline store does not say is found, and named."""

import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from feature_repo.contract import services
from feature_repo.export import export_marts
from feature_repo.materialise import materialise
from feature_repo.parity import ParityFailed, check_parity
from feature_repo.store import open_store
from tests.feature_repo.conftest import MAY
from tests.feature_repo.test_online_stores import write
from tests.feature_repo.warehouse import day, features, small_shop, write_warehouse

pytestmark = pytest.mark.slow


def plant(house: Path, feature: str, value: object) -> None:
    """Overwrites one served value of every user."""
    with closing(sqlite3.connect(house / "feast" / "online.db")) as online, online:
        changed = 0
        for table in ("portrait_user_features", "portrait_user_sequences"):
            changed += online.execute(f"update {table} set value = ? where feature_name = ?", [value, feature]).rowcount
        assert changed


def test_a_materialised_store_is_equal(shop: Path) -> None:
    materialise(*MAY)
    report = check_parity()
    assert report.as_of == day(5)
    some = {"recommender_v1": 1, "portrait_v1": 2, "uplift_v1": 2, "user_v1": 2, "item_v1": 1}
    assert report.entities == some | {"portraits_v1": 0, "risk_consented_v1": 0, "fraud_v1": 0}
    assert report.values["user_v1"] == 2 * (29 + 5 + 9 + 1)
    assert "user_v1: 2 entities, 88 values" in report.as_text()


def test_an_unknown_user_is_null_on_both_sides(shop: Path) -> None:
    materialise(*MAY)
    assert check_parity(["user_v1"], users=["ann", "nobody"]).entities == {"user_v1": 2}


def test_a_planted_number_is_found_and_named(shop: Path) -> None:
    from feast.protos.feast.types.Value_pb2 import Value

    materialise(*MAY)
    plant(shop, "spend_7d", Value(double_val=30.5 + 2e-6).SerializeToString())
    with pytest.raises(ParityFailed, match=re.escape("ann spend_7d: online 30.500002, offline 30.5; portrait_v1 bob")) as failed:
        check_parity(["portrait_v1"])
    assert "2 of 50 differ" in str(failed.value)
    plant(shop, "spend_7d", Value(double_val=30.5 + 2e-7).SerializeToString())
    check_parity(["portrait_v1"], users=["ann"])


def test_a_planted_step_in_an_array_is_found(shop: Path) -> None:
    from feast.protos.feast.types.Value_pb2 import Int64List, Value

    materialise(*MAY)
    steps = [1_714_607_999_999_995, 1_714_608_000_000_008]  # one microsecond late
    plant(shop, "event_times_us", Value(int64_list_val=Int64List(val=steps)).SerializeToString())
    with pytest.raises(ParityFailed, match=r"1 of 4 differ: recommender_v1 ann event_times_us: online array.*Materialise from the day"):
        check_parity(["recommender_v1"])
    plant(shop, "event_times_us", Value(int64_list_val=Int64List(val=steps[:1])).SerializeToString())
    with pytest.raises(ParityFailed, match=r"event_times_us"):
        check_parity(["recommender_v1"])


def test_a_correction_that_was_not_materialised_is_found(shop: Path) -> None:
    materialise(*MAY)
    rows = small_shop()
    rows["user_features"].append(features("bob", 6, 6, events_7d=5))
    write_warehouse(rows)
    export_marts(*MAY)
    with pytest.raises(
        ParityFailed, match=r"user_v1 bob features_at: online .*5, 4, .*offline .*5, 6, .*bob events_7d: online 4, offline 5"
    ):
        check_parity(["user_v1"], users=["bob"])
    check_parity(["user_v1"], users=["bob"], as_of=day(5))


def test_a_thousand_random_users_are_drawn_and_one_wrong_value_among_them_is_found(house: Path) -> None:
    draw = random.Random(7)
    rows = [
        features(f"u{user}", at, at + draw.randrange(3), events_7d=draw.randrange(99), spend_7d=round(draw.uniform(0, 1e4), 2))
        for user in range(1_300)
        for at in draw.sample(range(2, 20), 2)
    ]
    write_warehouse({"user_features": rows, "user_sequences": [features("u0", 2, 2, event_item_ids=["mug"])]})
    export_marts(*MAY)
    materialise(*MAY)
    assert check_parity(["portrait_v1"]).entities == {"portrait_v1": 1_000}
    store = open_store()
    newest = {row["user_id"]: row for row in sorted(rows, key=lambda row: (row["features_at"], row["created_at"]))}
    found = 0
    for user in draw.sample(sorted(newest), 4):
        wrong = newest[user] | {"spend_7d": newest[user]["spend_7d"] + 0.01}
        write(store, [wrong])
        try:
            check_parity(["portrait_v1"])
        except ParityFailed as failed:
            assert [(one.id, one.feature) for one in failed.mismatches] == [(user, "spend_7d")]
            found += 1
        write(store, [newest[user]])
    assert found >= 2  # 1,000 of 1,300: some wrong rows may lie outside the sample


def test_an_empty_shop_has_nothing_to_compare(house: Path) -> None:
    write_warehouse({})
    export_marts(*MAY)
    assert check_parity().entities == dict.fromkeys(services(), 0)
