"""Orders decided at the checkout: what is read, what is counted since, what is answered and what is logged."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from feature_repo.order_features import AskedOrder
from serving.decisions import DecisionLog
from serving.errors import BadRequest
from serving.fraud import asked_orders, decide
from serving.fraud_asked import AskedOrders
from settings import get_settings
from tests.serving.fakes import AS_OF
from tests.serving.fraud_house import OrderFront, instrument
from tests.serving.web_client import caller, publish, put
from training.fraud_costs import FraudCosts
from training.signatures import ORDER_FEATURES

COSTS = FraudCosts(10, 4.0, 1.0, 20.0, 0.3, 15.0, 0.9, 0.05)
HOUR = timedelta(hours=1)
ORDER = AskedOrder("o9", AS_OF + 10 * HOUR, 100.0, "ann", "p1", "d1", None)


@pytest.fixture
def log(house: Path, monkeypatch: pytest.MonkeyPatch) -> DecisionLog:
    made = DecisionLog(get_settings().landing_dir / "decisions", is_wall_clock=False, is_durable=True)
    monkeypatch.setattr("serving.fraud.durable_log", lambda: made)
    return made


@pytest.fixture
def shop(house: Path) -> OrderFront:
    """Ann's device has been used by bob and by a third account; a chargeback is known of her payment instrument."""
    publish("order_features", [])
    rows = {
        "user:ann": instrument(4, 80.0, ["ann"], recent={AS_OF - 20 * HOUR: 30.0}),
        "payment:p1": instrument(1, 30.0, ["ann"], chargebacks=1),
        "device:d1": instrument(6, 400.0, ["bob", "ann", "cy"], recent={AS_OF - 100 * HOUR: 200.0}),
        "ann": {"registered_at": AS_OF - timedelta(days=30)},
    }
    return OrderFront(rows)


def read(shop: OrderFront) -> dict[str, float]:
    """What the model was asked of the last order, by feature."""
    (model, inputs) = shop.asked[-1]
    assert model == "fraud" and list(inputs) == list(ORDER_FEATURES)
    return {name: float(value[0]) for name, value in inputs.items()}


def test_the_model_reads_the_online_rows_and_the_orders_asked_about_since(shop: OrderFront) -> None:
    decide(replace(ORDER, order_id="o1", placed_at=AS_OF + 9.5 * HOUR, amount=50.0, user_id="dan", payment_id="p7"), shop=shop, costs=COSTS)
    decide(replace(ORDER, order_id="o2", placed_at=AS_OF + 2 * HOUR, amount=20.0, device_id=None), shop=shop, costs=COSTS)
    decide(ORDER, shop=shop, costs=COSTS)
    got = read(shop)
    assert (got["device_orders_1h"], got["device_orders_24h"], got["device_orders_7d"], got["device_orders_total"]) == (1, 1, 2, 7)
    assert (got["device_amount_7d"], got["device_accounts"]) == (250, 4)
    assert (got["user_orders_1h"], got["user_orders_24h"], got["user_orders_7d"]) == (0, 1, 2)
    assert got["amount_over_mean"] == pytest.approx(100 / ((80 + 20) / 5))
    assert (got["payment_chargebacks_total"], got["account_age_days"]) == (1, pytest.approx(30 + 10 / 24))
    assert got["address_orders_total"] != got["address_orders_total"]  # it names none: unknown, not zero


def test_an_order_asked_about_twice_counts_once_and_not_for_itself(shop: OrderFront) -> None:
    for _ in range(3):
        verdict = decide(ORDER, shop=shop, costs=COSTS)
        assert read(shop)["device_orders_24h"] == 0 and verdict.asked_since == 0
    later = decide(replace(ORDER, order_id="o10", placed_at=ORDER.placed_at + HOUR), shop=shop, costs=COSTS)
    assert read(shop)["device_orders_1h"] == 1 and later.asked_since == 1


def test_what_was_asked_survives_the_process(shop: OrderFront) -> None:
    decide(ORDER, shop=shop, costs=COSTS)
    again = AskedOrders(get_settings().home / "api" / "asked_orders.sqlite")
    (known,) = again.since(replace(ORDER, order_id="o10", placed_at=ORDER.placed_at + HOUR), AS_OF)
    assert known == replace(ORDER, account_opened_at=None)
    assert again.amounts(["o9", "o10"]) == {"o9": 100.0}


