"""What consumers stand on: the clock, the items in memory, and what is said when the feature store or the model server is away."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serving import shop_front
from serving.errors import NotServed
from serving.item_table import ItemTable, table_of
from serving.model_client import DeadlineExceeded, InvalidRequest, ModelClient, ModelNotFound, ModelUnavailable, Prediction
from serving.recommend import recommend
from serving.release_state import Release, write
from serving.rules import Rules
from serving.shop_front import ShopFront


class Store:
    """An online store that answers, or raises `fault`."""

    fault: Exception | None = None
    reads = 0

    def read(self, service: str, ids: list[str]) -> list[dict[str, Any]]:
        self.reads += 1
        if self.fault:
            raise self.fault
        return [{"user_id": one} for one in ids]


class Models:
    """A model client that answers version 4, or raises `fault`."""

    fault: Exception | None = None
    calls = 0

    def predict(self, model: str, inputs: dict[str, Any], **chosen: Any) -> Prediction:
        self.calls += 1
        self.chosen = chosen
        if self.fault:
            raise self.fault
        return Prediction({}, 4)


@pytest.fixture
def front(house: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShopFront]:
    monkeypatch.setattr(shop_front, "OnlineFeatures", Store)
    (house / "offline" / "user_features" / "day=2024-03-01").mkdir(parents=True)
    (house / "offline" / "item_features" / "day=2024-03-02").mkdir(parents=True)
    front = ShopFront()
    front.models.close()
    front.models = Models()  # type: ignore[assignment]
    yield front


def test_the_clock_is_the_newest_published_midnight(front: ShopFront) -> None:
    assert front.clock() == datetime(2024, 3, 2)  # noqa: DTZ001


def rows(title: str) -> pd.DataFrame:
    counts = {"purchases_30d": [0, 2], "events_30d": [5, 2], "events_total": [5, 2]}
    facts = {
        "title": [title, None],
        "category": ["toys > cars", None],
        "brand": [None, "B"],
        "price": [2.5, np.nan],
        "in_stock": [False, None],
    }
    return pd.DataFrame({"item_id": ["b", "a"], **facts, **counts})


def test_items_are_read_once_a_day_and_requests_see_the_old_ones_until_the_new_are_there(
    front: ShopFront, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()
    read: list[datetime] = []

    def reading(as_of: datetime) -> ItemTable:
        read.append(as_of)
        if len(read) > 1:
            assert may_end.wait(10)
        return table_of(as_of, rows(f"of {as_of:%d}"))

    monkeypatch.setattr(front, "_read_items", reading)
    assert [card.title for card in front.cards(["b", "a", "zz"])] == ["of 02", None, None]
    assert front.item_table() is front.item_table()
    (house / "offline" / "item_features" / "day=2024-03-03").mkdir()
    front._fresh_until = 0.0
    assert [front.cards(["b"])[0].title for _ in range(3)] == ["of 02"] * 3
    may_end.set()
    until = time.monotonic() + 10
    while front.cards(["b"])[0].title == "of 02":
        assert time.monotonic() < until
        time.sleep(0.01)
    assert front.cards(["b"])[0].title == "of 03"
    assert [f"{day:%d}" for day in read] == ["02", "03"]


def test_a_table_holds_what_the_rows_say() -> None:
    vectors = pd.DataFrame(
        {"item_id": ["a", "b", "b"], "text_vector": [[3.0, 4.0], [1.0], None], "text_version": ["2024-02", "2024-01", "2024-02"]}
    )
    table = table_of(datetime(2024, 3, 2), rows("T"), vectors)  # noqa: DTZ001
    a, b = (table.card(place) for place in table.places_of(["a", "b"]))
    assert (a.title, a.category, a.brand, a.price, a.in_stock) == (None, None, "B", None, True)
    assert (b.title, b.category, b.brand, b.price, b.in_stock) == ("T", "toys > cars", None, 2.5, False)
    assert table.item_ids[table.by_popularity].tolist() == ["a", "b"]  # by purchases before events
    assert table.vector_version == "2024-02"
    np.testing.assert_allclose(table.vectors, [[0.6, 0.8], [0.0, 0.0]])  # of an older version nothing compares


def test_a_feature_store_that_does_not_answer_is_named_and_then_left_alone(front: ShopFront) -> None:
    store: Any = front.features
    store.fault = OSError("no route")
    for _ in range(8):
        with pytest.raises(NotServed, match="The feature store does not answer"):
            front.user_row("recommender_v1", "ann")
    assert store.reads == 5


@pytest.mark.parametrize(
    ("fault", "message", "asked"),
    [
        (ModelUnavailable("x"), "The model server at .* does not answer", 5),
        (DeadlineExceeded("x"), "The model server at .* (takes too long|does not answer)", 5),
        (ModelNotFound("x"), "No model `recommender` is served: none was published", 8),
        (InvalidRequest("x"), "The served model `recommender` does not take what this shop asks", 8),
    ],
)
def test_a_model_server_that_does_not_answer_costs_five_requests_their_patience(
    front: ShopFront, fault: Exception, message: str, asked: int
) -> None:
    models: Any = front.models
    models.fault = fault
    for _ in range(8):
        with pytest.raises(NotServed, match=message):
            front.predict("recommender", {})
    assert models.calls == asked


def test_a_model_server_that_accepts_and_never_answers_does_not_cost_every_request_its_deadline(
    front: ShopFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "_read_items", lambda as_of: table_of(as_of, rows("T")))
    monkeypatch.setattr(front, "rules", lambda: Rules(deadline_ms=100.0))
    history = {"event_item_ids": ["a"], "event_types": ["view"], "event_times_us": [1]}
    monkeypatch.setattr(front, "user_row", lambda service, user_id: history)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        front.models = ModelClient(f"127.0.0.1:{silent.getsockname()[1]}")
        begun = time.monotonic()
        answers = [recommend("ann", 2, shop=front) for _ in range(60)]
        passed = time.monotonic() - begun
        front.models.close()
    assert {answer.source for answer in answers} == {"popularity"}
    assert [place.card.item_id for place in answers[-1].items] == ["a"]  # b is out of stock
    assert "it failed too often just now" in str(answers[-1].note)
    assert 0.5 < passed < 2.5  # five deadlines, not sixty


def test_a_patience_and_the_label_of_a_users_release_reach_the_model(front: ShopFront) -> None:
    models: Any = front.models
    assert front.predict("recommender", {}, user_id="ann", timeout_s=0.3).label is None
    assert (models.chosen["label"], models.chosen["timeout_s"]) == (None, 0.3)
    write(Release("recommender", stable=4, canary=5, share=1.0), front.settings)
    assert front.predict("recommender", {"x": np.zeros(1)}, user_id="ann").label == "canary"
    assert models.chosen["label"] == "canary"
    assert front.predict("recommender", {}).label == "stable"  # nobody's request
    assert models.chosen["label"] == "stable"


def test_without_published_features_the_way_out_is_named(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop_front, "OnlineFeatures", lambda: None)
    with pytest.raises(NotServed, match=r"No features are published yet. Run the `ingest` DAG"):
        shop_front.ShopFront().clock()


def test_why_a_model_is_not_served_is_the_skip_else_the_verdict_else_the_way_out(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop_front, "OnlineFeatures", lambda: None)
    front = shop_front.ShopFront()
    run = house / "candidates" / "recommender" / "run"
    run.mkdir(parents=True)
    assert front._why_missing("recommender") == "none was published. Run the `train` DAG, then `deploy`."
    (run / "verdict.json").write_text('{"promoted": false, "reason": "NDCG@10 .1 is not above popularity .2."}')
    assert front._why_missing("recommender") == "the gate did not let its candidate through. NDCG@10 .1 is not above popularity .2."
    (run.parent / "skipped.json").write_text('{"reason": "no events"}')
    assert front._why_missing("recommender") == "no events"
