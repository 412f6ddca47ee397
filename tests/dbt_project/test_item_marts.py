"""Items of the small shop: who counts for them, what unpriced ones cost, and the funnel of their categories."""

from collections import Counter, defaultdict
from datetime import date, datetime
from statistics import median

import pytest

from tests.dbt_project.built_shop import Built
from tests.dbt_project.recount import known_events, money
from tests.dbt_project.small_shop import Row, day, deliveries

pytestmark = pytest.mark.slow


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
        counted[key]["guest"] += row["user_id"] is None
        counted[key]["imputed"] += row["event_type"] == "purchase" and row.get("quantity") is None
        people[(*key, row["event_type"])].add(row["user_id"])
    funnel = built["category_days"]
    assert set(funnel) == set(counted) and len(funnel) > 5
    for key, row in funnel.items():
        types = ("view", "favourite", "cart", "purchase", "return")
        assert [row[name] for name in ("views", "favourites", "carts", "purchases", "returns")] == [counted[key][name] for name in types]
        steps = ("view", "cart", "purchase")
        assert [row[name] for name in ("viewers", "carters", "buyers")] == [len(people[(*key, name)] - {None}) for name in steps]
        assert (row["guest_events"], row["quantities_imputed"]) == (counted[key]["guest"], counted[key]["imputed"])
    assert min(sum(counts[name] for counts in counted.values()) for name in ("guest", "imputed")) > 5
    assert sum(counts["purchase"] - counts["imputed"] for counts in counted.values()) == 1  # by hand: e1 alone names its quantity
    assert sum(row["spend"] for row in funnel.values()) == pytest.approx(money([row for row, _ in standing.values()]))
