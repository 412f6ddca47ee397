"""More requests than the API works on at once: the rest are refused at once, and nothing that was admitted suffers."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.http.problems import KINDS
from tests.serving.fakes import FakeFront
from tests.serving.web_client import caller, furnish, put, shop

ROOM, JSON = 3, {"Content-Type": "application/json"}
PORTRAIT = "/v1/users/ann/portrait"


class Door:
    """Reads of features wait here until `go` is set; `waiting` counts them."""

    def __init__(self, front: FakeFront) -> None:
        self.go, self.waiting, self._read = threading.Event(), threading.Semaphore(0), front.user_row

    def user_row(self, service: str, user_id: str) -> dict[str, Any]:
        self.waiting.release()
        assert self.go.wait(10)
        return self._read(service, user_id)


@pytest.fixture
def door(house: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.setenv("PORTRAIT_API_IN_FLIGHT", str(ROOM))
    furnish()
    front = put(monkeypatch, shop())
    door = Door(front)
    monkeypatch.setattr(front, "user_row", door.user_row)
    return door


def test_what_there_is_no_room_for_is_refused_at_once_and_room_is_given_back(door: Door) -> None:
    client = caller()

    async def flood() -> tuple[list[httpx.Response], httpx.Response, list[httpx.Response], str]:
        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=dict(client.headers)) as asking:
            admitted = [asyncio.create_task(asking.get(PORTRAIT)) for _ in range(ROOM)]
            for _ in range(ROOM):
                assert await asyncio.to_thread(door.waiting.acquire, timeout=5)
            refused = [await asyncio.wait_for(asking.get(PORTRAIT), 1) for _ in range(20)]  # while the admitted ones still wait
            alive = await asking.get("/healthz")
            counted = (await asking.get("/metrics")).text
            door.go.set()
            return refused, alive, [*await asyncio.gather(*admitted), await asking.get(PORTRAIT)], counted

    refused, alive, answered, counted = asyncio.run(flood())
    assert {answer.status_code for answer in answered} == {200}  # one more than there is room for: it was given back
    assert alive.status_code == 200
    for answer in refused:
        body = answer.json()
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert (answer.headers["retry-after"], answer.headers["cache-control"]) == ("1", "no-store")
        assert (body["type"], body["title"]) == ("/docs#overloaded", KINDS["overloaded"][1])
        assert body["detail"].startswith("This house works on 3 requests at once. Received one more. Ask again in a second")
        assert body["request_id"] == answer.headers["x-request-id"]
    assert 'portrait_api_refused_total{reason="overloaded"} 20.0' in counted
    assert 'status="503"} 20.0' in counted


def test_bodies_that_come_slowly_take_nobodys_place(door: Door) -> None:
    client = caller()
    door.go.set()

    async def ask() -> tuple[httpx.Response, list[httpx.Response]]:
        rest = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b'{"events": '
            await rest.wait()
            yield b"[]}"

        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=dict(client.headers)) as asking:
            slow = [asyncio.create_task(asking.post("/v1/recommendations", content=slowly(), headers=JSON)) for _ in range(ROOM + 2)]
            await asyncio.sleep(0.1)
            meanwhile = await asking.get(PORTRAIT)
            rest.set()
            return meanwhile, await asyncio.gather(*slow)

    meanwhile, answered = asyncio.run(ask())
    assert meanwhile.status_code == 200, meanwhile.text
    assert {answer.status_code for answer in answered} == {200}
