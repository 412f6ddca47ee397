"""The marts' numbers counted again in a second and naive way, from the deliveries themselves."""

from collections import Counter
from datetime import date, datetime, timedelta

import pytest

from tests.dbt_project.small_shop import Row


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
