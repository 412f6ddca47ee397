"""SQLite and Redis alike: the newest version wins whoever writes, ttl is kept, and a stock Feast store reads the same values."""

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from feature_repo import contract
from feature_repo.contract import views
from feature_repo.export import export_marts
from feature_repo.materialise import materialise, rebuild
from feature_repo.online import OnlineFeatures
from feature_repo.online_clock import StoredRow
from feature_repo.parity import ParityFailed, check_parity
from feature_repo.store import apply, online_store, open_store
from settings import get_settings
from tests.feature_repo.conftest import MAY
from tests.feature_repo.warehouse import Rows, day, features, small_shop, write_warehouse

pytestmark = pytest.mark.slow

VERSIONS = [(2, 2), (2, 5), (3, 3), (3, 4), (3, 9), (4, 4), (4, 6)]  # (features_at, created_at): days of May


def publish(rows: Rows) -> None:
    write_warehouse(rows)
    export_marts(*MAY)


def arrow_rows(rows: Sequence[dict[str, Any]], view: str = "user_features") -> pyarrow.RecordBatch:
    from tests.feature_repo.test_online_encoding import ARROW

    return pyarrow.RecordBatch.from_pylist(
        [{column.name: row.get(column.name) for column in views()[view].columns} for row in rows],
        schema=pyarrow.schema([(column.name, ARROW[column.kind]) for column in views()[view].columns]),
    )


def write(store: Any, rows: Sequence[dict[str, Any]], replaced: dict[str, StoredRow] | None = None) -> None:
    online_store(store).write_arrow(store.config, store.get_feature_view("user_features"), arrow_rows(rows), replaced or {})


def write_as_feast(store: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Feast's own write path: what push and `feast materialize` come through."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    data = [
        (
            EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=row["user_id"])]),
            {"events_7d": Value(int64_val=row["events_7d"])},
            row["features_at"].replace(tzinfo=UTC),
            row["created_at"].replace(tzinfo=UTC),
        )
        for row in rows
    ]
    store.provider.online_write_batch(store.config, store.get_feature_view("user_features"), data, None)


def events(user: str = "ann") -> Any:
    return OnlineFeatures().read("portrait_v1", [user])[0]["events_7d"]


def online_contents() -> dict[str, list[dict[str, Any]]]:
    """Every view's every known entity, as served."""
    ids = {"user_v1": ["ann", "bob", "eve"], "item_v1": ["mug", "pot"]}
    online = OnlineFeatures()
    return {name: [{k: str(v) for k, v in row.items()} for row in online.read(name, some)] for name, some in ids.items()}


def test_a_reading_thread_keeps_few_pages_and_a_batch_many(house: Path) -> None:
    store = apply()
    connection = online_store(store)._get_conn(store.config)  # type: ignore[call-arg, arg-type]
    assert connection.execute("pragma cache_size").fetchone() == (-2000,)  # KiB; of 64 MB each, an API's threads would take gigabytes
    write(store, [{"user_id": "ann", "features_at": day(2), "created_at": day(2), "events_7d": 1}])
    assert connection.execute("pragma cache_size").fetchone() == (-65536,)


@pytest.mark.parametrize("seed", range(3))
def test_the_newest_pair_of_times_wins_in_any_order_of_writers(each_store: str, seed: int) -> None:
    store, rng = apply(), random.Random(seed)
    rows = [features("ann", *version, events_7d=number) for number, version in enumerate(VERSIONS)]
    rows *= 2  # everything arrives twice
    rng.shuffle(rows)
    while rows:
        size = rng.choice([1, 2, 5])
        batch, rows = rows[:size], rows[size:]
        rng.choice([write, write_as_feast])(store, batch)
    assert events() == VERSIONS.index((4, 6))


def test_a_correction_with_the_same_event_time_arrives_and_an_older_one_does_not(each_store: str) -> None:
    store = apply()
    write(store, [features("ann", 3, 3, events_7d=1)])
    write_as_feast(store, [features("ann", 3, 5, events_7d=2)])  # stock Redis skips this one
    assert events() == 2
    write_as_feast(store, [features("ann", 3, 4, events_7d=3)])
    write(store, [features("ann", 3, 4, events_7d=4), features("ann", 2, 9, events_7d=5)])
    assert events() == 2


def test_versions_within_one_second_are_told_apart(each_store: str) -> None:
    store = apply()
    live = {"user_id": "ann", "features_at": day(3)}
    noon = datetime(2024, 5, 2, 12, 0, 0, 250_000)  # noqa: DTZ001
    write(store, [live | {"created_at": noon, "events_7d": 1}])
    write(store, [live | {"created_at": noon - timedelta(microseconds=1), "events_7d": 2}])
    assert events() == 1
    write(store, [live | {"created_at": noon + timedelta(microseconds=1), "events_7d": 3}])
    assert events() == 3


