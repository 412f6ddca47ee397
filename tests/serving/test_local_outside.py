"""The road walked from outside: what a stranger may know of a user is enough to ask the model server."""

from datetime import UTC, datetime
from typing import Any

import pytest

from serving.local import outside
from serving.local.errors import NotHealthy
from serving.local.services import Service
from settings import get_settings
from training.signatures import HISTORY

PORTRAIT: dict[str, Any] = {
    "as_of": "2024-04-30T00:00:00Z",
    "recent": [
        {"item_id": "cup", "event_type": "purchase", "occurred_at": "2024-04-25T20:00:00Z", "title": "White cup"},
        {"item_id": "tea", "event_type": "view", "occurred_at": "2024-03-05T10:00:00Z", "title": None},
    ],
}


def test_a_portraits_newest_events_are_the_history_that_models_read_oldest_first() -> None:
    inputs = outside._history(PORTRAIT)
    assert inputs.keys() == {tensor.name for tensor in HISTORY}
    assert inputs["event_item_ids"].tolist() == [["tea", "cup"]]
    assert inputs["event_types"].tolist() == [["view", "purchase"]]
    times = [datetime(2024, 3, 5, 10, tzinfo=UTC), datetime(2024, 4, 25, 20, tzinfo=UTC)]
    assert inputs["event_times_us"].tolist() == [[int(time.timestamp()) * 1_000_000 for time in times]]
    assert inputs["as_of_us"].tolist() == [int(datetime(2024, 4, 30, tzinfo=UTC).timestamp()) * 1_000_000]


def test_a_service_that_stays_silent_is_named_with_the_place_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "PATIENCE_SECONDS", 0)
    silent = Service("api", "API and web page", "api", (), {}, "http://127.0.0.1:8000", lambda: False)
    with pytest.raises(NotHealthy, match=r"API and web page did not answer at http://127.0.0.1:8000 within 0 s. See `docker-compose logs`"):
        outside._wait_for(silent)


def test_the_customers_to_ask_about_are_those_that_the_web_page_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    asked: list[tuple[str, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, request.content))
        if request.method == "POST":
            return httpx.Response(303, headers={"location": "/"})
        return httpx.Response(200, text='<li><a href="/?user=u1">u1</a></li><li><a href="/?user=ann%2Fb">ann/b</a></li>')

    client = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **options: client(**options, transport=httpx.MockTransport(answer)))
    monkeypatch.setattr(outside.keys, "house_key", lambda settings: "pk_house")
    assert outside._example_users(get_settings()) == ["u1", "ann/b"]
    assert [path for path, _ in asked] == ["/login", "/"]
    assert b"key=pk_house" in asked[0][1]
