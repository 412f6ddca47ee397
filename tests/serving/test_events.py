"""`POST /v1/events`: what is taken, what is refused and how it is said, and that an answer means the event is on disk."""

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient

from feature_repo.live import LiveReport
from feature_repo.store import environment
from serving import events as route
from serving import keys
from settings import ROOT, get_settings
from sources.landing import LANDING
from tests.serving.web_client import caller

EVENT = {"event_id": "e1", "user_id": "u1", "item_id": "i1", "event_type": "view", "occurred_at": "2024-05-01T10:00:00Z"}


@pytest.fixture
def client(house: Path) -> TestClient:
    return caller()


def stored(home: Path) -> list[dict[str, Any]]:
    files = sorted((home / "landing" / "live_events").glob("ds=*/*.parquet"))
    return [row for file in files for row in pyarrow.parquet.read_table(file, partitioning=None).to_pylist()]


@pytest.mark.slow
def test_one_event_or_a_list_is_taken_and_sending_it_again_changes_nothing(client: TestClient, house: Path) -> None:
    one = client.post("/v1/events", json=EVENT)
    assert (one.status_code, one.json()) == (200, {"accepted": 1, "duplicates": 0, "is_online": True})
    many = client.post("/v1/events", json=[EVENT, EVENT | {"event_id": "e2"}])
    assert many.json() == {"accepted": 1, "duplicates": 1, "is_online": True}
    assert [row["event_id"] for row in stored(house)] == ["e1", "e2"]
    assert stored(house)[0]["received_at"] == datetime.fromisoformat("2024-05-01T10:00:00")


@pytest.mark.slow
def test_refused_events_are_named_one_by_one_and_the_others_are_taken(client: TestClient, house: Path) -> None:
    answer = client.post("/v1/events", json=[EVENT, EVENT | {"event_id": "e2", "event_type": "buy"}, {"user_id": "u1"}, 7])
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["detail"].startswith(
        "Every event must keep the landing rules. 3 did not, the first at index 1: event_type is not one of"
    )
    assert [(refusal["index"], refusal["rule"]) for refusal in problem["refused"]] == [
        (1, "event_type_unknown"),
        (2, "item_id_missing"),
        (3, "not_an_object"),
    ]
    assert "Received 'buy'" in problem["refused"][0]["message"]
    assert (problem["accepted"], [row["event_id"] for row in stored(house)]) == (1, ["e1"])


def test_a_body_that_is_no_json_or_too_large_takes_nothing(client: TestClient, house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = client.post("/v1/events", content=b"{event")
    assert (broken.status_code, broken.json()["type"]) == (400, "/docs#bad-request")
    assert "must be JSON. Received Expecting property name" in broken.json()["detail"]
    deep = client.post("/v1/events", content=b"[" * 100_000)
    assert deep.status_code == 400
    many = client.post("/v1/events", json=[{}] * (route.MAX_EVENTS + 1))
    assert (many.status_code, many.json()["detail"][:53]) == (413, "A request may have 5000 events. Received 5001. Send f")
    monkeypatch.setattr(route, "MAX_BYTES", 100)
    large = client.post("/v1/events", json=[EVENT] * 3)
    assert (large.status_code, large.json()["type"]) == (413, "/docs#too-large")
    assert stored(house) == []


def test_what_is_not_online_yet_is_202_and_what_is_not_on_disk_is_503(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "accept", lambda events: LiveReport(len(events), 0, [], is_online=False))
    assert client.post("/v1/events", json=EVENT).status_code == 202

    def full(events: list[Any]) -> LiveReport:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(route, "accept", full)
    answer = client.post("/v1/events", json=EVENT)
    assert (answer.status_code, answer.json()["type"]) == (503, "/docs#not-stored")
    assert "No space left on device. Send the request again later" in answer.json()["detail"]


def test_the_description_names_every_column_and_its_example_is_a_valid_event(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]["/v1/events"]["post"]
    one, many = described["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert list(one["properties"]) == list(LANDING["events"].names)
    assert (one["required"], many["items"]) == (["item_id", "event_type", "occurred_at"], one)
    assert set(described["responses"]) == {"200", "202", "400", "401", "403", "413", "422", "429", "500", "503"}


@pytest.mark.slow
def test_the_example_is_taken(client: TestClient, house: Path) -> None:
    assert client.post("/v1/events", json=route.EXAMPLE).json() == {"accepted": 1, "duplicates": 0, "is_online": True}


@pytest.mark.slow
def test_an_event_answered_with_200_is_on_disk_when_the_process_is_killed_the_next_moment(house: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = house / "api.log"
    keys.make_secrets(get_settings())
    sent = {"Authorization": f"Bearer {keys.house_key(get_settings())}"}
    with log.open("w") as out:
        command = [sys.executable, "-m", "uvicorn", "serving.api:app", "--host", "127.0.0.1", "--port", str(port)]
        api = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                httpx.get(f"{url}/healthz")
                break
            except httpx.TransportError:
                assert api.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
        answers = [
            httpx.post(f"{url}/v1/events", json=EVENT | {"event_id": f"k{number}"}, headers=sent, timeout=120) for number in range(3)
        ]
    finally:
        os.kill(api.pid, signal.SIGKILL)
        api.wait(30)
    assert [answer.status_code for answer in answers] == [200] * 3, log.read_text()
    assert {row["event_id"] for row in stored(get_settings().home)} == {"k0", "k1", "k2"}
