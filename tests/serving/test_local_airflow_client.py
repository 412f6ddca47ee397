"""A pool is kept although Airflow's SQLite is busy for a moment; what Airflow refuses is refused at once."""

import httpx
import pytest

from serving.local import airflow_client
from serving.local.airflow_client import AirflowClient
from serving.local.errors import AirflowRefused


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch):
    """A client whose Airflow has no pools and answers POST with the given statuses, in turn; and what it was asked."""
    monkeypatch.setattr(airflow_client.time, "sleep", lambda _seconds: None)

    def of(statuses: list[int]) -> tuple[AirflowClient, list[str]]:
        asked, left = [], iter(statuses)

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/auth/token":
                return httpx.Response(201, json={"access_token": "t"})
            if request.method == "GET":
                return httpx.Response(200, json={"pools": []})
            asked.append(request.method)
            return httpx.Response(next(left), json={"detail": "said"})

        client = AirflowClient("http://airflow", "a", "b")
        client._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
        return client, asked

    return of


def test_a_pool_is_made_once_the_database_answers_again(airflow):
    client, asked = airflow([500, 500, 201])
    client.keep_pool("training", 1)
    assert asked == ["POST"] * 3


def test_a_database_that_stays_away_and_a_refusal_are_told(airflow):
    client, asked = airflow([500] * airflow_client.POOL_TRIES)
    with pytest.raises(AirflowRefused, match=r"refused POST /pools \(500\)"):
        client.keep_pool("training", 1)
    assert len(asked) == airflow_client.POOL_TRIES
    client, asked = airflow([403])
    with pytest.raises(AirflowRefused, match=r"\(403\)"):
        client.keep_pool("training", 1)
    assert len(asked) == 1
