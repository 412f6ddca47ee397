"""Marketing offers: the served uplift of each offer for a user. `campaign_plan.py` plans who gets what."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from serving.campaign_request import DEFAULT_MARGIN
from serving.errors import UnknownUser
from serving.model_client import Prediction
from serving.model_inputs import history_inputs, user_inputs
from serving.shop_front import ShopFront, front
from training.signatures import UPLIFT

INTERVALS = ("visit_uplift_low", "visit_uplift_high", "spend_uplift_low", "spend_uplift_high")


@dataclass(frozen=True)
class OfferEffect:
    """What one offer would change for one user; `expected_profit` is margin x added spend less cost.

    `*_low` and `*_high` are 95 % intervals, None from a model that was trained before there were any.
    """

    offer: str
    visit_uplift: float
    conversion_uplift: float
    spend_uplift: float
    cost: float
    expected_profit: float
    visit_uplift_low: float | None = None
    visit_uplift_high: float | None = None
    spend_uplift_low: float | None = None
    spend_uplift_high: float | None = None


@dataclass(frozen=True)
class Offers:
    """Every offer for a user by falling expected profit; `best` is None where each loses money. `label` is that of the model's version."""

    user_id: str
    as_of: datetime
    features_at: datetime | None
    model_version: int
    effects: tuple[OfferEffect, ...]
    best: str | None
    label: str | None = None


def offers(user_id: str, *, margin: float = DEFAULT_MARGIN, shop: ShopFront | None = None) -> Offers:
    """The effect of every offer on a known user; `UnknownUser` where the feature store has no row."""
    shop = shop or front()
    as_of = shop.clock()
    row = shop.user_row(UPLIFT.feature_service, user_id)
    if row.get("events_total") is None:
        raise UnknownUser(user_id)
    answer, names, effects = effects_of(shop, [row], as_of, user_id)
    known = shop.offer_costs()
    costs = [known.get(name, 0.0) for name in names]
    lines = [
        OfferEffect(
            offer=name,
            **{kind: float(values[0, i]) for kind, values in effects.items()},
            cost=costs[i],
            expected_profit=float(margin * effects["spend_uplift"][0, i] - costs[i]),
            **{end: float(answer[end][0, i]) for end in INTERVALS if end in answer},
        )
        for i, name in enumerate(names)
    ]
    lines.sort(key=lambda line: -line.expected_profit)
    best = lines[0].offer if lines and lines[0].expected_profit > 0 else None
    return Offers(user_id, as_of, row.get("features_at"), answer.version, tuple(lines), best, answer.label)


def effects_of(
    shop: ShopFront, rows: list[dict[str, Any]], as_of: datetime, user_id: str | None = None, at_us: np.ndarray | None = None
) -> tuple[Prediction, list[str], dict[str, np.ndarray]]:
    """The model's answer, offer names and the three uplifts of shape `(users, offers)`; a shop's own covariates are asked as unknown.

    `at_us` `(users,)` asks about each user as of a time of its own, in microseconds.
    """
    inputs = history_inputs(rows, as_of) | user_inputs(rows)
    if at_us is not None:
        inputs["as_of_us"] = at_us
    for name, tensor in shop.extra_inputs(UPLIFT.name, inputs).items():
        inputs[name] = np.full(len(rows), "", dtype=object) if tensor.dtype == "string" else np.full(len(rows), np.nan, dtype=np.float32)
    answer = shop.predict(UPLIFT.name, inputs, user_id=user_id)
    names = [value.decode() if isinstance(value, bytes) else str(value) for value in answer["treatments"][0]]
    return answer, names, {kind: answer[kind] for kind in ("visit_uplift", "conversion_uplift", "spend_uplift")}
