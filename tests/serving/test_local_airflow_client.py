"""What Airflow refuses is told with its status and its words; an Airflow that is away, with the way out."""

import httpx
import pytest

from serving.local.airflow_client import AirflowClient
from serving.local.errors import AirflowRefused


def client_of(answer) -> AirflowClient:
    client = AirflowClient("http://airflow", "a", "b")
    client._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
    return client


def test_a_refusal_is_told_with_its_status_and_asked_once() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        asked.append(request.url.path)
        return httpx.Response(403, json={"detail": "not for you"})

    with pytest.raises(AirflowRefused, match=r"refused GET /dags \(403\): .*not for you") as refused:
        client_of(answer).dags()
    assert refused.value.status == 403
    assert asked == ["/api/v2/dags"]


def test_an_airflow_that_is_away_is_told_with_the_way_out() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody there")

    with pytest.raises(AirflowRefused, match=r"Airflow at http://airflow does not answer \(nobody there\). Start it with `portrait up`"):
        client_of(away).dags()
