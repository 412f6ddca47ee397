# ruff: noqa: DTZ001 - the house's times are UTC without a zone
"""A feature repository in memory, for training runs that need no house."""

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from training.signatures import USER_FEATURES


class FakeFeatures:
    """Marts in memory, with the doors of `feature_repo.frames`: everything is known at once, histories keep the newest five events."""

    newest = 5

    def __init__(self, events: pd.DataFrame, marts: dict[str, pd.DataFrame]) -> None:
        self.events, self.marts = events, marts

    def training_frame(self, service: str, labels: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for user, at in zip(labels["user_id"], labels["event_timestamp"], strict=True):
            own = self.events[(self.events["user_id"] == user) & (self.events["at"] < at)].tail(self.newest)
            numbers = dict.fromkeys(USER_FEATURES, float(len(own)) if len(own) else np.nan)
            lists = own["item_id"].to_numpy(object), own["type"].to_numpy(object), own["at"].to_numpy("datetime64[us]").astype(np.int64)
            known = dict(zip(("event_item_ids", "event_types", "event_times_us"), lists if len(own) else (None, None, None), strict=True))
            rows.append({**known, **numbers})
        columns = ["event_item_ids", "event_types", "event_times_us", *USER_FEATURES]
        return pd.concat([labels.reset_index(drop=True), pd.DataFrame(rows, columns=columns)], axis=1)

    def rows_as_of(self, view: str, as_of: datetime) -> pd.DataFrame:
        known = self.events[self.events["at"] < as_of]
        if view == "user_sequences":
            return pd.DataFrame({"user_id": sorted(known["user_id"].unique())}, dtype=object)
        if view == "user_features":
            return known[known["at"] >= as_of - timedelta(days=90)].groupby("user_id").size().rename("spend_90d").reset_index()
        items = pd.DataFrame({"item_id": sorted(known["item_id"].unique())}, dtype=object)
        return items.assign(title="a thing", category="things", brand=None, price=1.0, attributes=None)

    def read_mart(self, name: str, start: date | None = None, end: date | None = None) -> pd.DataFrame:
        return self.marts[name].copy()


def no_labels() -> dict[str, pd.DataFrame]:
    times = {"label_at": "datetime64[us]", "known_at": "datetime64[us]"}
    columns = ["user_id", "label_at", "known_at", "is_purchased_7d", "is_purchased_30d", "is_active_7d", "is_active_30d"]
    outcomes = ["is_visited", "is_converted", "spend", "outcome_at"]
    campaigns = ["campaign_id", "user_id", "assigned_at", "treatment", "propensity", *outcomes, "covariates"]
    credit = ["application_id", "user_id", "applied_at", "amount", "is_defaulted", "outcome_at", "covariates"]
    return {
        "next_purchase_labels": pd.DataFrame(columns=columns).astype(times),
        "trait_labels": pd.DataFrame(columns=["user_id", "trait", "value", "known_at"]),
        "campaign_outcomes": pd.DataFrame(columns=campaigns),
        "credit_outcomes": pd.DataFrame(columns=credit).astype({"applied_at": "datetime64[us]", "outcome_at": "datetime64[us]"}),
    }


def events_of(users: int, items: int, days: int = 60) -> pd.DataFrame:
    """User n looks every fourth day, from day n % 4, at the next item of a ring."""
    rows = [
        (f"u{user:02d}", f"i{(user + step) % items}", "view", datetime(2024, 1, 1) + timedelta(days=day, hours=12))
        for user in range(users)
        for step, day in enumerate(range(user % 4, days, 4))
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "type", "at"]).sort_values("at", kind="stable")


def labels_at(times: list[datetime], users: int = 40) -> pd.DataFrame:
    """A label of every user at every time, known 30 days later: all are active, every third one buys."""
    rows = [(f"u{user:02d}", at, user % 3 == 0) for at in times for user in range(users)]
    labels = pd.DataFrame(rows, columns=["user_id", "label_at", "is_purchased_7d"])
    known_at = labels["label_at"] + timedelta(days=30)
    return labels.assign(known_at=known_at, is_purchased_30d=labels["is_purchased_7d"], is_active_7d=True, is_active_30d=True)
