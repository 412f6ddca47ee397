"""Orders' features, labels and instruments in the small shop, counted again order by order, from the deliveries themselves."""

from datetime import datetime, timedelta

import pandas as pd
import pytest

from feature_repo.order_features import AskedOrder, features_at_checkout
from feature_repo.order_replay import replayed
from tests.dbt_project.built_shop import Built
from tests.dbt_project.small_shop import OPENED, Row, day, deliveries
from training.signatures import ORDER_FEATURES

pytestmark = pytest.mark.slow

KINDS = ("user", "payment", "device", "address")
SPANS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
ACCOUNTS = {"u0": day("01-01"), "u1": OPENED}


def first_deliveries(table: str) -> dict[str, Row]:
    """By order, the row that came first, with the midnight after its day as `known_at`."""
    delivered, found = deliveries(), {}
    for ds in sorted(delivered):
        for row in delivered[ds].get(table, []):
            found.setdefault(row["order_id"], row | {"known_at": datetime.combine(ds, datetime.min.time()) + timedelta(days=1)})
    return found


def naive(order: Row, orders: dict[str, Row], reports: dict[str, Row]) -> Row:
    """Every feature of an order by looking at all others."""
    at, opened = order["placed_at"], ACCOUNTS.get(order["user_id"])
    found: Row = {"amount": order["amount"] or 0.0, "amount_over_mean": None}
    found["account_age_days"] = None if opened is None else max((at - opened) / timedelta(days=1), 0)
    for kind in KINDS:
        id = order[f"{kind}_id"]
        before = [one for one in orders.values() if one[f"{kind}_id"] == id and one["placed_at"] < at]
        counts: Row = {}
        for name, span in SPANS.items():
            inside = [one["amount"] or 0.0 for one in before if one["placed_at"] >= at - span]
            counts |= {f"{kind}_orders_{name}": len(inside), f"{kind}_amount_{name}": sum(inside)}
        counts[f"{kind}_orders_total"] = len(before)
        reported = [one for one in orders.values() if one[f"{kind}_id"] == id and one["order_id"] in reports]
        counts[f"{kind}_chargebacks_total"] = sum(reports[one["order_id"]]["known_at"] <= at for one in reported)
        if kind != "user":
            counts[f"{kind}_accounts"] = len({one["user_id"] for one in before} - {None})
        elif id is not None and (total := sum(one["amount"] or 0.0 for one in before)):
            found["amount_over_mean"] = (order["amount"] or 0.0) / (total / len(before))
        found |= counts if id is not None else dict.fromkeys(counts)
    return found


def told(row: Row) -> Row:
    return {name: row[name] for name in ORDER_FEATURES}


def approximately(row: Row) -> Row:
    return {name: None if value is None else pytest.approx(value, abs=1e-9) for name, value in row.items()}


def test_an_orders_features_are_a_recount_of_what_was_there_before_it(built: Built) -> None:
    orders, reports = first_deliveries("orders"), first_deliveries("chargebacks")
    mart = {order: row for (order,), row in built["order_features"].items()}
    assert set(mart) == set(orders)
    for order_id, order in orders.items():
        assert told(mart[order_id]) == approximately(naive(order, orders, reports)), order_id
    assert sum(row["device_chargebacks_total"] or 0 for row in mart.values()) > 50
    assert sum(row["user_orders_1h"] or 0 for row in mart.values()) > 3


def test_no_later_order_and_no_report_that_was_not_known_enters_a_feature(built: Built) -> None:
    """Leaves out of the recount, for each order, whatever came after it or was reported after it: nothing changes."""
    orders, reports = first_deliveries("orders"), first_deliveries("chargebacks")
    still_to_come = 0
    for (order_id,), row in built["order_features"].items():
        at = orders[order_id]["placed_at"]
        past = {name: one for name, one in orders.items() if one["placed_at"] <= at}
        known = {name: one for name, one in reports.items() if one["known_at"] <= at}
        still_to_come += len(reports) - len(known)
        assert told(row) == approximately(naive(orders[order_id], past, known)), order_id
    assert still_to_come > 1000


