"""Live events and the next batch agree: a real load, dbt build, export and materialisation after the same events came live.

One shop, built once for all tests of this file: records up to 3 May, live events of 4 May, then the shop's own delivery of 4 May.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow
import pyarrow.parquet
import pytest

from feature_repo.contract import marts
from feature_repo.export import export_marts
from feature_repo.frames import horizon
from feature_repo.live import LiveReport, accept, replay
from feature_repo.live_effect import LEFT, USER_VIEWS, UserRows
from feature_repo.live_log import SCHEMA
from feature_repo.live_online import OnlineUsers
from feature_repo.materialise import materialise
from feature_repo.windows_at import windows_at
from quality.load import LoadReport, load_window
from quality.transform import build
from settings import get_settings

pytestmark = pytest.mark.slow

FIRST, LIVE_DAY = date(2024, 1, 10), date(2024, 5, 4)
NEXT_DAY = LIVE_DAY + timedelta(days=1)
KINDS = ("view", "favourite", "cart", "purchase", "purchase", "return", "rate")
LIVE_ONLY = "e900"
USERS = ("ann", "bob", "cyd")  # cyd is new on 4 May


def event(draw: random.Random, number: int, user: str | None, day: date) -> dict[str, Any]:
    kind, item, price = draw.choice(KINDS), draw.choice(["tea", "cup", "unknown"]), round(draw.uniform(1, 9), 2)
    return dict.fromkeys(SCHEMA.names) | {
        "event_id": f"e{number:03}",
        "user_id": user,
        "item_id": item,
        "event_type": kind,
        "occurred_at": datetime.combine(day, datetime.min.time()) + timedelta(seconds=draw.randrange(9 * 3600, 12 * 3600)),
        "quantity": draw.choice([None, 1.0, 2.0]),
        "unit_price": price if item == "unknown" else draw.choice([None, price]),
        "rating": 4.0 if kind == "rate" else None,
    }


def deliver(table: str, day: date, rows: list[dict[str, Any]], schema: pyarrow.Schema | None = None) -> None:
    folder = get_settings().landing_dir / table / f"ds={day}"
    folder.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), folder / "part-0.parquet")


def run(start: date, end: date) -> LoadReport:
    loaded = load_window(get_settings().landing_dir, start, end)
    build(start, end)
    export_marts(start, end)
    materialise(start, end)
    return loaded


def posted(row: dict[str, Any]) -> dict[str, Any]:
    """As it comes over HTTP."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items() if value is not None}


@dataclass
class Shop:
    """What was seen online at each step."""

    reports: list[LiveReport]
    seconds: float
    before: dict[str, UserRows]
    live: dict[str, UserRows]
    rebuilt: dict[str, UserRows]
    batch: dict[str, UserRows]
    loaded: LoadReport
    redelivered: LoadReport


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTRAIT_HOME", str(tmp_path_factory.mktemp("live") / "house"))
        get_settings.cache_clear()
        yield both_ways()
    get_settings.cache_clear()


def both_ways() -> Shop:
    draw = random.Random(7)
    items = [{"item_id": "tea", "category": "Tea > Green", "price": 4.0}, {"item_id": "cup", "category": "Cups", "price": 2.5}]
    deliver("items", FIRST, items, pyarrow.schema([("item_id", "string"), ("category", "string"), ("price", "float64")]))
    deliver("users", FIRST, [{"user_id": "ann", "country": "NL"}])
    days = [FIRST, date(2024, 2, 3), date(2024, 2, 20), date(2024, 4, 3), date(2024, 4, 27), date(2024, 5, 3)]
    for place, day in enumerate(days):
        rows = [event(draw, 100 * place + number, draw.choice(["ann", "bob", "dan", None]), day) for number in range(14)]
        deliver("events", day, rows, SCHEMA)
    run(FIRST, LIVE_DAY)
    online = OnlineUsers()
    before = online.users(USERS)

    same = [event(draw, 600 + number, draw.choice([*USERS, None]), LIVE_DAY) for number in range(40)]
    late = [event(draw, 700 + number, user, day) for number, (user, day) in enumerate([("ann", days[-1]), ("bob", days[2])])]
    live_only = event(draw, 900, "bob", LIVE_DAY)
    live = [*same, *late, live_only]
    draw.shuffle(live)
    started = time.perf_counter()
    reports = [accept([posted(live[0])])]
    first_s = time.perf_counter() - started
    reports += [accept([posted(row) for row in live[start : start + 6]]) for start in range(0, len(live), 6)]
    seen = online.users(USERS)
    replay(None, datetime.combine(LIVE_DAY, datetime.min.time()))
    rebuilt = online.users(USERS)

    other = event(draw, 800, "dan", LIVE_DAY)
    deliver("events", LIVE_DAY, [*same, *late, other], SCHEMA)
    loaded = run(LIVE_DAY, NEXT_DAY)
    replay(None, horizon() or datetime.min)  # noqa: DTZ901
    batch = online.users(USERS)
    deliver("events", LIVE_DAY, [other], SCHEMA)
    return Shop(reports, first_s, before, seen, rebuilt, batch, loaded, load_window(get_settings().landing_dir, LIVE_DAY, NEXT_DAY))


