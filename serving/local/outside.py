"""The road of a house whose services run in containers, walked from outside: published ports, a password and a key are all that it uses."""

import re
import time
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np
from rich.console import Console

from serving import keys
from serving.local import house, show
from serving.local.airflow_client import AirflowClient
from serving.local.answers import timed
from serving.local.api_client import ApiClient
from serving.local.demo import DAGS, outcome, trigger
from serving.local.errors import NotHealthy, RunFailed
from serving.local.services import Service, services
from serving.model_client import ModelClient
from serving.model_inputs import history_inputs, to_us
from settings import Settings
from training.signatures import RECOMMENDER

PATIENCE_SECONDS = 600
DRAWN = ("portrait", "recommendations", "offers", "latencies")


def demo(choices: dict[str, Any], console: Console) -> dict[str, Any]:
    """Triggers `ingest` with `choices`, follows every DAG that it leads to, then asks each published port; returns all that is shown.

    The house's folder here holds no state: only `api/house_key`, a copy of the key that the containers made.

    Raises:
        LocalError: a DAG run did not succeed, or a service does not answer.
    """
    begin = time.monotonic()
    settings = house.choose(choices["source"])
    for service in services(settings):
        if service.ports:
            _wait_for(service)
            console.print(f"  {service.title} answers at {service.address}", highlight=False)
    with AirflowClient.of(settings) as airflow:
        followed = trigger(airflow, "ingest", choices, console)
    result = outcome(followed, DAGS)
    if result["failed"]:
        raise RunFailed(f"DAG runs that did not succeed: {', '.join(result['failed'])}. See {settings.airflow_url}")
    result |= _answers(settings)
    result["seconds"] = round(time.monotonic() - begin, 1)
    for name in DRAWN:
        console.print("", getattr(show, name)(result[name]))
    for what, reason in result["skipped"].items():
        console.print(f"skipped  {what}: {reason}", markup=False, highlight=False, soft_wrap=True)
    predicted = result["predicted"]
    console.print(f"Predict over gRPC: recommender version {predicted['version']} says {', '.join(predicted['item_ids'])}", highlight=False)
    console.print(f"web page: {settings.api_url}  {result['seconds']:.0f} s", highlight=False)
    return result


def _wait_for(service: Service) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not service.answers():
        if time.monotonic() > until:
            raise NotHealthy(f"{service.title} did not answer at {service.address} within {PATIENCE_SECONDS} s. See `docker-compose logs`.")
        time.sleep(1)


def _answers(settings: Settings) -> dict[str, Any]:
    """A portrait, recommendations and offers by the API, what the recommender answers over gRPC, and how long both take."""
    users, api = _example_users(settings), ApiClient(settings)
    portrait = api.portrait(users[0])
    inputs = _history(portrait) | {"exclude_item_ids": np.array([[b""]], dtype=object), "k": np.array([10], dtype=np.int32)}
    with ModelClient(settings.model_server_target) as client:

        def predict(_user: str) -> Any:
            return client.predict(RECOMMENDER.name, inputs, label="stable")

        answer = predict("")
        return {
            "portrait": portrait,
            "recommendations": api.recommendations(users[0], 10),
            "offers": api.offers(users[0]),
            "predicted": {"version": answer.version, "item_ids": answer["item_ids"][0].tolist()},
            "latencies": {
                "Predict, over gRPC": timed(predict, users),
                "recommendation, over HTTP": timed(lambda user: api.recommendations(user, 10), users),
            },
        }


def _example_users(settings: Settings) -> list[str]:
    """The customers that the web page offers to look at, for somebody who has logged in there."""
    with httpx.Client(base_url=settings.api_url, timeout=60, follow_redirects=True) as browser:
        page = browser.post("/login", data={"key": keys.house_key(settings), "next": "/"}).raise_for_status().text
    return [unquote(user) for user in re.findall(r'href="/\?user=([^"&]+)"', page)]


def _history(portrait: dict[str, Any]) -> dict[str, np.ndarray]:
    """The newest events of a portrait as the models read them, oldest first."""
    events = portrait["recent"][::-1]
    row = {
        "event_item_ids": [event["item_id"] for event in events],
        "event_types": [event["event_type"] for event in events],
        "event_times_us": [to_us(_utc(event["occurred_at"])) for event in events],
    }
    return history_inputs([row], _utc(portrait["as_of"]))


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)
