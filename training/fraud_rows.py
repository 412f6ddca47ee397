"""Orders as a fraud model is taught and asked: features, labels with their maturity, and who belongs together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from feature_repo.frames import read_mart
from feature_repo.order_links import linked
from training.fraud_labels import Delays, estimate_delays
from training.signatures import FRAUD, ORDER_FEATURES

PERSON = "person"  # the `model` of a decision that a person made: `serving/reviews.py`


@dataclass(frozen=True)
class FraudRows:
    """Orders as known at a time, `(rows,)` each: whether one is reported as fraud, and the maturity of its label (`fraud_labels`).

    `numbers` `(rows, ORDER_FEATURES)` float32; `group` is the number of the order's linked accounts.
    """

    orders: pd.DataFrame
    numbers: np.ndarray
    is_fraud: np.ndarray
    maturity: np.ndarray
    group: np.ndarray
    delays: Delays

    def __getitem__(self, rows: np.ndarray) -> FraudRows:
        orders = self.orders.iloc[rows].reset_index(drop=True)
        return FraudRows(orders, self.numbers[rows], self.is_fraud[rows], self.maturity[rows], self.group[rows], self.delays)

    @property
    def weight(self) -> np.ndarray:
        """What each order weighs while teaching, `(rows,)`: a reported one is certain."""
        return np.where(self.is_fraud, 1.0, self.maturity)

    @property
    def day(self) -> np.ndarray:
        return self.orders["placed_at"].to_numpy("datetime64[D]").astype(np.int64)

    @property
    def at_us(self) -> np.ndarray:
        return self.orders["placed_at"].to_numpy("datetime64[us]").astype(np.int64)

    @property
    def amount(self) -> np.ndarray:
        return self.orders["amount"].fillna(0).to_numpy(float)


def rows_known(orders: pd.DataFrame, at: datetime) -> FraudRows:
    """Of `orders` (the columns of `order_features` and `charged_back_known_at`) those placed before `at`, as known at `at`.

    An order that a person refused (`refused_at`, where the column is there) is a fraud, but says nothing about how long banks take.
    """
    known = orders[orders["placed_at"] < at].sort_values(["placed_at", "order_id"], kind="stable").reset_index(drop=True)
    is_reported = (known["charged_back_known_at"] <= at).to_numpy()
    is_fraud = is_reported | (known["refused_at"] <= at).to_numpy() if "refused_at" in known else is_reported
    day = timedelta(days=1)
    age = ((at - known["placed_at"]) / day).to_numpy(float)
    delay = ((known["charged_back_known_at"] - known["placed_at"]) / day).to_numpy(float)
    delays = estimate_delays(delay[is_reported], age[is_reported])
    numbers = known[list(ORDER_FEATURES)].to_numpy(np.float32)
    return FraudRows(known, numbers, is_fraud, delays.maturity(age), linked(known), delays)


def house_rows(end: datetime) -> FraudRows:
    """The house's orders as known at `end`.

    What a person refused is a fraud from then on, though no bank will ever report it; what the model refused by itself has no label at
    all, since it was never delivered, and is left out.
    """
    labels = read_mart("order_labels")[["order_id", "known_at", "charged_back_known_at"]]
    orders = read_mart("order_features").merge(labels[labels["known_at"] <= end], on="order_id")
    decided = read_mart("decision_outcomes")
    decided = decided[(decided["kind"] == "order") & (decided["arm"] == "refuse") & (decided["known_at"] <= end)]
    by_person = decided[decided["model"] == PERSON].groupby("subject")["known_at"].min()
    by_model = set(decided.loc[decided["model"] == FRAUD.name, "subject"]) - set(by_person.index)
    refused_at = pd.to_datetime(orders["order_id"].map(by_person))
    return rows_known(orders.assign(refused_at=refused_at)[~orders["order_id"].isin(by_model)], end)
