"""The web page's door to Feast's own pages: started by the first click of who may see operations, and by nobody else."""

from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from serving.api import create_app
from serving.local import processes, services
from serving.local.services import Service
from serving.web import feast_door
from settings import Settings
from tests.serving.fakes import FakeFront
from tests.serving.web_client import PAGE, furnish, put, shop, visitor


@pytest.fixture
def front(house: Path, monkeypatch: pytest.MonkeyPatch) -> FakeFront:
    furnish()
    return put(monkeypatch, shop())


@pytest.fixture
def page(front: FakeFront) -> TestClient:
    return visitor()


def test_the_first_click_on_feast_starts_its_pages_once_and_then_leads_there(
    page: TestClient, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[processes.Command] = []
    state = {"runs": False, "answers": False}

    def start(command: processes.Command, home: Path) -> None:
        assert home == house
        started.append(command)
        state["runs"] = True

    def service(settings: Settings) -> Service:
        return replace(services.feast_ui(settings), answers=lambda: state["answers"])

    monkeypatch.setattr(feast_door.processes, "start", start)
    monkeypatch.setattr(feast_door.processes, "find", lambda name, home: state["runs"] or None)
    monkeypatch.setattr(feast_door, "feast_ui", service)
    assert 'href="/feast/"' in page.get("/").text
    first = page.get("/feast/")
    assert (first.status_code, first.headers["refresh"], "are starting" in first.text) == (200, "3; url=/feast/?waiting=true", True)
    assert "are starting" in page.get("/feast/?waiting=true").text and "are starting" in page.get("/feast/").text
    assert [command.arguments[3:] for command in started] == [("ui", "-h", "127.0.0.1", "-p", "8888")]
    state["answers"] = True
    there = page.get("/feast/?waiting=true", follow_redirects=False)
    assert (there.status_code, there.headers["location"]) == (303, "http://127.0.0.1:8888")
    state |= {"answers": False, "runs": False}
    ended = page.get("/feast/?waiting=true")
    assert (ended.status_code, "refresh" in ended.headers, len(started)) == (503, False, 1)
    assert f"{house}/logs/feast-ui.log" in ended.text and "PORTRAIT_FEAST_UI_PORT" in ended.text


def test_feast_is_started_by_nobody_who_may_not_see_operations(front: FakeFront, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feast_door.processes, "start", lambda *_: pytest.fail("it was started"))
    assert visitor("read:portrait").get("/feast/").status_code == 403
    assert TestClient(create_app(), headers=PAGE).get("/feast/", follow_redirects=False).status_code == 303
