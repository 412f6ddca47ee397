"""What the API answered stands in the log of decisions, and can be asked for by its id."""

from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from serving.decisions import decision_log
from serving.http.answers import SessionBody
from serving.http.parameters import request_rules
from serving.rules import OVERRIDES
from tests.serving.fakes import FakeFront
from tests.serving.web_client import caller, put, shop


@pytest.fixture
def front(house: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFront]:
    decision_log.cache_clear()
    yield put(monkeypatch, shop())
    decision_log().close()
    decision_log.cache_clear()


@pytest.fixture
def client(front: FakeFront) -> TestClient:
    return caller()


def test_a_list_is_logged_with_its_places_and_what_was_not_shown(client: TestClient) -> None:
    answer = client.get("/v1/users/ann/recommendations", params={"k": 2}).json()
    rows = client.get(f"/v1/decisions/{answer['decision_id']}").json()["rows"]
    assert [row["subject"] for row in rows[:2]] == [item["item_id"] for item in answer["items"]]
    assert [(row["rank"], row["propensity"], row["reason"]) for row in rows[:2]] == [(1, 1.0, "ranked"), (2, 1.0, "ranked")]
    assert {row["rank"] for row in rows[2:]} == {None}
    shown, considered = {row["subject"] for row in rows[:2]}, {row["subject"] for row in rows[2:]}
    assert shown | considered == set("acef")  # b was bought, d is out of stock
    assert {(row["user_id"], row["model"], row["model_version"]) for row in rows} == {("ann", "recommender", "3")}
    one = client.get(f"/v1/decisions/{answer['decision_id']}.2").json()["rows"]
    assert [row["subject"] for row in one] == [answer["items"][1]["item_id"]]


def test_a_list_by_popularity_is_logged_as_such(client: TestClient) -> None:
    answer = client.get("/v1/users/bob/recommendations").json()
    row = client.get(f"/v1/decisions/{answer['decision_id']}.1").json()["rows"][0]
    assert (row["model"], row["model_version"], row["score"], row["reason"]) == ("popularity", "2024-03-01", None, "popular")


def test_the_advised_offer_has_rank_one_and_the_others_were_considered(client: TestClient) -> None:
    answer = client.get("/v1/users/ann/offers").json()
    rows = client.get(f"/v1/decisions/{answer['decision_id']}").json()["rows"]
    assert {row["subject"]: row["rank"] for row in rows} == {"coupon": 1, "mail": None}
    assert {row["kind"] for row in rows} == {"offer"}


def test_a_request_sets_rules_and_sees_the_stages(client: TestClient) -> None:
    asked = {"k": 3, "blocked": ["e", "f"], "debug": True, "reasons": True}
    answer = client.get("/v1/users/ann/recommendations", params=asked).json()
    assert [item["item_id"] for item in answer["items"]] == ["c", "a"]
    assert [stage["name"] for stage in answer["stages"]] == ["retrieve", "filter", "rank", "re-rank"]
    assert sorted(answer["stages"][1]["removed"]["blocked"]) == ["e", "f"]
    assert answer["items"][0]["because"][0]["item_id"] == "a"
    assert client.get("/v1/users/ann/recommendations", params={"diversity": 2}).status_code == 422


def test_a_visitor_nobody_knows_gets_a_list_from_the_visit_alone(client: TestClient, front: FakeFront) -> None:
    body = {"events": [{"item_id": "a"}, {"item_id": "c", "event_type": "cart", "occurred_at": "2024-03-01T10:00:00+02:00"}], "k": 2}
    answer = client.post("/v1/recommendations", json=body).json()
    assert (answer["user_id"], answer["source"], len(answer["items"])) == ("", "model", 2)
    assert front.asked[-1][1]["event_item_ids"].tolist() == [["a", "c"]]
    assert front.asked[-1][1]["event_times_us"].tolist()[0][1] == 1709280000 * 10**6  # 08:00 UTC
    row = client.get(f"/v1/decisions/{answer['decision_id']}.1").json()["rows"][0]
    assert row["user_id"] is None
    assert client.post("/v1/recommendations", json={"events": [], "what": 1}).status_code == 422
    assert client.post("/v1/recommendations", json={"events": [], "exploration_share": False}).status_code == 422


def test_items_like_an_item_and_an_unknown_one(client: TestClient) -> None:
    answer = client.get("/v1/items/a/similar", params={"k": 2}).json()
    assert (answer["item_id"], answer["source"], len(answer["items"])) == ("a", "popularity", 2)
    problem = client.get("/v1/items/zzz/similar")
    assert (problem.status_code, problem.json()["type"]) == (404, "/docs#unknown-item")


def test_an_address_and_a_body_set_the_same_rules() -> None:
    assert set(signature(request_rules).parameters) == set(OVERRIDES)
    assert set(SessionBody.model_fields) - {"events", "k", "reasons", "debug"} == set(OVERRIDES)
