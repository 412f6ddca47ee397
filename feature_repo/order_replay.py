"""The mart `order_features` from a shop's tables alone, order by order as they came: for evaluations without a house.

What is kept of an instrument is what its online row holds, and every order is asked of `features_at_checkout` like one at a checkout.
"""

from collections import deque
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from feature_repo.order_features import MOST_ACCOUNTS, SPANS, AskedOrder, features_at_checkout, to_us

LONGEST_US = max(SPANS.values()) // timedelta(microseconds=1)


def replayed(orders: pd.DataFrame, chargebacks: pd.DataFrame, users: pd.DataFrame | None = None) -> pd.DataFrame:
    """Rows of `order_features` by placing, with `charged_back_known_at` (NaT: nobody has reported it).

    Landing tables, each order and chargeback once. A chargeback counts from the midnight after its day `ds`, or after its report where that
    is later.
    """
    reported = chargebacks[["reported_at"]].assign(known=pd.to_datetime(chargebacks["ds"]) + timedelta(days=1))
    known_at = reported.max(axis=1).dt.ceil("D").groupby(chargebacks["order_id"]).min()
    opened = {} if users is None else users.dropna(subset=["registered_at"]).set_index("user_id")["registered_at"].to_dict()
    rows = orders.sort_values(["placed_at", "order_id"], kind="stable").astype(object).where(orders.notna(), None).to_dict("records")
    due = deque(sorted((at.to_pydatetime(), order_id) for order_id, at in known_at.items()))
    instruments_of: dict[str, list[str]] = {}
    held: dict[str, dict[str, Any]] = {}
    found, together = [], list[AskedOrder]()
    for row in rows:
        order = _asked(row, opened)
        if together and together[0].placed_at < order.placed_at:
            _count(together, held, instruments_of)
            together = []
        while due and due[0][0] <= order.placed_at:
            for instrument in instruments_of.get(due.popleft()[1], ()):
                held[instrument]["chargebacks_total"] += 1
        values = features_at_checkout(order, {one: held[one] for one in order.instruments.values() if one in held})
        ids = {name: row[name] for name in ("order_id", "placed_at", "user_id", "payment_id", "device_id", "address_id")}
        found.append(ids | {"account_opened_at": order.account_opened_at} | values)
        together.append(order)
    frame = pd.DataFrame(found)
    frame["placed_at"] = pd.to_datetime(frame["placed_at"])
    frame["account_opened_at"] = pd.to_datetime(frame["account_opened_at"])
    return frame.assign(charged_back_known_at=frame["order_id"].map(known_at))


def _asked(row: dict[str, Any], opened: dict[str, datetime]) -> AskedOrder:
    ids = {name: row[name] for name in ("user_id", "payment_id", "device_id", "address_id")}
    return AskedOrder(row["order_id"], row["placed_at"], float(row["amount"] or 0), **ids, account_opened_at=opened.get(row["user_id"]))


def _count(orders: list[AskedOrder], held: dict[str, dict[str, Any]], instruments_of: dict[str, list[str]]) -> None:
    """Orders of one moment, which none of them has seen, into what is held."""
    for order in orders:
        instruments_of[order.order_id] = list(order.instruments.values())
        for instrument in order.instruments.values():
            row = held.setdefault(instrument, _blank())
            times, amounts, now = row["recent_order_times_us"], row["recent_order_amounts"], to_us(order.placed_at)
            while times and times[0] < now - LONGEST_US:
                times.popleft()
                amounts.popleft()
            times.append(now)
            amounts.append(order.amount)
            row["orders_total"] += 1
            row["amount_total"] += order.amount
            if order.user_id is not None and order.user_id not in row["user_ids"] and len(row["user_ids"]) < MOST_ACCOUNTS:
                row["user_ids"].append(order.user_id)


def _blank() -> dict[str, Any]:
    totals = {"orders_total": 0, "amount_total": 0.0, "chargebacks_total": 0}
    return totals | {"user_ids": [], "recent_order_times_us": deque(), "recent_order_amounts": deque()}
