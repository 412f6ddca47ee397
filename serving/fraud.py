"""Approve, review or refuse an order: its features at checkout, the served probability of fraud, and the verdict that costs least."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.frames import naive_utc
from feature_repo.order_features import AskedOrder, features_at_checkout
from serving.decisions import Decision, decision_time, durable_log
from serving.errors import BadRequest, NotServed
from serving.fraud_asked import AskedOrders
from serving.fraud_links import bursts_by_user
from serving.shop_front import ShopFront, front
from settings import Settings
from sources.registry import is_simulated
from training.fraud_costs import FraudCosts, fraud_costs
from training.signatures import EXPLAIN, FRAUD, ORDER_FEATURES

SHOWN_ACCOUNTS = 20
#: Records that are older than this before an order count too little of it.
FRESH = timedelta(days=1)


@dataclass(frozen=True)
class LinkedAccount:
    """Another account that ordered by the same instruments; `shares` names their kinds."""

    user_id: str
    shares: tuple[str, ...]


@dataclass(frozen=True)
class SeenBurst:
    """Accounts opened together that share instruments, of which one is this order's or linked to it."""

    user_ids: tuple[str, ...]
    first_opened_at: datetime
    last_opened_at: datetime


@dataclass(frozen=True)
class OrderVerdict:
    """What was decided about an order, and on what.

    `reason_codes` come by falling effect; `costs` are the expected costs of the three verdicts. `counted_to` is the midnight up to which
    records count; since then only `asked_since` orders that the API was asked about do. `stale` names what is too old or unknown.
    """

    order_id: str
    verdict: str
    probability: float
    reason_codes: tuple[str, ...]
    costs: dict[str, float]
    linked_accounts: tuple[LinkedAccount, ...]
    burst: SeenBurst | None
    counted_to: datetime
    asked_since: int
    stale: tuple[str, ...]
    model_version: int
    label: str | None
    is_simulated: bool


def decide(order: AskedOrder, *, shop: ShopFront | None = None, costs: FraudCosts | None = None) -> OrderVerdict:
    """The verdict on an order that is being placed; it counts for orders after it, whatever becomes of it.

    Raises BadRequest for an order from before the records' end, which its own records may count.
    """
    shop, costs = shop or front(), costs or fraud_costs()
    counted_to = shop.clock()
    if order.placed_at < counted_to:
        raise BadRequest(
            f"An order is decided while it is placed: `placed_at` must not lie before the end of the loaded records, "
            f"{counted_to:%Y-%m-%dT%H:%M}Z. Received {order.placed_at:%Y-%m-%dT%H:%M:%S}Z. What is loaded has been decided already."
        )
    asked = asked_orders(shop.settings)
    rows = {instrument: shop.user_row(FRAUD.feature_service, instrument) for instrument in order.instruments.values()}
    order, is_age_known = _with_opening(order, shop)
    since = asked.since(order, counted_to)
    asked.add(order, counted_to)
    numbers = features_at_checkout(order, rows, since)
    inputs = {name: np.array([numbers[name]], np.float32) for name in ORDER_FEATURES}
    answer = shop.predict(FRAUD.name, inputs, user_id=order.user_id, signature=EXPLAIN)
    probability = float(answer["probability"][0])
    linked = _linked(order, rows, since)
    return OrderVerdict(
        order.order_id,
        costs.verdict(probability, order.amount),
        probability,
        tuple(code for code in map(_text, answer["reason_codes"][0]) if code and _is_so(code, numbers)),
        costs.of(probability, order.amount),
        linked[:SHOWN_ACCOUNTS],
        _burst([order.user_id, *(one.user_id for one in linked)], counted_to, shop.settings),
        counted_to,
        len(since),
        (*(("records",) if order.placed_at - counted_to > FRESH else ()), *(() if is_age_known else ("account_age",))),
        answer.version,
        answer.label,
        is_simulated(shop.settings.landing_dir),
    )


def log_order(verdict: OrderVerdict, user_id: str | None, settings: Settings) -> str:
    """The id of the logged decision, once it is on disk. A verdict that cannot be logged is not given: nobody would review it."""
    decision = Decision(
        user_id,
        "order",
        verdict.order_id,
        FRAUD.name,
        str(verdict.model_version),
        verdict.counted_to,
        rank=1,
        score=verdict.probability,
        propensity=1.0,
        arm=verdict.verdict,
        reason=json.dumps(list(verdict.reason_codes)),
    )
    list_id = durable_log().log([decision], decision_time(settings, verdict.counted_to))
    if list_id is None:
        raise NotServed("A verdict must be on disk before it is given. The log of decisions took no row. Send the request again later.")
    return f"{list_id}.1"


def _is_so(code: str, numbers: Mapping[str, float]) -> bool:
    """Whether the words of a reason hold: an instrument that nobody used before may speak against an order, but not as a shared one."""
    if code.startswith("shared_"):
        return numbers[f"{code.removeprefix('shared_')}_accounts"] > 1
    return not code.endswith("_charged_back") or numbers[f"{code.removesuffix('_charged_back')}_chargebacks_total"] > 0


@cache
def _asked(file: Path) -> AskedOrders:
    return AskedOrders(file)


def asked_orders(settings: Settings) -> AskedOrders:
    """The orders that this house's API was asked about."""
    return _asked(settings.home / "api" / "asked_orders.sqlite")


def _with_opening(order: AskedOrder, shop: ShopFront) -> tuple[AskedOrder, bool]:
    """The order with the opening of its account, from the request or else the records; a guest has none to know."""
    if order.user_id is None or order.account_opened_at is not None:
        return order, True
    opened = shop.user_row("user_v1", order.user_id).get("registered_at")
    if opened is None:
        return order, False
    return AskedOrder(**vars(order) | {"account_opened_at": naive_utc(opened)}), True


def _linked(order: AskedOrder, rows: Mapping[str, Mapping[str, Any]], since: list[AskedOrder]) -> tuple[LinkedAccount, ...]:
    """Other accounts on the payment instrument, device and address, those that share most first."""
    shares: dict[str, list[str]] = {}
    for kind, instrument in order.instruments.items():
        if kind != "user":
            users = [*(rows[instrument].get("user_ids") or ()), *(one.user_id for one in since if one.instruments.get(kind) == instrument)]
            for user in dict.fromkeys(user for user in users if user is not None and user != order.user_id):
                shares.setdefault(user, []).append(kind)
    return tuple(LinkedAccount(user, tuple(kinds)) for user, kinds in sorted(shares.items(), key=lambda one: (-len(one[1]), one[0])))


def _burst(user_ids: list[str | None], as_of: datetime, settings: Settings) -> SeenBurst | None:
    found = bursts_by_user(as_of, settings)
    burst = next((found[user] for user in user_ids if user in found), None)
    return SeenBurst(burst.user_ids[:SHOWN_ACCOUNTS], burst.first_opened_at, burst.last_opened_at) if burst else None


def _text(code: Any) -> str:
    return code.decode() if isinstance(code, bytes) else str(code)