def test_the_verdict_is_the_cheapest_at_the_probability(shop: OrderFront) -> None:
    for probability, verdict in ((0.001, "approve"), (0.3, "review"), (0.999, "refuse")):
        shop.probability = probability
        found = decide(ORDER, shop=shop, costs=COSTS)
        assert found.verdict == verdict
        assert found.costs == COSTS.of(probability, 100.0)
    assert found.reason_codes == ("shared_device", "new_account")


def test_accounts_on_the_same_instruments_are_named_with_what_they_share(shop: OrderFront) -> None:
    decide(replace(ORDER, order_id="o1", placed_at=AS_OF + HOUR, user_id="bob"), shop=shop, costs=COSTS)
    found = decide(ORDER, shop=shop, costs=COSTS)
    assert {one.user_id: one.shares for one in found.linked_accounts} == {"bob": ("payment", "device"), "cy": ("device",)}
    assert found.linked_accounts[0].user_id == "bob"


def test_a_burst_that_a_linked_account_is_in_is_named(shop: OrderFront) -> None:
    ring = [
        {
            "order_id": f"r{number}",
            "user_id": user,
            "payment_id": "px",
            "placed_at": AS_OF - HOUR,
            "account_opened_at": AS_OF - day * 24 * HOUR,
        }
        for number, (user, day) in enumerate((("bob", 9), ("r2", 8), ("r3", 7), ("old", 300)))
    ]
    publish("order_features", ring, AS_OF - 24 * HOUR)
    front = OrderFront(shop.rows)
    front.clock = lambda: AS_OF + timedelta(microseconds=1)  # type: ignore[method-assign]  # another day than the other tests have looked at
    found = decide(ORDER, shop=front, costs=COSTS)
    assert found.burst is not None
    assert found.burst.user_ids == ("bob", "r2", "r3")
    assert found.burst.first_opened_at == AS_OF - 9 * 24 * HOUR


def test_an_instrument_that_nobody_used_before_is_not_told_as_a_shared_one(shop: OrderFront) -> None:
    assert decide(ORDER, shop=shop, costs=COSTS).reason_codes == ("shared_device", "new_account")
    assert decide(replace(ORDER, device_id="never seen"), shop=shop, costs=COSTS).reason_codes == ("new_account",)


def test_what_is_stale_or_unknown_is_said(shop: OrderFront) -> None:
    assert decide(ORDER, shop=shop, costs=COSTS).stale == ()
    late = decide(replace(ORDER, user_id="new", placed_at=AS_OF + 30 * HOUR), shop=shop, costs=COSTS)
    assert late.stale == ("records", "account_age")
    assert read(shop)["account_age_days"] != read(shop)["account_age_days"]
    told = decide(replace(ORDER, user_id="new", account_opened_at=AS_OF), shop=shop, costs=COSTS)
    assert told.stale == () and read(shop)["account_age_days"] == pytest.approx(10 / 24)
    assert decide(replace(ORDER, user_id=None), shop=shop, costs=COSTS).stale == ()  # a guest has no account


def test_an_order_that_the_records_may_hold_is_refused(shop: OrderFront) -> None:
    with pytest.raises(BadRequest, match=r"`placed_at` must not lie before .* 2024-03-01T00:00Z. Received 2024-02-29T23:00:00Z"):
        decide(replace(ORDER, placed_at=AS_OF - HOUR), shop=shop, costs=COSTS)


BODY: dict[str, Any] = {
    "order_id": "o9",
    "user_id": "ann",
    "amount": 100.0,
    "payment_id": "p1",
    "device_id": "d1",
    "placed_at": "2024-03-01T10:00:00Z",
}