def test_a_label_says_since_when_a_report_was_known(built: Built) -> None:
    orders, reports = first_deliveries("orders"), first_deliveries("chargebacks")
    known = {order: row["charged_back_known_at"] for (order,), row in built["order_labels"].items()}
    assert known == {order: reports[order]["known_at"] if order in reports else None for order in orders}
    assert 20 < len(reports) < len(orders)
    assert all(row["known_at"] == orders[order]["known_at"] for (order,), row in built["order_labels"].items())


def test_an_instruments_row_holds_what_was_known_at_its_midnight(built: Built) -> None:
    orders, reports = first_deliveries("orders"), first_deliveries("chargebacks")
    assert len(built["instrument_orders"]) > 100
    for (instrument, features_at, created_at), row in built["instrument_orders"].items():
        kind, _, id = instrument.partition(":")
        own = [one for one in orders.values() if one[f"{kind}_id"] == id and one["known_at"] <= created_at]
        recent = sorted(
            (one["placed_at"], one["order_id"], one["amount"] or 0.0) for one in own if one["placed_at"] >= created_at - timedelta(days=7)
        )
        assert features_at == created_at
        assert (row["orders_total"], row["amount_total"]) == (len(own), pytest.approx(sum(one["amount"] or 0.0 for one in own)))
        assert row["chargebacks_total"] == sum(
            one["order_id"] in reports and reports[one["order_id"]]["known_at"] <= created_at for one in own
        )
        assert sorted(row["user_ids"]) == sorted({one["user_id"] for one in own} - {None})
        assert row["recent_order_times_us"] == [(at - datetime(1970, 1, 1)) // timedelta(microseconds=1) for at, _, _ in recent]  # noqa: DTZ001
        assert row["recent_order_amounts"] == [amount for _, _, amount in recent]


def asked(order: Row) -> AskedOrder:
    ids = {name: order[name] for name in ("user_id", "payment_id", "device_id", "address_id")}
    return AskedOrder(
        order["order_id"], order["placed_at"], order["amount"] or 0.0, **ids, account_opened_at=ACCOUNTS.get(order["user_id"])
    )


def test_at_the_checkout_the_features_are_those_of_the_mart(built: Built) -> None:
    """Online rows as of the last midnight, and the orders asked about since; an order that came late was asked about in time."""
    orders, compared = first_deliveries("orders"), 0
    mart = {order: row for (order,), row in built["order_features"].items()}
    for order_id, order in orders.items():
        midnight = datetime.combine(order["placed_at"].date(), datetime.min.time())
        rows: dict[str, Row] = {}
        for (instrument, _, created_at), row in sorted(built["instrument_orders"].items()):
            if created_at <= midnight:
                rows[instrument] = row
        since = [asked(one) for one in orders.values() if one["placed_at"] >= midnight]
        if any(one["placed_at"] < midnight < one["known_at"] for one in orders.values()):
            continue  # of such an order the records know nothing yet
        got = features_at_checkout(asked(order), rows, since)
        assert {name: None if value != value else value for name, value in got.items()} == approximately(told(mart[order_id])), order_id
        compared += 1
    assert compared > 30


def test_a_replay_of_the_tables_gives_the_mart(built: Built) -> None:
    orders, reports = (pd.DataFrame(first_deliveries(table).values()) for table in ("orders", "chargebacks"))
    reports["ds"] = reports["known_at"] - timedelta(days=1)
    users = pd.DataFrame({"user_id": list(ACCOUNTS), "registered_at": pd.to_datetime(list(ACCOUNTS.values()))})
    frame = replayed(orders, reports, users)
    labels = {order: row["charged_back_known_at"] for (order,), row in built["order_labels"].items()}
    for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        assert told(row) == approximately(told(built["order_features"][(row["order_id"],)]))
        assert row["charged_back_known_at"] == labels[row["order_id"]]


def test_incremental_builds_end_where_a_full_refresh_does(built: Built) -> None:
    for mart in ("order_features", "order_labels", "instrument_orders"):
        assert built.incremental[mart] == built.refreshed[mart]
