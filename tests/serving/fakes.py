"""A shop front on hand-written rows and a model that answers by a rule, for tests of the consumers alone."""

import math
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from serving.errors import NotServed
from serving.item_table import ItemCard, ItemTable, table_of
from serving.rules import Rules
from training.signatures import EXPLAIN, SIGNATURE

AS_OF = datetime(2024, 3, 1)  # noqa: DTZ001


class Answer(dict):
    """Outputs by name, and the version that gave them."""

    version = 3
    label = None


class FakeFront:
    """`rows` by service and user; `items` by id; the recommender ranks `ranking`, the uplift model answers `uplift` per offer."""

    def __init__(self, rows: dict[str, dict[str, Any]], items: dict[str, ItemCard], ranking: list[str], away: str | None = None) -> None:
        self.rows, self.items, self.ranking, self.away = rows, items, ranking, away
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.spend_uplift = np.array([[4.0, 1.0]])
        self.features = SimpleNamespace(read=lambda service, ids: [self.user_row(service, i) for i in ids])
        self.rules_in_force = Rules(had={"purchase": math.inf, "rate": math.inf})
        self.vectors: dict[str, list[float]] = {}
        self.scores = {item: float(len(ranking) - place) for place, item in enumerate(ranking)}
        self._table: ItemTable | None = None
        self.settings: Any = SimpleNamespace(host="127.0.0.1", airflow_port=1, mlflow_port=2)

    def clock(self) -> datetime:
        return AS_OF

    def user_row(self, service: str, user_id: str) -> dict[str, Any]:
        return self.rows.get(user_id, {"user_id": user_id})

    def cards(self, item_ids: list[str]) -> list[ItemCard]:
        return [self.items[item_id] for item_id in item_ids]

    def item_table(self) -> ItemTable:
        """The items, popular in the order of their ids, with their `vectors`."""
        if self._table is None:
            columns = {name: [getattr(card, name) for card in self.items.values()] for name in ItemCard.__dataclass_fields__}
            frame = pd.DataFrame({**columns, "purchases_30d": 0, "events_30d": 0, "events_total": 0})
            vectors = pd.DataFrame({"item_id": list(self.vectors), "text_vector": list(self.vectors.values()), "text_version": "v1"})
            self._table = table_of(AS_OF, frame, vectors)
        return self._table

    def rules(self) -> Rules:
        return self.rules_in_force

    def nearest(self, model: str, user_id: str | None = None) -> None:
        return None

    def extra_inputs(self, model: str, inputs: dict[str, Any]) -> dict[str, Any]:
        if model == "risk":
            return {"x_debt": SimpleNamespace(dtype="float32"), "x_job": SimpleNamespace(dtype="string")}
        return {"x_channel": SimpleNamespace(dtype="string"), "x_recency": SimpleNamespace(dtype="float32")}

    def offer_costs(self) -> dict[str, float]:
        return {"coupon": 0.5}

    def predict(self, model: str, inputs: dict[str, Any], *, signature: str = SIGNATURE, **chosen: Any) -> Answer:
        self.asked.append((model, inputs))
        self.chosen = chosen | {"signature": signature}
        if self.away:
            raise NotServed(self.away)
        if model == "risk":
            return _credit(inputs, is_explained=signature == EXPLAIN)
        if model == "fraud":
            codes = np.array([["shared_device", "", "", ""]], object)
            return Answer(probability=np.array([0.25]), reason_codes=codes, reason_effects=np.zeros((1, 4)))
        if signature == EXPLAIN:  # the oldest event is behind everything
            shape = (1, inputs["item_ids"].shape[1], 2)
            drivers = {name: np.full(shape, "", object) for name in ("driver_item_ids", "driver_types")}
            drivers |= {"driver_times_us": np.zeros(shape, np.int64), "driver_effects": np.zeros(shape, np.float32)}
            for history, driver in (
                ("event_item_ids", "driver_item_ids"),
                ("event_types", "driver_types"),
                ("event_times_us", "driver_times_us"),
            ):
                drivers[driver][:, :, 0] = inputs[history][0, 0]
            drivers["driver_effects"][:, :, 0] = 0.5
            return Answer(drivers)
        if model == "recommender":
            left = [item for item in self.ranking if item not in set(inputs["exclude_item_ids"][0])]
            top = (left + [""] * 300)[: int(inputs["k"][0])]
            scores = [self.scores[item] if item else -np.inf for item in top]
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


def _credit(inputs: dict[str, Any], *, is_explained: bool) -> Answer:
    """Log odds of default: -3, 1 for every 500 of debt (none where unknown), 2 without a permanent job, 1 for every 1,000 asked for."""
    amount, debt = (np.nan_to_num(inputs[name].astype(float)) for name in ("amount", "x_debt"))
    effects = np.column_stack([amount / 1000, debt / 500, np.where(inputs["x_job"] == "permanent", 0.0, 2.0)])
    log_odds = effects.sum(axis=1) - 3
    answer = Answer(default_probability=1 / (1 + np.exp(-log_odds)), log_odds=log_odds)
    if is_explained:
        answer |= {
            "reference_log_odds": np.full(len(effects), -3.0),
            "groups": np.array([[b"amount", b"x_debt", b"x_job"]], object),
            "effects": effects,
            "directions": np.array([[b"high", b"unknown" if np.isnan(inputs["x_debt"][0]) else b"high", b"other"]], object),
            "warnings": np.array([[b"mind this"]], object),
        }
    return answer
