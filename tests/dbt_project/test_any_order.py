"""Whatever the order of late, doubled, corrected and shrunk deliveries, incremental builds end where a full refresh does.

One example is an order of loads over forty random shops that share a warehouse and nothing else. dbt is parsed once and run in this
process: a build takes two seconds instead of ten.
"""

import json
import random
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quality.transform import PROJECT
from quality.warehouse import open_warehouse
from settings import get_settings
from tests.dbt_project.built_shop import KEYS, Mart, read_marts
from tests.dbt_project.small_shop import Deliveries, Row, load

pytestmark = pytest.mark.slow

SHOPS = 40
FIRST = date(2024, 1, 1)
#: Days that bring something: two weeks, then days on which what came first leaves the windows of 30 and 90 days.
DAYS = [*range(12), 33, 37, 95]
ENDS = [0, 2, 5, 6, 9, 12, 34, 38, 96]

VERSIONED = ("user_features", "user_sequences", "user_daily", "item_features")
Build = Callable[[date, bool], None]


def shop(seed: int) -> Deliveries:
    """What one shop delivers on each of `DAYS`: few events, brought late, again, corrected, or moved to another user, item or day."""
    draw = random.Random(seed)
    delivered: Deliveries = {FIRST + timedelta(days=number): {"users": [], "items": [], "events": []} for number in DAYS}
    for ds, tables in delivered.items():
        known = (ds - FIRST).days
        for number in {draw.randrange(9) for _ in range(draw.choice((0, 1, 2, 3)))}:
            occurred = draw.choice([number_of_day for number_of_day in DAYS if number_of_day <= known][-4:])
            time = draw.choice(("00:05", "10:00", "10:25", "10:50", "23:40"))
            tables["events"].append(
                {
                    "event_id": f"{seed}-e{number}",
                    "user_id": draw.choice((f"{seed}-u0", f"{seed}-u0", f"{seed}-u1", None)),
                    "item_id": f"{seed}-i{draw.randrange(2)}",
                    "event_type": draw.choice(("view", "cart", "purchase", "purchase", "return", "rate")),
                    "occurred_at": datetime.fromisoformat(f"{FIRST + timedelta(days=occurred)} {time}:00"),
                    "session_id": draw.choice((None, None, f"{seed}-s0", f"{seed}-s1")),
                    "unit_price": draw.choice((None, 2.5, 4.0)),
                    "quantity": draw.choice((None, 1.0, 2.0)),
                    "rating": draw.choice((None, 1.0, 5.0)),
                }
            )
        if draw.random() < 0.2:
            tables["users"].append({"user_id": f"{seed}-u{draw.randrange(3)}", "country": draw.choice(("NL", "BE"))})
        if draw.random() < 0.3:
            category, price = draw.choice(("Tea > Green", "Cups", None)), draw.choice((None, 3.0, 6.0))
            tables["items"].append({"item_id": f"{seed}-i{draw.randrange(2)}", "category": category, "price": price})
    return delivered


def fewer(delivered: Deliveries, seed: int) -> Deliveries:
    """The same days with about half of their rows."""
    draw = random.Random(seed)
    return {ds: {table: [row for row in rows if draw.random() < 0.5] for table, rows in tables.items()} for ds, tables in delivered.items()}


def merged(shops: list[Deliveries]) -> Deliveries:
    return {ds: {table: [row for one in shops for row in one[ds][table]] for table in tables} for ds, tables in shops[0].items()}


def known_by(marts: dict[str, Mart], at: datetime) -> dict[str, Mart]:
    return {mart: {key: row for key, row in marts[mart].items() if row["created_at"] <= at} for mart in VERSIONED}


def record(start: date, end: date) -> None:
    """Writes down that the window was loaded, as `quality.load` does: days without a row count as known."""
    with open_warehouse() as warehouse:
        for number in range((end - start).days):
            warehouse.execute("insert into landing._loads (landing_table, ds) values ('events', ?)", [start + timedelta(days=number)])


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """`build(window_start, full_refresh)` on the house that the settings name, in this process and without dbt's tests.

    A full refresh builds everything at once, the others in three parts: how many there are is to be seen nowhere.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    scratch = tmp_path_factory.mktemp("dbt")
    places = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(scratch), "--log-path", str(scratch)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTRAIT_DBT_WAREHOUSE", str(scratch / "warehouse.duckdb"))
        patch.setenv("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
        parsed = dbtRunner().invoke(["parse", "--quiet", *places])
        assert parsed.success, parsed.exception
        runner = dbtRunner(manifest=parsed.result)

        def run(window_start: date, full_refresh: bool) -> None:
            patch.setenv("PORTRAIT_DBT_WAREHOUSE", str(get_settings().warehouse))
            values = json.dumps({"window_start": window_start.isoformat(), "sequence_length": 3, "parts": 1 if full_refresh else 3})
            done = runner.invoke(["run", "--quiet", *places, "--vars", values, *(["--full-refresh"] if full_refresh else [])])
            DuckDBConnectionManager.close_all_connections()
            assert done.success, [(result.node.name, result.message) for result in done.result if result.status == "error"]

        yield run


windows = st.lists(st.sampled_from(ENDS), min_size=2, max_size=2, unique=True).map(sorted)
loads = st.lists(st.tuples(windows, st.booleans()), min_size=3, max_size=4)


@settings(max_examples=3, derandomize=True, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(plan=loads, seed=st.integers(0, 10_000))
def test_any_order_of_loads_ends_in_a_full_refresh_and_leaves_what_was_known(
    tmp_path_factory: pytest.TempPathFactory, build: Build, plan: list[tuple[list[int], bool]], seed: int
) -> None:
    """Days are loaded in any order, overlapping, with gaps, and shrunk (`fewer`). What had been known by a load's first midnight stays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTRAIT_HOME", str(tmp_path_factory.mktemp("house")))
        get_settings.cache_clear()
        whole = merged([shop(seed + number) for number in range(SHOPS)])
        horizon, before = date.max, None
        for number, ((first, last), shrunk) in enumerate(plan):
            start, end = FIRST + timedelta(days=first), FIRST + timedelta(days=last)
            load(fewer(whole, seed + number) if shrunk else whole, start, end)
            record(start, end)
            window_start = min(start, horizon)
            build(window_start, False)
            marts = read_marts()
            horizon = end if before is None else max(horizon, end)
            if before is not None:
                at = datetime.combine(window_start, datetime.min.time())
                assert known_by(marts, at) == known_by(before, at), (plan, seed)
            before = marts
        build(FIRST, True)
        refreshed = read_marts()
        for mart in KEYS:
            assert before is not None and before[mart] == refreshed[mart], (mart, plan, seed)
        assert len(refreshed["user_daily"]) > SHOPS
    get_settings.cache_clear()


def test_what_the_shops_deliver_is_dirty() -> None:
    """The examples do hold what they are meant to: repeated keys, late events, and events that change their user."""
    rows: list[tuple[date, Row]] = [(ds, row) for number in range(SHOPS) for ds, tables in shop(number).items() for row in tables["events"]]
    first = {row["event_id"]: row for _, row in reversed(rows)}
    assert len(first) < len(rows) * 0.6
    assert sum(row["occurred_at"].date() < ds for ds, row in rows) > 100
    assert sum(first[row["event_id"]]["user_id"] != row["user_id"] for _, row in rows) > 100
