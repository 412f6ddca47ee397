"""The gates' data docs through the web page's door."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from settings import get_settings
from tests.serving.web_client import visitor

pytestmark = pytest.mark.slow


@pytest.fixture
def client(house: Path) -> TestClient:
    docs = get_settings().quality_dir / "docs"
    (docs / "validations").mkdir(parents=True)
    (docs / "index.html").write_text("<h1>gates</h1>")
    (docs / "validations" / "events.html").write_text("events")
    (get_settings().quality_dir / "secret.json").write_text("not a page")
    return visitor()


def test_the_index_and_the_pages_below_it_are_served(client: TestClient) -> None:
    assert client.get("/quality/").text == "<h1>gates</h1>"
    assert client.get("/quality/validations/events.html").text == "events"


@pytest.mark.parametrize("page", ["../secret.json", "%2e%2e/secret.json", "validations/../../secret.json", "validations"])
def test_nothing_outside_the_docs_is_served(client: TestClient, page: str) -> None:
    answer = client.get(f"/quality/{page}")
    assert answer.status_code == 404
    assert "not a page" not in answer.text


def test_before_the_first_gate_the_page_says_what_to_run(house: Path) -> None:
    answer = visitor().get("/quality/")
    assert (answer.status_code, "Run the DAG <code>ingest</code> first" in answer.text) == (404, True)