def test_the_api_answers_in_words_and_logs_the_decision(shop: OrderFront, log: DecisionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, shop)
    client = caller("risk")
    answer = client.post("/v1/risk/orders", json=BODY).json()
    assert (answer["verdict"], answer["probability"], answer["counted_to"]) == ("review", 0.5, "2024-03-01T00:00:00Z")
    assert answer["reasons"][0] == {"code": "shared_device", "text": "Several accounts order by this device"}
    chinese = client.post("/v1/risk/orders", json=BODY, headers={"accept-language": "zh"}).json()
    assert chinese["reasons"][0]["text"] == "多个账户使用同一设备下单"
    (row,) = log.find(answer["decision_id"])
    assert (row["kind"], row["arm"], row["subject"], row["score"]) == ("order", "review", "o9", 0.5)
    assert json.loads(row["reason"]) == ["shared_device", "new_account"]
    assert (row["user_id"], row["features_at"], row["model"], row["model_version"]) == ("ann", AS_OF, "fraud", "3")


def test_a_verdict_that_cannot_be_logged_is_not_given(shop: OrderFront, house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, shop)
    full = DecisionLog(house / "full", is_wall_clock=False, is_durable=True, queue_rows=0)
    monkeypatch.setattr("serving.fraud.durable_log", lambda: full)
    client, key = caller("risk"), {"Idempotency-Key": "k1"}
    refused = client.post("/v1/risk/orders", json=BODY, headers=key)
    assert (refused.status_code, refused.json()["type"]) == (503, "/docs#not-served")
    assert refused.json()["detail"].startswith("A verdict must be on disk before it is given. The log of decisions took no row.")
    kept = DecisionLog(get_settings().landing_dir / "decisions", is_wall_clock=False, is_durable=True)
    monkeypatch.setattr("serving.fraud.durable_log", lambda: kept)
    again = client.post("/v1/risk/orders", json=BODY, headers=key).json()  # the refusal was no answer to keep
    assert [row["arm"] for row in kept.find(again["decision_id"])] == [again["verdict"]] == ["review"]
    assert again["asked_since"] == 0


def test_the_same_key_decides_once(shop: OrderFront, log: DecisionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, shop)
    client, key = caller("risk"), {"Idempotency-Key": "k1"}
    first = client.post("/v1/risk/orders", json=BODY, headers=key)
    shop.probability = 0.001
    again = client.post("/v1/risk/orders", json=BODY, headers=key)
    assert again.content == first.content and len(shop.asked) == 1
    other = client.post("/v1/risk/orders", json=BODY | {"amount": 1.0}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "/docs#key-reused")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"amount": -1.0}, ["body", "amount"]),
        ({"amount": "5"}, ["body", "amount"]),
        ({"placed_at": "yesterday"}, ["body", "placed_at"]),
        ({"card_number": "4111"}, ["body", "card_number"]),
        ({"order_id": ""}, ["body", "order_id"]),
    ],
)
def test_a_body_that_breaks_its_rule_is_refused(change: dict, place: list, shop: OrderFront, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, shop)
    answer = caller("risk").post("/v1/risk/orders", json=BODY | change)
    assert (answer.status_code, answer.json()["errors"][0]["location"]) == (422, place)
    assert not shop.asked


def test_without_the_scope_or_the_model_nothing_is_decided(shop: OrderFront, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, shop)
    assert caller("read:decisions").post("/v1/risk/orders", json=BODY).json()["type"] == "/docs#scope-missing"
    shop.away = "No model `fraud` is served: `chargebacks` has no report."
    answer = caller("risk").post("/v1/risk/orders", json=BODY)
    assert (answer.status_code, answer.json()["detail"]) == (503, shop.away)


def test_orders_are_forgotten_when_the_records_must_count_them(house: Path) -> None:
    kept = asked_orders(get_settings())
    start = datetime(2024, 1, 1)  # noqa: DTZ001
    kept.add(replace(ORDER, order_id="old", placed_at=start), start)
    kept.add(replace(ORDER, order_id="far", placed_at=start + timedelta(days=9000)), start)  # whoever mistakes the year wipes nothing out
    assert kept.amounts(["old", "far"]) == {"old": 100.0, "far": 100.0}
    kept.add(replace(ORDER, order_id="new", placed_at=start + timedelta(days=41)), start + timedelta(days=41))
    assert kept.amounts(["old", "far", "new"]) == {"far": 100.0, "new": 100.0}