def test_a_version_is_replaced_by_an_older_one_only_while_it_is_the_stored_one(each_store: str) -> None:
    store = apply()
    write(store, [features("ann", 4, 4, events_7d=4)])
    write(store, [features("ann", 3, 3, events_7d=3)], {"ann": StoredRow("ann", day(4), day(5))})
    assert events() == 4
    write(store, [features("ann", 3, 3, events_7d=3)], {"ann": StoredRow("ann", day(4), day(4))})
    assert events() == 3
    view = store.get_feature_view("user_features")
    online_store(store).forget(store.config, view, [StoredRow("ann", day(4), day(4))])
    assert events() == 3
    online_store(store).forget(store.config, view, [StoredRow("ann", day(3), day(3))])
    assert events() is None
    assert online_store(store).rows_created_after(store.config, view, day(1)) == []


def stock_store(house: Path, port: Any) -> Any:
    """Stock Feast classes on what ours has written."""
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    sqlite = {"type": "sqlite", "path": str(house / "feast" / "online.db")}
    online = {"type": "redis", "connection_string": get_settings().redis} if port == "redis" else sqlite
    registry = {"registry_type": "sql", "path": f"sqlite:///{house}/feast/registry.db"}
    config = RepoConfig(project="portrait", provider="local", registry=registry, online_store=online, entity_key_serialization_version=3)
    return FeatureStore(config=config)


def test_a_stock_store_reads_the_same_values(each_store: str, house: Path) -> None:
    publish(small_shop())
    materialise(*MAY)
    stock = stock_store(house, each_store)
    assert type(stock.provider.online_store).__module__.startswith("feast.")
    service = stock.get_feature_service("user_v1")
    theirs = stock.get_online_features(features=service, entity_rows=[{"user_id": one} for one in ("ann", "bob", "eve")]).to_dict()
    ours = OnlineFeatures().read("user_v1", ["ann", "bob", "eve"])
    served = {name: [row[name] for row in ours] for name in theirs.keys() - {"user_id"}}
    for name, mine in served.items():
        values = [value.tolist() if hasattr(value, "dtype") else value for value in mine]
        assert [value.replace(tzinfo=UTC) if isinstance(value, datetime) else value for value in theirs[name]] == values, name
    assert theirs["spend_7d"] == [30.5, None, None]


def test_what_stock_has_written_is_read_and_replaced(each_store: str, house: Path) -> None:
    apply()
    write_as_feast(stock_store(house, each_store), [features("ann", 3, 3, events_7d=7)])
    assert events() == 7
    write(open_store(), [features("ann", 4, 4, events_7d=8)])
    assert events() == 8


def test_an_entity_that_vanished_leaves_when_its_window_is_materialised(each_store: str) -> None:
    publish(small_shop())
    materialise(*MAY)
    rows = small_shop()
    rows["user_features"] = [row for row in rows["user_features"] if row["user_id"] == "ann"]
    rows["item_features"] = []
    publish(rows)
    materialise(date(2024, 5, 4), date(2024, 5, 5))  # bob's row became known on day 4: not after its start
    assert events("bob") == 4
    assert materialise(date(2024, 5, 1), date(2024, 5, 2))["user_features"] == 1
    assert events("bob") is None
    assert OnlineFeatures().read("item_v1", ["mug"])[0]["title"] is None
    check_parity()


def test_a_version_that_vanished_gives_way_to_the_older_one_that_is_left(each_store: str) -> None:
    publish(small_shop())
    materialise(*MAY)
    rows = small_shop()
    rows["user_features"] = [row for row in rows["user_features"] if row["features_at"] != day(3)]
    publish(rows)
    materialise(date(2024, 5, 2), date(2024, 5, 3))
    assert events() == 7  # day 2, in the version of day 5
    check_parity()


def test_rebuilding_from_nothing_gives_the_same_store(each_store: str) -> None:
    publish(small_shop())
    materialise(*MAY)
    whole = online_contents()
    store = open_store()
    write(store, [features("eve", 9, 9, events_7d=9)])  # nobody's
    write_as_feast(store, [features("ann", 9, 9, events_7d=9)])
    assert online_contents() != whole
    rebuild()
    assert online_contents() == whole


