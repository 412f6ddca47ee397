"""The API over hand-written customers: keys, scopes, problems, request ids, limits, metrics and logs, and what each route answers."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving import keys
from serving.api import create_app
from serving.http import envelope, v1
from serving.http.logs import JsonLines
from serving.http.problems import KINDS
from serving.model_client import DeadlineExceeded
from settings import get_settings
from tests.serving.fakes import FakeFront
from tests.serving.web_client import caller, furnish, put, shop
from training.signatures import SERVED_MODELS

V1 = {
    "/v1/users/ann/portrait": "read:portrait",
    "/v1/users/ann/portrait/changes?since=2024-01-01&until=2024-01-02": "read:portrait",
    "/v1/users/ann/recommendations": "read:recommendations",
    "/v1/users/ann/offers": "read:offers",
    "/metrics": "read:operations",
}


@pytest.fixture
def front(house: Path, monkeypatch: pytest.MonkeyPatch) -> FakeFront:
    monkeypatch.setattr(v1, "changes", lambda user, since, until: {"interests.toys": (0.5, 0.75)})
    furnish()
    return put(monkeypatch, shop())


@pytest.fixture
def client(front: FakeFront) -> TestClient:
    return caller()


def is_problem(answer: Any, status: int, kind: str) -> dict[str, Any]:
    """The answer's body, which is the problem of that kind."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body = answer.json()
    assert (body["type"], body["title"], body["status"]) == (f"/docs#{kind}", KINDS[kind][1], status)
    assert body["request_id"] == answer.headers["x-request-id"] and body["detail"]
    return body


def test_without_a_key_only_health_answers(client: TestClient) -> None:
    bare = TestClient(client.app)
    document = client.get("/openapi.json").json()
    asked = [(method, path.replace("{user_id}", "ann")) for path, methods in document["paths"].items() for method in methods]
    asked += [("get", path) for path in ("/", "/segments", "/releases", "/quality", "/quality/", "/docs", "/openapi.json", "/dbt/")]
    answered = {path for method, path in asked if bare.request(method, path).status_code < 400}
    assert answered == {"/healthz", "/readyz"}
    refused = is_problem(bare.get("/v1/users/ann/portrait"), 401, "no-key")
    assert "needs a key, as `Authorization: Bearer <key>`. Received none. Make one with `portrait keys add`." in refused["detail"]
    assert bare.get("/v1/users/ann/portrait").headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("sent", ["Bearer nonsense", "Basic YTpi", "Bearer", "bearer  ", "Bearer pk_1_2"])
def test_a_wrong_key_is_refused(client: TestClient, sent: str) -> None:
    refused = is_problem(TestClient(client.app).get("/v1/users/ann/portrait", headers={"Authorization": sent}), 401, "no-key")
    assert "needs a key" in refused["detail"]


def test_a_cookie_of_the_web_page_opens_no_route_of_the_api(client: TestClient) -> None:
    browser = TestClient(client.app)
    browser.post("/login", data={"key": keys.house_key(get_settings())})
    assert browser.get("/", headers={"accept": "text/html"}).status_code == 200
    is_problem(browser.get("/v1/users/ann/portrait"), 401, "no-key")


@pytest.mark.parametrize("path", V1)
def test_a_key_opens_what_its_scopes_say_and_nothing_else(front: FakeFront, path: str) -> None:
    assert caller(V1[path]).get(path).status_code == 200
    others = [scope for scope in keys.SCOPES if scope not in (V1[path], "admin")]
    answer = caller(*others).get(path)
    assert f"needs a key with the scope `{V1[path]}`" in is_problem(answer, 403, "scope-missing")["detail"]
    assert f'scope="{V1[path]}"' in answer.headers["www-authenticate"]


