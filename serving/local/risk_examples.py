"""Risk decisions on a shop's newest credit applications and on the last day's orders, placed again a day later, since an order is decided
while it is placed: something to see, and some to review."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

from serving.local.api_client import ApiClient, ApiError
from settings import Settings
from sources.files import read_table

MOST = 50  # of each kind
DAY, WEEK = timedelta(days=1), timedelta(days=7)
INSTRUMENTS = ("user_id", "payment_id", "device_id", "address_id")


def risk_decisions(api: ApiClient, settings: Settings, end: date) -> list[dict[str, Any]]:
    """For orders and credit: how many of the newest known before `end` are approved, left to a person, refused, and the riskiest of them. A
    kind that the shop does not deliver, or that no model is served for, is left out."""
    asked: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]], Iterator[dict[str, Any]]]] = {
        "orders": ("verdict", api.order, _orders(settings, end)),
        "credit applications": ("decision", api.credit, _applications(settings, end)),
    }
    found = []
    for kind, (decision, ask, bodies) in asked.items():
        with suppress(ApiError):  # nothing is served: `deploy` says why
            answers = [ask(body) for body in bodies]
            if answers:
                counts = Counter(answer[decision] for answer in answers)
                riskiest = max(answers, key=lambda answer: answer["probability"])
                found.append({"kind": kind, "asked": len(answers), "decisions": dict(counts), "riskiest": riskiest})
    return found


def _orders(settings: Settings, end: date) -> Iterator[dict[str, Any]]:
    for row in _newest(settings, "orders", "placed_at", end - DAY, end):
        yield {
            "order_id": f"{row['order_id']}-again",
            "amount": row["amount"],
            "placed_at": (row["placed_at"] + DAY).replace(tzinfo=UTC).isoformat(),
            **{name: row[name] for name in INSTRUMENTS},
        }


def _applications(settings: Settings, end: date) -> Iterator[dict[str, Any]]:
    for row in _newest(settings, "credit_applications", "applied_at", end - WEEK, end):
        columns = {name: value for name, value in row.items() if name.startswith("x_")}
        yield {"application_id": row["application_id"], "user_id": row["user_id"], "amount": row["amount"], "columns": columns}


def _newest(settings: Settings, table: str, time: str, start: date, end: date) -> list[dict[str, Any]]:
    """Newest sound rows of `[start, end)` first, each id once."""
    sound = [row for row in read_table(settings.landing_dir, table, start, end).to_pylist() if _is_sound(row, time, start, end)]
    own = f"{'order' if table == 'orders' else 'application'}_id"
    by_id = {row[own]: row for row in sound if row[own]}
    return sorted(by_id.values(), key=lambda row: (row[time], row[own]), reverse=True)[:MOST]


def _is_sound(row: dict[str, Any], time: str, start: date, end: date) -> bool:
    """Typed as the contract says, and placed within the days."""
    is_typed = isinstance(row[time], datetime) and isinstance(row["amount"], float) and math.isfinite(row["amount"])
    return is_typed and start <= row[time].date() < end