@pytest.fixture
def ttl_of_ten_days(each_store: str, house: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The contract, with a ttl for user_features."""
    given = contract.CONTRACT.read_text(encoding="utf-8")
    assert given.count("name: user_features\n") == 1
    head, tail = given.split("name: user_features\n")
    (house / "marts.yml").write_text(head + "name: user_features\n" + tail.replace("{entity: user}", "{entity: user, ttl_days: 10}", 1))
    caches = (contract.marts, contract.views, contract.services)
    monkeypatch.setattr(contract, "CONTRACT", house / "marts.yml")
    for cached in caches:
        cached.cache_clear()
    yield each_store
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


def test_a_row_past_its_ttl_is_unknown_online_and_stock_would_serve_it(ttl_of_ten_days: str, house: Path) -> None:
    rows = small_shop()
    rows["user_features"] += [features("eve", 13, 13, events_7d=13), features("eve", 14, 14, events_7d=14)]
    publish(rows)
    materialise(*MAY)  # the horizon is day 14: bob's row of day 4 is ten days old, ann's of day 3 eleven
    online = OnlineFeatures()
    assert [row["events_7d"] for row in online.read("portrait_v1", ["ann", "bob", "eve"])] == [None, 4, 14]
    assert online.read("portrait_v1", ["bob"], as_of=day(14) + timedelta(microseconds=1))[0]["events_7d"] is None
    assert online.read("recommender_v1", ["ann"])[0]["event_item_ids"] == ["mug", "pot"]  # another view, without a ttl
    asked = {
        "features": ["user_features:events_7d", "user_sequences:event_types"],
        "entity_rows": [{"user_id": one} for one in ("ann", "bob")],
    }
    served = open_store().get_online_features(**asked).to_dict()
    assert (served["events_7d"], served["event_types"]) == ([None, 4], [["view", "cart"], None])
    assert stock_store(house, ttl_of_ten_days).get_online_features(**asked).to_dict()["events_7d"] == [2, 4]
    check_parity()


def test_a_row_past_its_ttl_is_unknown_in_frames(ttl_of_ten_days: str) -> None:
    import pandas as pd

    from feature_repo.frames import training_frame

    publish(small_shop())
    times = [day(13), day(13) + timedelta(microseconds=1), day(14), day(14)]
    labels = pd.DataFrame({"user_id": ["ann", "ann", "bob", "ann"], "event_timestamp": times})
    frame = training_frame("portrait_v1", labels)
    assert frame["events_7d"].fillna(-1).tolist() == [2, -1, 4, -1]
    assert frame["event_item_ids"].notna().tolist() == [True, True, False, True]


def test_a_silent_user_has_no_purchases_in_seven_days_at_read_time(each_store: str) -> None:
    rows = small_shop()
    spent = {"day_numbers": [19_845, 19_846], "daily_spend": [10.0, 5.0]}  # 2024-05-02 and 2024-05-03
    counts = {f"daily_{name}": [1, 2] for name in ("events", "views", "purchases")}
    zeros = {f"daily_{name}": [0, 0] for name in ("favourites", "carts", "returns", "sessions")}
    rows["user_features"] = [features("ann", 4, 4, purchases_7d=3, purchases_30d=3, spend_7d=15.0, purchases_total=3)]
    rows["user_daily"] = [features("ann", 4, 4, **spent, **counts, **zeros)]
    publish(rows)
    materialise(*MAY)
    online, wanted = OnlineFeatures(), ("purchases_7d", "purchases_30d", "spend_7d", "purchases_total")

    def at(time: datetime | None) -> list[Any]:
        row = online.read("portrait_v1", ["ann"], as_of=time)[0]
        return [row[name] for name in wanted]

    assert at(None) == [3, 3, 15.0, 3]
    assert at(day(9)) == [3, 3, 15.0, 3]
    assert at(day(10) - timedelta(microseconds=1)) == [3, 3, 15.0, 3]
    assert at(day(10)) == [2, 3, 5.0, 3]  # [3 May, 10 May)
    assert at(day(24)) == [0, 3, 0.0, 3]  # silent for 20 days
    assert at(datetime(2024, 6, 2, tzinfo=UTC)) == [0, 2, 0.0, 3]  # [3 May, 2 June)
    assert online.read("user_v1", ["ann"], as_of=day(24))[0]["purchases_7d"] == 0
    assert online.read("portrait_v1", ["nobody"], as_of=day(24))[0]["purchases_7d"] is None


def test_the_wall_clock_is_the_time_of_the_question(each_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = small_shop()
    lists = {column.name: [1] for column in views()["user_daily"].features}
    rows["user_daily"] = [features("ann", 3, 3, **lists | {"day_numbers": [19_845]})]
    publish(rows)
    materialise(*MAY)
    assert events() == 2
    monkeypatch.setenv("PORTRAIT_CLOCK", "wall")
    get_settings.cache_clear()
    assert events() == 0  # years later
    check_parity()  # of what is stored


def test_parity_names_a_corrupted_value(each_store: str) -> None:
    publish(small_shop())
    materialise(*MAY)
    check_parity()
    write(open_store(), [features("bob", 4, 4, events_7d=5)])  # the same version, with another value
    with pytest.raises(ParityFailed, match=r"portrait_v1 bob events_7d: online 5, offline 4"):
        check_parity(["portrait_v1"])
    materialise(*MAY)
    check_parity()


def test_parity_leaves_out_users_whom_live_events_have_put_ahead(each_store: str) -> None:
    publish(small_shop())
    materialise(*MAY)
    seen = datetime(2024, 5, 5, 13, 30, 1, 5)  # noqa: DTZ001
    write(open_store(), [{"user_id": "bob", "features_at": day(6), "created_at": seen, "events_7d": 5}])
    assert check_parity(["portrait_v1"]).entities == {"portrait_v1": 1}
