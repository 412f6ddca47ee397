"""The best there is: what somebody who knows the simulated shop's truth would get on the questions that a model was asked.

Training's only door to that truth. It is opened after a model is trained and exported, its answers go into the report and nowhere else, and
a real shop has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from settings import get_settings
from sources.errors import DataNotFound
from sources.registry import Delivery
from sources.shop_oracle import Asked, ShopOracle, true_credit_risk
from training.histories import Histories

ORACLE = "oracle"
MOST_CELLS = 200_000_000  # users times items: beyond, an oracle costs more than the training
NO_GOAL = ("ece", "coverage@10")  # figures of which more is not simply better


def house_oracle() -> ShopOracle | None:
    """The oracle of the house's shop; None where its newest delivery is a real shop's, or its truth is not there."""
    settings = get_settings()
    try:
        delivery = Delivery.read(settings.landing_dir)
    except DataNotFound:
        return None
    return ShopOracle.beside(settings.truth_dir) if delivery.source == "shop" and (settings.truth_dir / "shop.json").is_file() else None


def shop_oracle(seed: int) -> ShopOracle:
    """The oracle of the clean shop that `evaluation.landing_tables` delivers."""
    return ShopOracle.of(seed, {"dirt": 0})


def shop_credit_risk(seed: int, shop: Mapping[str, object]) -> pd.DataFrame:
    """`application_id` and the true `default_probability` in the clean shop that `evaluation.landing_tables` delivers by the options
    `shop`."""
    return true_credit_risk(seed, {"dirt": 0, **shop})


def question(histories: Histories, at_us: int | np.ndarray) -> Asked:
    """A question to the oracle: the users as known, at one time or one each."""
    times = np.broadcast_to(np.asarray(at_us, np.int64), (len(histories),))
    return Asked(histories.user_ids, times, histories.item_ids, histories.event_types, histories.times_us)


def next_item_scores(oracle: ShopOracle, histories: Histories, at_us: int, item_ids: np.ndarray) -> Iterator[np.ndarray]:
    """How likely each item is to be the user's next new one, some users at a time, `(some users, items)`."""
    for start in range(0, len(histories), 512):
        yield oracle.next_items(question(histories[start : start + 512], at_us), item_ids)


def ways(figures: Mapping[str, Mapping[str, float]], baseline: str) -> dict[str, dict[str, float]]:
    """Of each model and metric, the share of the way from `baseline` to the oracle, `{model: {metric: share}}`; empty without an oracle.

    1 is as good as knowing the truth, 0 no better than the baseline; NaN where the oracle itself is not better than the baseline.
    """
    best, base = figures.get(ORACLE, {}), figures.get(baseline, {})
    goals = [name for name in best if name in base and not name.endswith(NO_GOAL)]

    def share(value: float, metric: str) -> float:
        whole = best[metric] - base[metric]
        return (value - base[metric]) / whole if abs(whole) > 1e-9 else float("nan")

    others = {model: values for model, values in figures.items() if model not in (ORACLE, baseline)}
    return (
        {model: {name: share(values[name], name) for name in goals if name in values} for model, values in others.items()} if goals else {}
    )
