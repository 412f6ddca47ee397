"""Risk decisions on the newest orders and applications: what is asked, and what is counted of the answers."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from serving.local.api_client import ApiError
from serving.local.risk_examples import MOST, risk_decisions
from settings import get_settings
from sources.files import landing_table, write_partitions

END = date(2024, 5, 8)
at = datetime.fromisoformat  # naive UTC, as everywhere in files and warehouse
NEWEST = at("2024-05-07 23:00")


class Risk:
    """Answers by the amount alone, and keeps what it was asked."""

    def __init__(self, served: bool = True) -> None:
        self.orders: list[dict[str, Any]] = []
        self.credits: list[dict[str, Any]] = []
        self.served = served

    def order(self, body: dict[str, Any]) -> dict[str, Any]:
        self.orders.append(body)
        verdict = "refuse" if body["amount"] > 100 else "review" if body["amount"] > 50 else "approve"
        return {"order_id": body["order_id"], "verdict": verdict, "probability": body["amount"] / 1000}

    def credit(self, body: dict[str, Any]) -> dict[str, Any]:
        self.credits.append(body)
        if not self.served:
            raise ApiError(503, "nothing is served")
        return {"application_id": body["application_id"], "decision": "review", "probability": 0.25}


def delivered(house: Path, orders: dict[str, list[Any]]) -> None:
    write_partitions({"orders": landing_table("orders", orders, [time.date() for time in orders["placed_at"]])}, house / "landing")


def asked(api: Risk) -> list[dict[str, Any]]:
    return risk_decisions(api, get_settings(), END)  # type: ignore[arg-type]


def test_the_last_days_sound_orders_are_placed_again_once_each_and_counted(house: Path) -> None:
    orders = {
        "order_id": ["old", "o1", "o2", "o3", "o3", "odd"],
        "placed_at": [at("2024-05-06"), at("2024-05-07 08:00"), at("2024-05-07 09:00"), *[NEWEST] * 3],
        "amount": [1.0, 20.0, 60.0, 200.0, 300.0, None],
        "user_id": ["u1", "u1", None, "u3", "u3", "u4"],
        "payment_id": [None, "p1", "p2", "p3", "p3", "p4"],
    }
    delivered(house, orders)
    api = Risk()
    [told] = asked(api)
    assert [body["order_id"] for body in api.orders] == ["o3-again", "o2-again", "o1-again"]
    assert api.orders[1] == {
        "order_id": "o2-again", "amount": 60.0, "placed_at": "2024-05-08T09:00:00+00:00",
        "user_id": None, "payment_id": "p2", "device_id": None, "address_id": None,
    }  # fmt: skip
    assert (told["kind"], told["asked"], told["decisions"]) == ("orders", 3, {"approve": 1, "review": 1, "refuse": 1})
    assert told["riskiest"]["order_id"] == "o3-again"


def test_no_more_are_asked_than_a_person_waits_for(house: Path) -> None:
    many = MOST + 10
    delivered(house, {"order_id": [f"o{n}" for n in range(many)], "placed_at": [NEWEST] * many, "amount": [1.0] * many})
    assert asked(Risk())[0]["asked"] == MOST


@pytest.mark.parametrize("served", [True, False])
def test_applications_carry_the_shops_own_columns_and_a_model_that_is_not_served_is_left_out(house: Path, served: bool) -> None:
    table = landing_table(
        "credit_applications", {"application_id": ["c1"], "user_id": ["u1"], "applied_at": [NEWEST], "amount": [700.0]}, [NEWEST.date()]
    )
    write_partitions({"credit_applications": table.append_column("x_income", [[2400.0]])}, house / "landing")
    api = Risk(served)
    told = asked(api)
    assert api.credits == [{"application_id": "c1", "user_id": "u1", "amount": 700.0, "columns": {"x_income": 2400.0}}]
    assert [row["kind"] for row in told] == (["credit applications"] if served else [])
