"""The tables that stand beside a customer's events: orders and chargebacks, reviews, campaign exposures, credit applications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from training.gan.columns import FEWEST_ROWS
from training.synthesize_profiles import DAY_S

#: Of a table whose rows the GAN draws: its id, the time it begins with, further times, and the columns that are learned besides `x_` ones.
FLAT: dict[str, tuple[str | None, str, tuple[str, ...], tuple[str, ...]]] = {
    "campaign_exposures": (
        None,
        "assigned_at",
        ("outcome_at",),
        ("campaign_id", "treatment", "propensity", "cost", "visited", "converted", "spend"),
    ),
    "credit_applications": ("application_id", "applied_at", ("outcome_at",), ("amount", "defaulted")),
}


def flat_rows(name: str, table: pd.DataFrame, start: pd.Timestamp) -> pd.DataFrame:
    """Rows as the GAN learns them: times become days, ids go; a column that is never known is left out."""
    _, time, others, columns = FLAT[name]
    rows = pd.DataFrame({"day": ((table[time] - start).dt.total_seconds() / DAY_S).round(2)})
    for other in others:
        rows[f"days to {other}"] = ((table[other] - table[time]).dt.total_seconds() / DAY_S).round(2)
    for column in (*columns, *sorted(column for column in table if column.startswith("x_"))):
        values = table[column]
        rows[column] = values if pd.api.types.is_numeric_dtype(values) else values.astype(object).where(values.notna(), None)
    return rows.dropna(axis=1, how="all").reset_index(drop=True)


def landed(name: str, rows: pd.DataFrame, ids: np.ndarray, start: pd.Timestamp, random: np.random.Generator) -> pd.DataFrame:
    """Drawn rows as the landing table `name`, given to the customers `ids` by lot; of a key that came twice, the first row."""
    key, time, others, _ = FLAT[name]
    table = rows[[column for column in rows if column != "day" and not column.startswith("days to ")]].copy()
    table[time] = start + pd.to_timedelta((rows["day"] * DAY_S).round(), unit="s")
    for other in others:
        days = rows[f"days to {other}"] if f"days to {other}" in rows else pd.Series(np.nan, rows.index)
        table[other] = table[time] + pd.to_timedelta((days.clip(lower=0) * DAY_S).round(), unit="s")
    table["user_id"] = random.choice(ids, len(rows))
    if key:
        table[key] = [f"sa{number:08d}" for number in range(len(rows))]
        return table
    for places in table.groupby("campaign_id").indices.values():
        table.iloc[places, table.columns.get_loc("user_id")] = random.permutation(np.resize(ids, max(len(places), len(ids))))[: len(places)]
    return table.drop_duplicates(["campaign_id", "user_id"])


@dataclass(frozen=True)
class OrderHabits:
    """How often an order's instrument is shared, an order becomes a chargeback and after how many days, and a sale is reviewed."""

    shared: dict[str, float]
    charged_back: float
    days: np.ndarray
    reviewed: float
    ratings: np.ndarray

    @classmethod
    def of(cls, tables: dict[str, pd.DataFrame]) -> OrderHabits:
        """From the landing tables; a habit that too few people show is none."""
        orders, back, reviews, events = (tables[name] for name in ("orders", "chargebacks", "reviews", "events"))
        shared = {}
        for name in ("payment_id", "device_id", "address_id"):
            people = orders.groupby(name)["user_id"].nunique() if len(orders) else pd.Series(dtype=float)
            known = orders[name].map(people) if len(orders) else pd.Series(dtype=float)
            shared[name] = float((known > 1).mean()) if len(known) else 0.0
        met = back.merge(orders, on="order_id") if len(back) and len(orders) else pd.DataFrame()
        is_enough = len(met) >= FEWEST_ROWS
        days = ((met["reported_at"] - met["placed_at"]).dt.total_seconds() / DAY_S).round().clip(lower=0) if is_enough else pd.Series([0.0])
        sold = int((events["event_type"] == "purchase").sum())
        stars = reviews["rating"].dropna()
        common = stars[stars.groupby(stars).transform("size") >= FEWEST_ROWS].to_numpy() if len(stars) else np.zeros(0)
        share = len(reviews) / sold if sold and len(reviews) >= FEWEST_ROWS else 0.0
        return cls(
            shared,
            len(met) / len(orders) if is_enough else 0.0,
            days.to_numpy(),
            min(share, 1.0),
            common if len(common) else np.array([np.nan]),
        )

    def orders(self, events: pd.DataFrame, end: pd.Timestamp, random: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
        """`orders` and `chargebacks` of drawn events: an amount is the sum of its lines, and what comes after `end` is not known yet."""
        sold = events[events["event_type"] == "purchase"]
        lines = sold.assign(amount=sold["quantity"] * sold["unit_price"]).groupby("order_id", sort=True)
        table = lines.agg(user_id=("user_id", "first"), placed_at=("occurred_at", "min"), amount=("amount", "sum")).reset_index()
        table["amount"] = table["amount"].round(2)
        people, names = pd.factorize(table["user_id"])
        for name, share in self.shared.items():
            other = random.integers(0, max(len(names), 1), len(table))
            whose = np.where(random.random(len(table)) < share / 2, other, people)
            table[name] = [f"s{name[0]}{number:07d}" for number in whose]
        chosen = table[random.random(len(table)) < self.charged_back]
        waits = pd.to_timedelta(random.choice(self.days, len(chosen)), unit="D")
        back = pd.DataFrame({"order_id": chosen["order_id"], "reported_at": chosen["placed_at"] + waits})
        return table, back[back["reported_at"] < end]

    def reviews(self, events: pd.DataFrame, end: pd.Timestamp, random: np.random.Generator) -> pd.DataFrame:
        """`reviews` of drawn sales; their words are never copied and stay empty."""
        sold = events[events["event_type"] == "purchase"].drop_duplicates(["user_id", "item_id"])
        chosen = sold[random.random(len(sold)) < self.reviewed]
        found: dict[str, Any] = {
            "review_id": [f"sr{number:08d}" for number in range(len(chosen))],
            "user_id": chosen["user_id"],
            "item_id": chosen["item_id"],
            "rating": random.choice(self.ratings, len(chosen)),
            "created_at": chosen["occurred_at"] + pd.to_timedelta(random.uniform(1, 7, len(chosen)).round(3), unit="D").round("s"),
        }
        return pd.DataFrame(found)[lambda table: table["created_at"] < end]