def test_every_route_of_the_document_is_typed_and_names_its_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1.")
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            success = next(answer for status, answer in told["responses"].items() if status.startswith("2"))
            [(kind, content)] = success["content"].items()
            assert "$ref" in content["schema"] or kind == "text/plain", (method, path)
            if path not in ("/healthz", "/readyz"):
                assert {"401", "403", "422", "429", "500"} <= set(told["responses"]), (method, path)
                assert told["security"][0]["key"], (method, path)


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("get", "/v1/users/nobody/portrait", 404, "unknown-user"),
        ("get", "/v1/users/nobody/offers", 404, "unknown-user"),
        ("get", "/v1/users/nobody/portrait/changes?since=2024-01-01&until=2024-01-02", 404, "unknown-user"),
        ("get", "/v1/users/ann/portrait/changes?since=2024-01-02&until=2024-01-01", 400, "bad-request"),
        ("get", "/v1/users/ann/portrait/changes?since=2024-01-02", 422, "invalid-parameters"),
        ("get", "/v1/users/ann/recommendations?k=0", 422, "invalid-parameters"),
        ("get", "/v1/users/ann/recommendations?k=201", 422, "invalid-parameters"),
        ("get", "/v1/users/ann/recommendations?k=ten", 422, "invalid-parameters"),
        ("get", "/v1/users/ann/portrait?as_of=yesterday", 422, "invalid-parameters"),
        ("get", "/v1/users/ann/portrait?asof=2024-02-01", 422, "invalid-parameters"),
        ("get", f"/v1/users/{'x' * 201}/portrait", 422, "invalid-parameters"),
        ("get", "/v1/nothing", 404, "not-found"),
        ("get", "/nothing", 404, "not-found"),
        ("delete", "/v1/users/ann/portrait", 405, "method-not-allowed"),
        ("post", "/v1/campaigns", 422, "invalid-parameters"),
    ],
)
def test_every_error_is_a_problem(client: TestClient, method: str, path: str, status: int, kind: str) -> None:
    body = is_problem(client.request(method, path), status, kind)
    assert body["instance"] == path.split("?")[0]
    if kind == "invalid-parameters":
        where, message = body["errors"][0]["location"], body["errors"][0]["message"]
        assert where[0] in ("query", "path", "body") and message
        assert str(where[-1]) in body["detail"]


def test_a_method_that_is_not_for_an_address_is_told_which_is(client: TestClient) -> None:
    answer = client.delete("/v1/users/ann/portrait")
    assert (answer.headers["allow"], "takes GET" in answer.json()["detail"]) == ("GET", True)


def test_what_nobody_foresaw_is_told_without_its_text_and_logged_without_values(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(user: str, *_: Any, **__: Any) -> None:
        raise RuntimeError(f"secret of {user}")

    monkeypatch.setattr(v1, "recommend", broken)
    with caplog.at_level(logging.INFO, "portrait.api"):
        body = is_problem(client.get("/v1/users/ann/recommendations"), 500, "internal-error")
    assert "secret" not in json.dumps(body)
    lines = [JsonLines().format(record) for record in caplog.records]
    told = json.loads(lines[0])
    assert (told["error"], told["request_id"]) == ("RuntimeError", body["request_id"])
    assert told["where"][-1].endswith(" broken") and "secret" not in "".join(lines) and "ann" not in "".join(lines)


def test_a_model_server_that_is_too_slow_is_503(client: TestClient, front: FakeFront, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any, **__: Any) -> None:
        raise DeadlineExceeded("uplift at 127.0.0.1:8500 did not answer within 10 s.")

    monkeypatch.setattr(front, "predict", slow)
    assert "did not answer within 10 s" in is_problem(client.get("/v1/users/ann/offers"), 503, "not-served")["detail"]


def test_a_model_that_is_not_served_is_503_with_the_reason(client: TestClient, front: FakeFront) -> None:
    front.away = "No model `uplift` is served: this shop delivered no campaign_exposures"
    assert is_problem(client.get("/v1/users/ann/offers"), 503, "not-served")["detail"] == front.away


@pytest.mark.parametrize("given", ["abcdefgh", "6a7b-8c9d_0.E", "x" * 64])
def test_a_well_formed_request_id_is_kept(client: TestClient, given: str) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "has space in it", "<script>alert(1)</script>", "caf\xe9caf\xe9caf\xe9"])
def test_any_other_is_replaced(client: TestClient, given: str) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": given.encode("latin-1")})
    assert answer.headers["x-request-id"] != given and len(answer.headers["x-request-id"]) == 16


