"""Every version of every user's and item's row of the small shop, against a recount of what was known at its time."""

from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from tests.dbt_project.built_shop import Built
from tests.dbt_project.recount import known_events, money, naive_item, naive_user, visit_days
from tests.dbt_project.small_shop import FIRST, HORIZON, deliveries

pytestmark = pytest.mark.slow


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
