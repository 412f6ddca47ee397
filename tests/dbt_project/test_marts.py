"""Marts of a small shop: by hand, by a second and naive way, and the same whatever the order of loads."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import yaml

from quality.transform import BuildReport, build
from quality.warehouse import open_warehouse
from settings import ROOT, get_settings
from tests.dbt_project.small_shop import FIRST, HORIZON, LAST, Row, day, deliveries, event, load

pytestmark = pytest.mark.slow

KEYS = {
    "user_features": ("user_id", "features_at", "created_at"),
    "user_sequences": ("user_id", "features_at", "created_at"),
    "user_daily": ("user_id", "features_at", "created_at"),
    "item_features": ("item_id", "features_at", "created_at"),
    "trait_labels": ("user_id", "trait"),
    "next_purchase_labels": ("user_id", "label_at"),
    "campaign_outcomes": ("campaign_id", "user_id"),
    "category_days": ("day_at", "top_category"),
}
Mart = dict[tuple, Row]


@dataclass(frozen=True)
class Built:
    """Marts by key after out-of-order incremental builds and after a full refresh, and the last report."""

    incremental: dict[str, Mart]
    refreshed: dict[str, Mart]
    types: dict[str, dict[str, str]]
    report: BuildReport

    def __getitem__(self, mart: str) -> Mart:
        return self.incremental[mart]


def read_marts() -> dict[str, Mart]:
    marts = {}
    with open_warehouse() as warehouse:
        for mart, key in KEYS.items():
            cursor = warehouse.execute(f"select * from marts.{mart}")
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
            marts[mart] = {tuple(row[column] for column in key): row for row in rows}
            assert len(marts[mart]) == len(rows)
    return marts


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Five loads: a start with a wrong row, a day far ahead, two late stretches that correct it, and the far day taken back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTRAIT_HOME", str(tmp_path_factory.mktemp("house")))
        patch.setenv("PORTRAIT_SEQUENCE_LENGTH", "4")
        get_settings.cache_clear()
        right = deliveries()
        ghost = {"events": [event("ghost", "u1", "i1", "purchase", "01-03 10:00", 99.0)]}
        far = date(2024, 2, 25)
        loads = [
            (right | {date(2024, 1, 3): ghost}, FIRST, date(2024, 1, 5)),
            ({far: {"events": [event("far", "r0", "j0", "view", "02-25 10:00")]}}, far, far + timedelta(days=1)),
            (right, date(2024, 1, 3), date(2024, 1, 20)),
            (right, date(2024, 1, 20), LAST + timedelta(days=1)),
            ({}, far, far + timedelta(days=1)),
        ]
        for delivered, start, end in loads:
            load(delivered, start, end)
            report = build(start, end)
        incremental = read_marts()
        with open_warehouse() as warehouse:
            columns = warehouse.execute(
                "select table_name, column_name, data_type from information_schema.columns "
                "where table_schema = 'marts' order by ordinal_position"
            ).fetchall()
        types: dict[str, dict[str, str]] = {}
        for mart, column, kind in columns:
            types.setdefault(mart, {})[column] = kind
        build(FIRST, LAST, full_refresh=True)
        yield Built(incremental, read_marts(), types, report)
    get_settings.cache_clear()


def test_any_order_of_loads_ends_in_the_rows_of_a_full_refresh(built: Built) -> None:
    for mart in KEYS:
        assert built.incremental[mart] == built.refreshed[mart], mart
        assert built.incremental[mart], mart


def test_tables_have_the_columns_and_types_of_the_contract(built: Built) -> None:
    contract = yaml.safe_load((ROOT / "dbt_project/models/marts/_marts.yml").read_text())["models"]
    spelled = {"double precision": "DOUBLE", "double precision[]": "DOUBLE[]"}
    wanted = {
        mart["name"]: {column["name"]: spelled.get(column["data_type"], column["data_type"].upper()) for column in mart["columns"]}
        for mart in contract
    }
    assert built.types == wanted
    assert {mart: list(columns) for mart, columns in built.types.items()} == {mart: list(columns) for mart, columns in wanted.items()}


def test_the_report_counts_models_tests_and_rows(built: Built) -> None:
    assert built.report.rows == {mart: len(built[mart]) for mart in sorted(KEYS)}
    assert set(KEYS) <= set(built.report.models)
    assert built.report.tests_passed > 15
    assert f"{len(built.report.models)} models built, {built.report.tests_passed} tests passed" in built.report.as_text()


def user_row(built: Built, features_at: str, created_at: str, user: str = "u1") -> Row:
    return built["user_features"][(user, day(features_at), day(created_at))]


def test_rows_stand_where_a_window_changes_and_late_rows_add_versions(built: Built) -> None:
    known = [(at.strftime("%m-%d"), created.strftime("%m-%d")) for user, at, created in sorted(built["user_features"]) if user == "u1"]
    assert known == [
        ("01-02", "01-02"),
        ("01-04", "01-07"),  # the late event of 3 January made this row
        ("01-06", "01-06"),
        ("01-06", "01-07"),  # late event
        ("01-06", "01-09"),  # correction; the second delivery of e2 changed nothing
        ("01-09", "01-09"),
        ("01-11", "01-11"),  # the country was corrected
        ("01-13", "01-13"),
        ("02-01", "02-01"),
        ("02-03", "02-03"),
        ("02-05", "02-05"),
    ]


def test_late_rows_and_corrections_change_later_versions_only(built: Built) -> None:
    names = ("events_7d", "purchases_7d", "returns_90d", "spend_7d", "sessions_30d", "active_days_30d")
    values = [tuple(user_row(built, "01-06", created)[name] for name in names) for created in ("01-06", "01-07", "01-09")]
    assert values == [(4, 2, 1, 8.0, 2, 2), (5, 3, 1, 15.0, 3, 3), (5, 3, 1, 16.0, 3, 3)]


def test_a_silent_user_has_no_purchases_in_7_days(built: Built) -> None:
    as_of = day("01-25")
    newest = max(key for key in built["user_features"] if key[0] == "u1" and key[1] <= as_of and key[2] <= as_of)
    row = built["user_features"][newest]
    assert (row["purchases_7d"], row["spend_7d"], row["purchases_30d"], row["spend_30d"]) == (0, 0.0, 3, 16.0)
    row = user_row(built, "02-01", "02-01")  # the first day has left the 30 days
    assert (row["events_30d"], row["purchases_30d"], row["spend_30d"], row["spend_total"]) == (3, 2, 6.0, 16.0)


def test_profiles_and_categories_are_those_known_then(built: Built) -> None:
    assert [user_row(built, at, at)["country"] for at in ("01-09", "01-11")] == ["NL", "BE"]
    row = user_row(built, "01-06", "01-09")
    assert (row["top_categories"], row["top_category_shares"]) == (["Cups", "Tea"], [0.6, 0.4])
    assert user_row(built, "02-01", "02-01")["top_categories"] == ["Cups", "Coffee"]


def test_users_without_events_or_without_registration_have_rows(built: Built) -> None:
    (row,) = [row for key, row in built["user_features"].items() if key[0] == "u0"]
    assert (row["features_at"], row["registered_at"], row["country"]) == (day("01-02"), day("01-01"), "FR")
    assert (row["events_total"], row["spend_total"], row["sessions_30d"], row["top_categories"]) == (0, 0.0, 0, [])
    assert user_row(built, "01-03", "01-03", "u2")["registered_at"] is None
    assert not [key for key in built["user_features"] if key[0] is None]


def test_sequences_hold_the_newest_events_oldest_first(built: Built) -> None:
    assert sorted(key[1:] for key in built["user_sequences"] if key[0] == "u1") == [
        (day("01-02"), day("01-02")),
        (day("01-04"), day("01-07")),
        (day("01-06"), day("01-06")),
        (day("01-06"), day("01-07")),
        (day("01-06"), day("01-09")),
    ]
    row = built["user_sequences"][("u1", day("01-06"), day("01-09"))]
    assert row["event_item_ids"] == ["i2", "i2", "i1", "i2"]
    assert row["event_types"] == ["view", "purchase", "return", "purchase"]
    assert row["event_prices"] == [0.0, 7.0, 5.0, 4.0]
    assert row["event_categories"] == ["Cups", "Cups", "Tea", "Cups"]
    assert row["event_times_us"][0] == 1_704_103_800_000_000  # 2024-01-01 10:10


def test_guests_count_for_items_only(built: Built) -> None:
    rows = built["item_features"]
    row = rows[("i2", day("01-03"), day("01-03"))]
    assert (row["events_7d"], row["purchases_7d"], row["buyers_30d"], row["price"]) == (2, 1, 0, 9.0)
    row = rows[("i2", day("01-06"), day("01-09"))]
    assert (row["purchases_7d"], row["buyers_30d"], row["price"]) == (3, 1, 7.0)
    assert (row["title"], row["attributes"], row["in_stock"]) == ("Cup", ["colour=red", "size=L"], True)
    row = rows[("i1", day("01-13"), day("01-13"))]
    assert (row["price"], row["price_source"]) == (4.0, "list")
    row = rows[("i9", day("01-03"), day("01-03"))]  # not in the catalogue
    assert (row["title"], row["top_category"], row["events_total"], row["attributes"]) == (None, None, 1, [])
    assert [rows[("i1", day(at), day(at))]["top_category"] for at in ("01-13", "01-21")] == ["Tea", "Coffee"]


def test_labels_are_the_30_days_after_each_monday_as_known_when_they_were_over(built: Built) -> None:
    """Known in full by hand: u1 was first seen on 2 January, and the horizon is 11 February, so 8 January is the only Monday."""
    labels, delivered = built["next_purchase_labels"], deliveries()
    assert [at for user, at in labels if user == "u1"] == [day("01-08")]
    assert {at for _, at in labels} == {day("01-08")}
    bought = 0
    for (user, label_at), row in labels.items():
        known_at = label_at + timedelta(days=30)
        rows = [row for row in known_events(delivered, known_at) if row["user_id"] == user and label_at <= row["occurred_at"] < known_at]
        bought_by = [row for row in rows if row["event_type"] == "purchase"]
        assert row == {
            "user_id": user,
            "label_at": label_at,
            "known_at": known_at,
            "is_purchased_7d": any(row["occurred_at"] < label_at + timedelta(days=7) for row in bought_by),
            "is_purchased_30d": bool(bought_by),
            "is_active_30d": bool(rows),
            "spend_30d": pytest.approx(money(rows), abs=1e-9),
            "next_purchase_item_id": bought_by[0]["item_id"] if bought_by else None,
        }
        bought += bool(bought_by)
    assert bought > 3


def test_labels_and_outcomes_stand_as_last_corrected(built: Built) -> None:
    assert built["trait_labels"] == {("u1", "gender"): {"user_id": "u1", "trait": "gender", "value": "m", "known_at": day("01-15")}}
    (outcome,) = built["campaign_outcomes"].values()
    assert (outcome["treatment"], outcome["is_visited"], outcome["covariates"]) == ("mail", True, '{"x_age": 3}')


def test_the_funnel_counts_every_standing_event_under_the_category_of_its_time(built: Built) -> None:
    delivered = deliveries()
    counted: dict[tuple, Counter] = defaultdict(Counter)
    people: dict[tuple, set] = defaultdict(set)
    standing: dict[str, tuple[Row, date]] = {}
    for ds in sorted(delivered):
        for row in delivered[ds].get("events", []):
            if standing.get(row["event_id"], (None, None))[0] != row:  # said again is not known anew
                standing[row["event_id"]] = (row, ds)
    for row, ds in standing.values():
        items = [item for known in sorted(delivered) if known <= ds for item in delivered[known].get("items", [])]
        category = next((item.get("category") or "" for item in reversed(items) if item["item_id"] == row["item_id"]), "")
        key = (datetime.combine(row["occurred_at"].date(), datetime.min.time()), category.split(" > ")[0])
        counted[key][row["event_type"]] += 1
        people[(*key, row["event_type"])].add(row["user_id"])
    funnel = built["category_days"]
    assert set(funnel) == set(counted) and len(funnel) > 5
    for key, row in funnel.items():
        types = ("view", "favourite", "cart", "purchase", "return")
        assert [row[name] for name in ("views", "favourites", "carts", "purchases", "returns")] == [counted[key][name] for name in types]
        assert (row["viewers"], row["buyers"]) == tuple(len(people[(*key, name)] - {None}) for name in ("view", "purchase"))
    assert sum(row["spend"] for row in funnel.values()) == pytest.approx(money([row for row, _ in standing.values()]))


def known_events(delivered: dict, at: datetime) -> list[Row]:
    """Events as they stood at `at`: of every event the last delivery known by then."""
    current = {}
    for ds in sorted(delivered):
        if datetime.combine(ds, datetime.min.time()) + timedelta(days=1) <= at:
            for row in delivered[ds].get("events", []):
                current[row["event_id"]] = row
    return sorted(current.values(), key=lambda row: (row["occurred_at"], row["event_id"]))


def money(rows: list[Row]) -> float:
    sign = {"purchase": 1, "return": -1}
    return round(sum(sign.get(row["event_type"], 0) * (row.get("quantity") or 1) * (row["unit_price"] or 0) for row in rows), 4)


def visit_days(rows: list[Row]) -> list[date]:
    """The day on which each visit began."""
    began, last = {}, None
    for row in rows:
        if row.get("session_id"):
            began.setdefault(row["session_id"], row["occurred_at"].date())
        else:
            if last is None or row["occurred_at"] - last > timedelta(minutes=30):
                began[row["event_id"]] = row["occurred_at"].date()
            last = row["occurred_at"]
    return list(began.values())


def naive_user(rows: list[Row], at: datetime) -> Row:
    within = {days: [row for row in rows if row["occurred_at"] >= at - timedelta(days=days)] for days in (7, 30, 90)}
    count = {days: Counter(row["event_type"] for row in within[days]) for days in within}
    ratings = [row["rating"] for row in rows if row.get("rating")]
    return {
        **{f"events_{days}d": len(within[days]) for days in within},
        **{f"purchases_{days}d": count[days]["purchase"] for days in within},
        **{f"spend_{days}d": pytest.approx(money(within[days]), abs=1e-9) for days in within},
        **{f"views_{days}d": count[days]["view"] for days in (7, 30)},
        **{f"carts_{days}d": count[days]["cart"] for days in (7, 30)},
        "favourites_30d": count[30]["favourite"],
        "returns_90d": count[90]["return"],
        "active_days_30d": len({row["occurred_at"].date() for row in within[30]}),
        "sessions_30d": sum(day >= (at - timedelta(days=30)).date() for day in visit_days(rows)),
        "events_total": len(rows),
        "purchases_total": sum(row["event_type"] == "purchase" for row in rows),
        "spend_total": pytest.approx(money(rows), abs=1e-9),
        "rating_mean": pytest.approx(sum(ratings) / len(ratings)) if ratings else None,
        "first_event_at": rows[0]["occurred_at"] if rows else None,
        "last_event_at": rows[-1]["occurred_at"] if rows else None,
    }


def naive_item(rows: list[Row], at: datetime) -> Row:
    within = {days: [row for row in rows if row["occurred_at"] >= at - timedelta(days=days)] for days in (7, 30, 90)}
    return {
        **{f"events_{days}d": len(within[days]) for days in within},
        **{f"purchases_{days}d": sum(row["event_type"] == "purchase" for row in within[days]) for days in within},
        "views_7d": sum(row["event_type"] == "view" for row in within[7]),
        "buyers_30d": len({row["user_id"] for row in within[30] if row["event_type"] == "purchase"} - {None}),
        "events_total": len(rows),
    }


@pytest.mark.parametrize(("mart", "entity", "naive"), [("user_features", "user_id", naive_user), ("item_features", "item_id", naive_item)])
def test_the_newest_row_is_right_at_every_midnight(built: Built, mart: str, entity: str, naive: Any) -> None:
    """The row that an as-of read finds equals a recount of everything known at that midnight, for every entity and day."""
    delivered = deliveries()
    names = {key[0] for key in built[mart]}
    compared = 0
    for number in range((HORIZON.date() - FIRST).days + 1):
        at = datetime.combine(FIRST, datetime.min.time()) + timedelta(days=number)
        rows = [row for row in known_events(delivered, at) if row["occurred_at"] < at]
        for name in names:
            keys = [key for key in built[mart] if key[0] == name and key[1] <= at and key[2] <= at]
            wanted = naive([row for row in rows if row[entity] == name], at)
            if not keys:
                assert wanted["events_total"] == 0, (name, at)
                continue
            found = built[mart][max(keys)]
            assert {column: found[column] for column in wanted} == wanted, (name, at, max(keys))
            compared += 1
    assert compared > 200


def test_every_stored_version_is_what_was_known_at_its_creation(built: Built) -> None:
    delivered = deliveries()
    for (user, features_at, created_at), row in built["user_features"].items():
        rows = [row for row in known_events(delivered, created_at) if row["occurred_at"] < features_at and row["user_id"] == user]
        wanted = naive_user(rows, features_at)
        assert {column: row[column] for column in wanted} == wanted, (user, features_at, created_at)
    for (user, features_at, created_at), row in built["user_sequences"].items():
        rows = [row for row in known_events(delivered, created_at) if row["occurred_at"] < features_at and row["user_id"] == user][-4:]
        assert row["event_item_ids"] == [row["item_id"] for row in rows]
        assert row["event_types"] == [row["event_type"] for row in rows]


def test_days_are_what_was_known_of_them_and_stand_where_sequences_do(built: Built) -> None:
    delivered = deliveries()
    assert set(built["user_daily"]) == set(built["user_sequences"])
    for (user, features_at, created_at), row in built["user_daily"].items():
        rows = [row for row in known_events(delivered, created_at) if row["occurred_at"] < features_at and row["user_id"] == user]
        began = Counter(visit_days(rows))
        days = sorted({row["occurred_at"].date() for row in rows if row["occurred_at"] >= features_at - timedelta(days=90)})
        per_day = [[row for row in rows if row["occurred_at"].date() == day] for day in days]
        assert row["day_numbers"] == [(day - date(1970, 1, 1)).days for day in days]
        assert row["daily_events"] == [len(rows) for rows in per_day]
        for kind in ("view", "favourite", "cart", "purchase", "return"):
            assert row[f"daily_{kind}s"] == [sum(row["event_type"] == kind for row in rows) for rows in per_day]
        assert row["daily_spend"] == [pytest.approx(money(rows), abs=1e-9) for rows in per_day]
        assert row["daily_sessions"] == [began[day] for day in days]


def test_windows_at_any_later_midnight_are_sums_of_days(built: Built) -> None:
    """What the newest row of days gives at a midnight is what the newest row of features says there."""
    compared = 0
    for number in range((HORIZON.date() - FIRST).days + 1):
        at = datetime.combine(FIRST, datetime.min.time()) + timedelta(days=number)
        newest: dict[str, dict[str, tuple]] = {mart: {} for mart in ("user_daily", "user_features")}
        for mart, found in newest.items():
            for key in sorted(built[mart]):
                if key[1] <= at and key[2] <= at:
                    found[key[0]] = key
        today = (at.date() - date(1970, 1, 1)).days
        for user, key in newest["user_daily"].items():
            daily, features = built["user_daily"][key], built["user_features"][newest["user_features"][user]]
            for days in (7, 30, 90):
                inside = [place for place, day in enumerate(daily["day_numbers"]) if today - days <= day < today]
                for counter in ("events", "views", "favourites", "carts", "purchases", "returns", "sessions", "spend"):
                    if f"{counter}_{days}d" in features:
                        total = sum(daily[f"daily_{counter}"][place] for place in inside)
                        assert features[f"{counter}_{days}d"] == pytest.approx(total, abs=1e-9), (user, at, counter, days)
                        compared += 1
            assert len([day for day in daily["day_numbers"] if today - 30 <= day < today]) == features["active_days_30d"]
    assert compared > 2000


def test_unpriced_items_cost_the_median_price_paid(built: Built) -> None:
    delivered = deliveries()
    checked = 0
    for (item, features_at, created_at), row in built["item_features"].items():
        if item in ("j0", "j1", "j2"):
            paid = [
                row["unit_price"]
                for row in known_events(delivered, created_at)
                if row["item_id"] == item and row["event_type"] == "purchase" and row["occurred_at"] < features_at
            ]
            assert row["price"] == (pytest.approx(median(paid)) if paid else None)
            assert row["price_source"] == ("paid_median" if paid else None)
            checked += bool(paid)
    assert checked > 20


def test_a_house_keeps_only_the_last_attempt(built: Built) -> None:
    home: Path = get_settings().home
    assert len(list((home / "dbt" / "attempts").iterdir())) == 1
    assert not (home / "dbt" / "unfinished").exists()