def test_a_key_that_asks_too_often_is_told_when_to_come_back_and_others_are_not_held_up(
    front: FakeFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_API_RATE", "0.5")
    monkeypatch.setenv("PORTRAIT_API_BURST", "3")
    get_settings.cache_clear()
    app = create_app()
    greedy, modest = caller("read:portrait", app=app), caller("read:portrait", app=app)
    answers = [greedy.get("/v1/users/ann/portrait") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert "may ask 0.5 times a second, 3 at once" in is_problem(answers[3], 429, "too-many-requests")["detail"]
    assert answers[3].headers["retry-after"] == "2"
    assert modest.get("/v1/users/ann/portrait").status_code == 200
    assert greedy.get("/healthz").status_code == 200


def test_a_body_over_its_limit_is_refused_before_it_is_read_whole(client: TestClient) -> None:
    read = []

    def body() -> Any:
        for _ in range(100):
            read.append(1)
            yield b" " * 10_000

    answer = client.post("/v1/campaigns", content=body(), headers={"content-type": "application/json"})
    assert str(envelope.MAX_BODY) in is_problem(answer, 413, "too-large")["detail"]


def test_headers_keep_a_browser_from_guessing_and_from_other_hosts(client: TestClient) -> None:
    headers = client.get("/v1/users/ann/portrait").headers
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; script-src 'self'")


def test_a_line_is_logged_for_every_request_and_names_no_person(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "portrait.api"):
        client.get("/v1/users/ann/portrait?as_of=2024-01-01", headers={"X-Request-ID": "trace-0001"})
        client.get("/v1/users/ann/recommendations")
        client.get("/v1/ann")
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records if record.msg == "request"]
    assert [line["route"] for line in lines] == ["/v1/users/{user_id}/portrait", "/v1/users/{user_id}/recommendations", "unmatched"]
    assert lines[0]["request_id"] == "trace-0001" and lines[0]["method"] == "GET" and lines[0]["ms"] >= 0
    assert lines[1]["status"] == 200 and lines[1]["key"] == keys.house_key(get_settings()).split("_")[1]
    assert set(lines[1]) == {"time", "level", "logger", "event", "method", "route", "status", "ms", "request_id", "key"}
    assert "ann" not in caplog.text


def test_metrics_count_by_template_and_hold_no_id(client: TestClient) -> None:
    client.get("/v1/users/ann/recommendations")
    client.get("/v1/users/bob/recommendations")
    client.get("/v1/users/nobody/portrait")
    text = client.get("/metrics").text
    for line in (
        'portrait_api_requests_total{method="GET",route="/v1/users/{user_id}/recommendations",status="200"} 2.0',
        'portrait_api_requests_total{method="GET",route="/v1/users/{user_id}/portrait",status="404"} 1.0',
        'portrait_api_request_seconds_count{route="/v1/users/{user_id}/recommendations"} 2.0',
        'portrait_api_recommendations_total{source="model"} 1.0',
        'portrait_api_recommendations_total{source="popularity"} 1.0',
        "portrait_api_requests_in_flight 1.0",
    ):
        assert line in text
    assert "ann" not in text and "nobody" not in text


def test_ready_says_what_is_missing_and_names_nobody(client: TestClient, front: FakeFront, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert ready.json()["checks"] == {"features": "ok", "online store": "ok"} | {f"model {name}": "version 3" for name in SERVED_MODELS}
    monkeypatch.setattr(front, "user_row", lambda service, user: 1 / 0)
    away = client.get("/readyz")
    assert (away.status_code, away.json()["checks"]["online store"]) == (503, "does not answer")


def test_a_portrait_says_from_when_and_which_model_each_line_is(client: TestClient) -> None:
    body = client.get("/v1/users/ann/portrait").json()
    assert (body["as_of"], body["known"]["spend_90d"]) == ("2024-03-01T00:00:00Z", 12.5)
    told = body["inferred"]
    assert (told["source"], told["told_at"], told["model_version"]) == ("live", "2024-03-01T00:00:00Z", 3)
    assert told["traits"] == [{"name": "gender", "value": "female", "probabilities": {"female": 0.7, "male": 0.3}}]
    assert (told["interests"], told["purchase_probability_30d"]) == ({"toys": 0.9, "books": 0.1}, 0.5)
    assert body["recent"][0] == {"occurred_at": "1970-01-01T00:00:00.000003Z", "event_type": "cart", "item_id": "c", "title": "Title c"}


def test_an_id_with_a_slash_names_one_customer(client: TestClient) -> None:
    assert client.get("/v1/users/a%2Fb/portrait").json()["user_id"] == "a/b"


def test_recommendations_are_flat_items(client: TestClient) -> None:
    body = client.get("/v1/users/ann/recommendations", params={"k": 1}).json()
    card = {"item_id": "f", "title": "Title f", "category": "toys", "brand": None, "price": 2.5, "in_stock": True}
    assert body["items"] == [card | {"rank": 1, "score": 4.0, "reason": "ranked", "propensity": 1.0, "because": []}]
    assert (body["source"], body["model_version"], body["stages"]) == ("model", 3, None)
    told = client.get("/v1/users/ann/recommendations", params={"k": 1, "reasons": True, "debug": True}).json()
    assert (told["items"][0]["because"][0]["item_id"], told["stages"][0]["name"]) == ("a", "retrieve")
    assert client.get(f"/v1/decisions/{body['decision_id']}").json()["rows"][0]["subject"] == "f"


def test_changes_are_lines_with_then_and_now(client: TestClient) -> None:
    body = client.get("/v1/users/ann/portrait/changes", params={"since": "2024-01-01", "until": "2024-01-02"}).json()
    assert body == {
        "user_id": "ann",
        "since": "2024-01-01",
        "until": "2024-01-02",
        "changes": [{"line": "interests.toys", "then": 0.5, "now": 0.75}],
    }


def test_similar_items_are_flat_and_of_known_items_alone(client: TestClient, front: FakeFront) -> None:
    front.vectors = {"a": [1.0, 0.0], "b": [0.6, 0.8], "c": [1.0, 0.0]}
    body = client.get("/v1/items/a/similar", params={"k": 2}).json()
    assert [(item["item_id"], round(item["similarity"], 3)) for item in body["items"]] == [("c", 1.0), ("b", 0.6)]
    assert (body["source"], body["items"][0]["title"]) == ("vectors", "Title c")
    is_problem(client.get("/v1/items/nothing/similar"), 404, "unknown-item")


def test_a_decision_that_nobody_logged_is_unknown(client: TestClient) -> None:
    unknown = is_problem(client.get("/v1/decisions/20240101-00000000000000-abc"), 404, "unknown-decision")
    assert "20240101-00000000000000-abc" in unknown["detail"]


def test_a_visit_of_nobody_known_gets_a_list_from_what_was_done_in_it(client: TestClient) -> None:
    body = client.post("/v1/recommendations", json={"events": [{"item_id": "a", "event_type": "view"}], "k": 2}).json()
    assert [item["item_id"] for item in body["items"]] == ["b", "f"] and body["user_id"] == ""
    is_problem(client.post("/v1/recommendations", json={"events": [], "kk": 2}), 422, "invalid-parameters")