def exact(user: UserRows) -> dict[str, dict[str, Any]]:
    return {view: {name: value for name, value in row.items() if name not in LEFT} for view, row in user.rows.items()}


def test_live_events_are_online_at_once_and_counted_once(shop: Shop) -> None:
    assert sum(report.accepted for report in shop.reports) == 43
    assert sum(report.duplicates for report in shop.reports) == 1  # the first one came twice
    assert all(report.is_online and not report.refused for report in shop.reports)
    for user in USERS:
        more = shop.live[user].rows["user_features"]["events_total"] - shop.before[user].rows["user_features"]["events_total"]
        on_day = shop.live[user].rows["user_daily"]["daily_events"][-1]
        assert on_day > 0
        assert more == on_day + (user != "cyd")  # ann and bob have one late event each
        assert shop.live[user].features_at == datetime.combine(NEXT_DAY, datetime.min.time())


@pytest.mark.parametrize("user", USERS)
def test_the_next_batch_makes_the_same_rows_value_by_value(shop: Shop, user: str) -> None:
    live, batch = exact(shop.live[user]), exact(shop.batch[user])
    for view in USER_VIEWS:
        assert live[view] == batch[view], view
    assert shop.live[user].features_at == shop.batch[user].features_at


@pytest.mark.parametrize("user", USERS)
def test_a_replay_from_the_batch_rows_makes_the_same_rows_again(shop: Shop, user: str) -> None:
    assert exact(shop.rebuilt[user]) == exact(shop.live[user])


def test_what_a_live_event_cannot_know_comes_with_the_batch(shop: Shop) -> None:
    # also the sign that the batch's own rows took the place of the live ones
    assert shop.live["cyd"].rows["user_features"]["top_categories"] == []
    assert set(shop.batch["cyd"].rows["user_features"]["top_categories"]) == {"Tea", "Cups"}
    assert shop.live["ann"].rows["user_features"]["country"] == shop.batch["ann"].rows["user_features"]["country"] == "NL"


def test_the_same_event_live_and_delivered_is_one_event_and_a_redelivery_keeps_live_ones(shop: Shop) -> None:
    assert shop.loaded.tables["events"].accepted == 44  # 40 and 2 late in both, one live only, one delivered only
    assert shop.redelivered.tables["events"].accepted == 44
    with duckdb.connect(str(get_settings().warehouse), read_only=True) as warehouse:
        kept = warehouse.execute("select event_id from landing.events where ds = ? and event_id = ?", [LIVE_DAY, LIVE_ONLY]).fetchall()
    assert kept == [(LIVE_ONLY,)]


def test_windows_from_daily_lists_equal_the_marts_at_every_change_point(shop: Shop) -> None:
    names = list(windows_at({column.name: [] for column in marts()["user_daily"].features}, datetime(2024, 5, 1)))  # noqa: DTZ001
    newest = "qualify row_number() over (partition by user_id, features_at order by created_at desc) = 1"
    with duckdb.connect(str(get_settings().warehouse), read_only=True) as warehouse:
        daily = warehouse.sql(f"select * from marts.user_daily {newest} order by user_id, features_at").to_arrow_table().to_pylist()
        features = warehouse.sql(f"select * from marts.user_features {newest}").to_arrow_table().to_pylist()
    compared = 0
    for row in features:
        lists = [one for one in daily if one["user_id"] == row["user_id"] and one["features_at"] <= row["features_at"]]
        if lists:
            assert windows_at(lists[-1], row["features_at"]) == {name: row[name] for name in names}, (row["user_id"], row["features_at"])
            compared += 1
    assert compared > 30
    assert any(row["events_total"] and not row["events_30d"] for row in features)  # windows that ran empty are among them


def test_the_first_event_was_online_within_a_second(shop: Shop) -> None:
    assert shop.seconds < 1.0
