"""A shop front for orders: instruments as the online store holds them, and a model whose probability is told."""

from datetime import datetime
from typing import Any

import numpy as np

from serving.errors import NotServed
from settings import get_settings
from tests.serving.fakes import AS_OF, Answer, FakeFront

NOTHING: dict[str, Any] = dict.fromkeys(("orders_total", "amount_total", "chargebacks_total", "user_ids", "recent_order_times_us"))


class OrderFront(FakeFront):
    """`rows` by instrument or user id; the fraud model answers `probability` and says that a shared device is behind it."""

    def __init__(self, rows: dict[str, dict[str, Any]], probability: float = 0.5) -> None:
        super().__init__(rows, {}, [])
        self.settings = get_settings()
        self.probability = probability

    def user_row(self, service: str, user_id: str) -> dict[str, Any]:
        return self.rows.get(user_id, {"user_id": user_id} | NOTHING)

    def predict(self, model: str, inputs: dict[str, Any], **chosen: Any) -> Answer:
        self.asked.append((model, inputs))
        if self.away:
            raise NotServed(self.away)
        codes = np.array([["shared_device", "new_account", "", ""]], object)
        return Answer(probability=np.array([self.probability]), reason_codes=codes, reason_effects=np.zeros((1, 4)))


def instrument(orders: int, amount: float, users: list[str], chargebacks: int = 0, recent: dict[datetime, float] | None = None) -> dict:
    """An online row of `instrument_orders`."""
    times = [int((at - datetime(1970, 1, 1)).total_seconds() * 1_000_000) for at in recent or {}]  # noqa: DTZ001
    row = {"orders_total": orders, "amount_total": amount, "chargebacks_total": chargebacks, "user_ids": users, "features_at": AS_OF}
    return row | {"recent_order_times_us": np.array(times, np.int64), "recent_order_amounts": np.array(list((recent or {}).values()))}
