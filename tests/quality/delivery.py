"""Hand-written deliveries: one valid row of every landing table, to spoil one cell at a time."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from quality.warehouse import open_warehouse
from sources.landing import LANDING

DAY = date(2024, 5, 1)
NEXT_DAY = date(2024, 5, 2)
at = datetime.fromisoformat  # naive UTC, as everywhere in files and warehouse
NOON = at("2024-05-01 12:00")

VALID: dict[str, dict[str, Any]] = {
    "users": {"user_id": "u1", "registered_at": at("2023-01-01"), "country": "SE", "city": "Lund", "consent_marketing": True},
    "user_traits": {"user_id": "u1", "trait": "gender", "value": "f", "known_at": at("2023-01-01")},
    "items": {
        "item_id": "i1",
        "title": "Lamp",
        "category": "home > light",
        "brand": "b",
        "price": 9.5,
        "listed_at": NOON,
        "in_stock": True,
    },
    "item_attributes": {"item_id": "i1", "attribute": "colour", "value": "red"},
    "events": {
        "event_id": "e1",
        "user_id": "u1",
        "item_id": "i1",
        "event_type": "purchase",
        "occurred_at": NOON,
        "received_at": NOON,
        "session_id": "s1",
        "order_id": "o1",
        "quantity": 2.0,
        "unit_price": 9.5,
        "rating": 4.0,
    },
    "reviews": {"review_id": "r1", "user_id": "u1", "item_id": "i1", "rating": 4.0, "text": "good", "created_at": NOON},
    "campaign_exposures": {
        "campaign_id": "c1",
        "user_id": "u1",
        "assigned_at": NOON,
        "treatment": "control",
        "propensity": 0.5,
        "cost": 0.1,
        "visited": True,
        "converted": False,
        "spend": 0.0,
        "outcome_at": NOON,
    },
    "credit_applications": {
        "application_id": "a1",
        "user_id": "u1",
        "applied_at": NOON,
        "amount": 100.0,
        "defaulted": False,
        "outcome_at": NOON,
    },
    "orders": {
        "order_id": "o1",
        "user_id": "u1",
        "placed_at": NOON,
        "amount": 19.0,
        "payment_id": "p1",
        "device_id": "d1",
        "address_id": "ad1",
    },
    "chargebacks": {"order_id": "o1", "reported_at": NOON},
    "decisions": {
        "decision_id": "d1",
        "decided_at": NOON,
        "user_id": "u1",
        "kind": "recommendation",
        "subject": "i1",
        "rank": 1,
        "score": 0.5,
        "propensity": 0.5,
        "arm": "a",
        "model": "recommender",
        "model_version": "1",
        "features_at": NOON,
        "reason": "seen",
    },
    "portraits": {"user_id": "u1", "as_of": NOON, "model_version": "1", "vector": [0.5, -0.5], "portrait": "{}"},
}


def row(table: str, **cells: Any) -> dict[str, Any]:
    """The table's valid row with some cells changed."""
    return VALID[table] | cells


def write_day(house: Path, table: str, rows: list[dict[str, Any]], ds: date = DAY, part: int = 0) -> Path:
    """Writes one landing file, types as Arrow infers them, and returns its path."""
    folder = house / "landing" / table / f"ds={ds}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"part-{part}.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def rows_kept(query: str = "") -> list[tuple]:
    """Every row of the landing tables, the quarantine and the ledger, in an order of their own."""
    with open_warehouse() as connection:
        books = ["quarantine.rows", "quarantine.releases", "landing._loads", "landing._absent", "landing._profiles"]
        tables = [query] if query else [*(f"landing.{name}" for name in LANDING), *books]
        return [row for table in tables for row in connection.execute(f"from {table} order by all").fetchall()]
