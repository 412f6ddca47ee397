"""A warehouse written by hand: the tables of the mart contract with the few rows a test names."""

from datetime import datetime
from typing import Any

import duckdb

from feature_repo.contract import marts
from settings import get_settings

Rows = dict[str, list[dict[str, Any]]]


def day(number: int) -> datetime:
    """Midnight of that day of May 2024."""
    return datetime(2024, 5, number)  # noqa: DTZ001


def write_warehouse(rows: Rows) -> None:
    """Replaces the marts by these rows; columns that a row does not name are null."""
    with duckdb.connect(str(get_settings().warehouse)) as connection:
        connection.execute("create schema if not exists marts")
        for mart in marts().values():
            columns = ", ".join(f"{column.name} {column.data_type}" for column in mart.columns)
            connection.execute(f"create or replace table marts.{mart.name} ({columns})")
            for row in rows.get(mart.name, []):
                marks = ", ".join("?" * len(row))
                connection.execute(f"insert into marts.{mart.name} ({', '.join(row)}) values ({marks})", list(row.values()))


def features(user: str, features_at: int, created_at: int, **values: Any) -> dict[str, Any]:
    """A row of user_features or user_sequences; the times are days of May 2024."""
    return {"user_id": user, "features_at": day(features_at), "created_at": day(created_at), **values}


def small_shop() -> Rows:
    """Two users and an item. Ann's day 2 was corrected on day 5, when one more event of it became known."""
    second = 1_714_608_000_000_000  # 2024-05-02 00:00:00 UTC in microseconds
    return {
        "user_features": [
            features("ann", 2, 2, events_7d=1, spend_7d=10.0, country="NO", last_event_at=datetime(2024, 5, 1, 9, 30, 15, 250_000)),  # noqa: DTZ001
            features("ann", 3, 3, events_7d=2, spend_7d=30.5, top_categories=["toys", "tea"], top_category_shares=[0.75, 0.25]),
            features("ann", 2, 5, events_7d=7, spend_7d=70.0),
            features("bob", 4, 4, events_7d=4, spend_7d=None, top_categories=[]),
        ],
        "user_sequences": [
            features("ann", 2, 2, event_item_ids=["mug"], event_types=["view"], event_times_us=[second - 5]),
            features("ann", 3, 3, event_item_ids=["mug", "pot"], event_types=["view", "cart"], event_times_us=[second - 5, second + 7]),
        ],
        "item_features": [
            {"item_id": "mug", "features_at": day(2), "created_at": day(2), "title": "Mug", "price": 4.5, "in_stock": True, "views_7d": 1}
        ],
        "trait_labels": [{"user_id": "ann", "trait": "gender", "value": "f", "known_at": day(1)}],
    }
