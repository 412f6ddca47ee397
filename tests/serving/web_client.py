"""Clients of the API and the web page in this process, over hand-written customers and items."""

import json
import re
import shutil
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from feature_repo.contract import PORTRAITS, mart
from serving import keys
from serving.api import create_app
from serving.portraits import PROBABILITIES
from serving.shop_front import ItemCard
from settings import get_settings
from tests.serving.fakes import FakeFront

PAGE = {"accept": "text/html"}
_ARROW = {
    "string": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "timestamp": pa.timestamp("us"),
    "string_list": pa.list_(pa.string()), "int_list": pa.list_(pa.int64()), "float_list": pa.list_(pa.float64()),
}  # fmt: skip


def shop() -> FakeFront:
    """Ann has viewed, bought and carted; bob is known and has done nothing; item d is out of stock."""
    history = {"event_item_ids": ["a", "b", "c"], "event_types": ["view", "purchase", "cart"], "event_times_us": [1, 2, 3]}
    ann = history | {"events_total": 3, "spend_90d": 12.5, "events_30d": 3}
    bob: dict[str, Any] = {name: [] for name in history} | {"events_total": 0}
    items = {name: ItemCard(name, f"Title {name}", "toys", None, 2.5, name != "d") for name in "abcdef"}
    told = {"features_at": datetime(2024, 2, 20, tzinfo=UTC)}  # with a zone, as the online store tells it
    rows = {name: {"user_id": name, **told, **row} for name, row in {"ann": ann, "bob": bob, "a/b": ann}.items()}
    made = FakeFront(rows, items, ranking=list("dbfeca"))
    made.settings = get_settings()
    status = {3: SimpleNamespace(state="AVAILABLE")}
    made.models = SimpleNamespace(status=lambda model, timeout_s: status)  # type: ignore[attr-defined]
    return made


def put(monkeypatch: pytest.MonkeyPatch, front: FakeFront) -> FakeFront:
    """Every consumer stands on this shop front, and segments of one customer are shown."""
    monkeypatch.setenv("PORTRAIT_LEAST_SEGMENT", "1")
    get_settings.cache_clear()
    create_app()  # all modules are loaded
    for name, module in list(sys.modules.items()):
        if name.startswith("serving.") and hasattr(module, "front"):
            monkeypatch.setattr(module, "front", lambda: front)
    return front


def caller(*scopes: str, app: FastAPI | None = None) -> TestClient:
    """A program with a key of these scopes; of none, with the house's own."""
    keys.make_secrets(get_settings())
    key = keys.KeyRing.of(get_settings()).add("test", scopes) if scopes else keys.house_key(get_settings())
    return TestClient(app or create_app(), headers={"Authorization": f"Bearer {key}"})


def visitor(*scopes: str, app: FastAPI | None = None, language: str = "en") -> TestClient:
    """A person who has logged in with such a key."""
    keys.make_secrets(get_settings())
    key = keys.KeyRing.of(get_settings()).add("test", scopes) if scopes else keys.house_key(get_settings())
    client = TestClient(app or create_app(), headers=PAGE | {"accept-language": language})
    assert client.post("/login", data={"key": key}, follow_redirects=False).status_code == 303
    return client


def form_token(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def day(text: str) -> datetime:
    """`03-01` is that midnight of 2024."""
    return datetime.fromisoformat(f"2024-{text}")


def said(toys: float, segment: str = "browsers, quiet", chance: float = 0.5, female: float | None = None) -> str:
    """A stored portrait, as the daily scoring writes it; without the traits' probabilities, which were not stored once, where `female` is
    None."""
    told: dict[str, Any] = {"traits": {"gender": "female", "age_band": "unknown"}, "interests": {"books": 1 - toys, "toys": toys}}
    if female is not None:
        told["trait_probabilities"] = {"age_band": {"18-24": 0.5, "25-34": 0.5}, "gender": {"male": 1 - female, "female": female}}
    told |= {"next_category": "toys", "interest_alarm": False, "segment": segment, "expected_spend_90d": 40.0}
    return json.dumps(told | dict.fromkeys(PROBABILITIES, chance))


def portrait_row(user: str, at: str, known: str, told: str, version: str = "2") -> dict[str, Any]:
    times = {"features_at": day(at), "created_at": day(known)}
    return {"user_id": user, "model_version": version, "vector": [0.5, -0.5], "portrait": told, **times}


def consent(user: str, at: str = "01-01", marketing: bool = True) -> dict[str, Any]:
    """What a user agreed to, as the mart has it."""
    others = {"has_personalisation_consent": True, "has_credit_consent": False}
    return {"user_id": user, "known_at": day(at), "has_marketing_consent": marketing, **others}


def furnish() -> None:
    """What a house publishes of ann and bob: features of two days, and ann's portraits of two, the second corrected a day later."""
    features = [
        {"user_id": user, "features_at": day(at), "created_at": day(at), "events_total": total, "spend_90d": spend, "events_30d": total}
        for user, at, total, spend in (("ann", "02-01", 1, 5.0), ("ann", "02-20", 3, 12.5), ("bob", "02-01", 0, 0.0))
    ]
    publish("user_features", features)
    history = {"event_item_ids": ["a"], "event_types": ["view"], "event_times_us": [1]}
    publish("user_sequences", [{"user_id": "ann", "features_at": day("02-01"), "created_at": day("02-01"), **history}])
    publish("user_daily", [])
    publish("user_consents", [consent(user) for user in ("ann", "bob")])
    publish("order_features", [])
    rows = [
        portrait_row("ann", "02-05", "02-05", said(0.25)),
        portrait_row("ann", "02-20", "02-20", said(0.5, chance=0.7)),
        portrait_row("ann", "02-20", "02-22", said(0.75, "buyers", 0.9, female=0.75), "3"),
        portrait_row("bob", "02-20", "02-20", said(0.1, chance=0.1)),
    ]
    publish(PORTRAITS, rows)


def publish(name: str, rows: list[dict[str, Any]], until: datetime | None = None) -> None:
    """Rows of a mart as the house publishes them, a file for each day of the mart's export time, or all in the file of the day `until`,
    beside what is published; columns that a row lacks are null."""
    columns = mart(name).columns
    schema = pa.schema([(column.name, _ARROW[column.kind]) for column in columns])
    folder = get_settings().offline_dir / name
    if until is None:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(schema.empty_table(), folder / "schema.parquet")
    export = mart(name).export
    days = [(until or row[export]).date() for row in rows]
    for known in set(days):
        full = [{column.name: row.get(column.name) for column in columns} for row, at in zip(rows, days, strict=True) if at == known]
        (folder / f"day={known}").mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(full, schema), folder / f"day={known}" / "part-0.parquet")
