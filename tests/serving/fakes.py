"""A shop front on hand-written rows and a model that answers by a rule, for tests of the consumers alone."""

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving.errors import NotServed
from serving.shop_front import ItemCard, Popular

AS_OF = datetime(2024, 3, 1)  # noqa: DTZ001


class Answer(dict):
    """Outputs by name, and the version that gave them."""

    version = 3


class FakeFront:
    """`rows` by service and user; `items` by id; the recommender ranks `ranking`, the uplift model answers `uplift` per offer."""

    def __init__(self, rows: dict[str, dict[str, Any]], items: dict[str, ItemCard], ranking: list[str], away: str | None = None) -> None:
        self.rows, self.items, self.ranking, self.away = rows, items, ranking, away
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.spend_uplift = np.array([[4.0, 1.0]])
        self.features = SimpleNamespace(read=lambda service, ids: [self.user_row(service, i) for i in ids])
        self.settings: Any = SimpleNamespace(host="127.0.0.1", airflow_port=1, mlflow_port=2)

    def clock(self) -> datetime:
        return AS_OF

    def user_row(self, service: str, user_id: str) -> dict[str, Any]:
        return self.rows.get(user_id, {"user_id": user_id})

    def cards(self, item_ids: list[str]) -> list[ItemCard]:
        return [self.items[item_id] for item_id in item_ids]

    def popular(self) -> Popular:
        return Popular(AS_OF, tuple(sorted(self.items)))

    def extra_inputs(self, model: str, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"x_channel": SimpleNamespace(dtype="string"), "x_recency": SimpleNamespace(dtype="float32")}

    def offer_costs(self) -> dict[str, float]:
        return {"coupon": 0.5}

    def predict(self, model: str, inputs: dict[str, Any]) -> Answer:
        self.asked.append((model, inputs))
        if self.away:
            raise NotServed(self.away)
        if model == "recommender":
            left = [item for item in self.ranking if item not in set(inputs["exclude_item_ids"][0])]
            top = (left + [""] * 300)[: int(inputs["k"][0])]
            scores = [float(len(self.ranking) - self.ranking.index(item)) if item else -np.inf for item in top]
            return Answer(item_ids=np.array([[t.encode() for t in top]], dtype=object), scores=np.array([scores]))
        batch = len(inputs["as_of_us"])
        if model == "portrait":
            return Answer(
                vector=np.zeros((1, 4)),
                trait_names=np.array([["gender"]], dtype=object),
                trait_values=np.array([[["male", "female", ""]]], dtype=object),
                trait_probabilities=np.array([[[0.3, 0.7, 0.0]]]),
                trait_choices=np.array([["female"]], dtype=object),
                segment=np.array(["browsers, quiet"], dtype=object),
                interest_categories=np.array([["toys", "books"]], dtype=object),
                interest_shares=np.array([[0.9, 0.1]]),
                interest_shares_30d_ago=np.array([[0.4, 0.6]]),
                interest_alarm=np.array([1]),
                next_category=np.array(["toys"], dtype=object),
                purchase_probability_7d=np.array([0.2]),
                purchase_probability_30d=np.array([0.5]),
                churn_probability_7d=np.array([0.3]),
                churn_probability_30d=np.array([0.1]),
                expected_spend_90d=np.array([42.5]),
            )
        names = np.array([[b"coupon", b"mail"]] * batch, dtype=object)
        spend = np.repeat(self.spend_uplift, batch // len(self.spend_uplift), axis=0)
        return Answer(treatments=names, visit_uplift=spend / 100, conversion_uplift=spend / 200, spend_uplift=spend)
