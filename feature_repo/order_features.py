"""What is known of an order the moment before it is placed, at checkout: the columns of the mart `order_features`, value by value.

The online rows of the order's instruments (`instrument_orders`) count to a midnight; the orders that were asked about since then come on
top. Imports nothing heavy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

KINDS = ("user", "payment", "device", "address")
SPANS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
MOST_ACCOUNTS = 20  # of one instrument that are counted and named: `most_accounts` of dbt_project/macros/instruments.sql
MONEY_DIGITS = 4  # as in the warehouse
UNKNOWN = float("nan")


@dataclass(frozen=True)
class AskedOrder:
    """An order as the checkout tells it; `placed_at` and `account_opened_at` are UTC without zone."""

    order_id: str
    placed_at: datetime
    amount: float
    user_id: str | None = None
    payment_id: str | None = None
    device_id: str | None = None
    address_id: str | None = None
    account_opened_at: datetime | None = None

    @property
    def instruments(self) -> dict[str, str]:
        """`{kind: instrument_id}` of what it is placed by."""
        return {kind: f"{kind}:{id}" for kind in KINDS if (id := getattr(self, f"{kind}_id")) is not None}


def features_at_checkout(order: AskedOrder, rows: Mapping[str, Mapping[str, Any]], since: Sequence[AskedOrder] = ()) -> dict[str, float]:
    """Every numeric column of `order_features` for `order`, NaN where nobody can know.

    `rows` maps an instrument's id to its online row, without those never seen; `since` are orders placed before this one, in no row yet.
    """
    values = {"amount": float(order.amount), "amount_over_mean": UNKNOWN, "account_age_days": UNKNOWN}
    if order.account_opened_at is not None:
        values["account_age_days"] = max((order.placed_at - order.account_opened_at).total_seconds(), 0.0) / 86_400
    for kind in KINDS:
        instrument = order.instruments.get(kind)
        if instrument is None:
            values |= dict.fromkeys(_names(kind), UNKNOWN)
            continue
        row = rows.get(instrument, {})
        own = [one for one in since if one.instruments.get(kind) == instrument and one.placed_at < order.placed_at]
        times = [*_listed(row, "recent_order_times_us"), *(to_us(one.placed_at) for one in own)]
        amounts = [*_listed(row, "recent_order_amounts"), *(one.amount for one in own)]
        now = to_us(order.placed_at)
        for name, span in SPANS.items():
            first = now - span // timedelta(microseconds=1)
            inside = [amount for at, amount in zip(times, amounts, strict=True) if first <= at < now]
            values |= {f"{kind}_orders_{name}": float(len(inside)), f"{kind}_amount_{name}": round(float(sum(inside)), MONEY_DIGITS)}
        orders = float((row.get("orders_total") or 0) + len(own))
        values |= {f"{kind}_orders_total": orders, f"{kind}_chargebacks_total": float(row.get("chargebacks_total") or 0)}
        if kind != "user":
            accounts = {*_listed(row, "user_ids"), *(one.user_id for one in own)} - {None}
            values[f"{kind}_accounts"] = float(min(len(accounts), MOST_ACCOUNTS))
        elif orders and (mean := ((row.get("amount_total") or 0.0) + sum(one.amount for one in own)) / orders):
            values["amount_over_mean"] = order.amount / mean
    return values


def _names(kind: str) -> list[str]:
    spans = [f"{kind}_{what}_{name}" for what in ("orders", "amount") for name in SPANS]
    return [*spans, f"{kind}_orders_total", f"{kind}_chargebacks_total", *([f"{kind}_accounts"] if kind != "user" else [])]


def _listed(row: Mapping[str, Any], name: str) -> list[Any]:
    value = row.get(name)
    return [] if value is None else list(value)


def to_us(time: datetime) -> int:
    return (time.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
