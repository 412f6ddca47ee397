"""Following runs through assets, against Airflow's REST answers played back."""

import io
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from rich.console import Console

from serving.local import follow as following
from serving.local.airflow_client import AirflowClient
from serving.local.demo import outcome
from serving.local.errors import AirflowRefused
from serving.local.follow import follow


def task(name: str, state: str, index: int = -1, label: str | None = None) -> dict[str, Any]:
    started = {"task_id": name, "state": state, "map_index": index, "rendered_map_index": label}
    return {**started, "start_date": "2024-01-01", "try_number": 1, "duration": 2.5}


class Airflow:
    """Two DAGs joined by an asset: `train` (one model skipped) leads to `deploy`, which ends as `deploy_state`."""

    def __init__(self, deploy_state: str = "success") -> None:
        self.deploy_state = deploy_state
        self.polls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        assert request.headers["Authorization"] == "Bearer token"
        if path == "/api/v2/assets/events" and self.polls == 0:  # the run that follows is queued
            self.polls += 1
            return httpx.Response(500, text="Internal Server Error")
        return httpx.Response(200, json=self.answer(path.removeprefix("/api/v2"), dict(request.url.params)))

    def answer(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        dag = "deploy" if "deploy" in path or parameters.get("source_dag_id") == "deploy" else "train"
        deployed = {"dag_id": "deploy", "run_id": "d1", "state": "queued", "partition_key": "shop|a|b"}
        if path == "/assets/events":
            self.polls += 1
            created = [deployed] if self.polls > 2 else []  # the scheduler needs a moment
            return {"asset_events": [{"created_dagruns": created, "extra": {"candidates": ["r/1"]}}] if dag == "train" else []}
        if path.endswith("/taskInstances"):
            failing = [task("publish", self.deploy_state, 0, "recommender")]
            skipping = [task("model", "success", 0, "recommender"), task("model", "skipped", 1, "uplift")]
            return {"task_instances": skipping if dag == "train" else failing}
        if "/logs/" in path:
            error = {"event": "Task failed", "error_detail": [{"exc_type": "PublishFailed", "exc_value": "the golden answer differs"}]}
            return {"content": [{"event": "Skipping task.", "reason": "no campaign_exposures"} if dag == "train" else error]}
        state = self.deploy_state if dag == "deploy" else "success"
        return {"dag_id": dag, "dag_run_id": f"{dag[0]}1", "state": state, "partition_key": "shop|a|b"}


def client(answer: Callable[[httpx.Request], httpx.Response]) -> AirflowClient:
    airflow = AirflowClient("http://airflow", "admin", "secret")
    airflow._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
    return airflow


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.0)


def test_a_run_is_followed_to_the_runs_that_its_assets_lead_to() -> None:
    output = io.StringIO()
    airflow = client(Airflow())
    followed = follow(airflow, airflow.run("train", "t1"), Console(file=output))
    assert [(one.run.dag_id, one.run.state) for one in followed] == [("train", "success"), ("deploy", "success")]
    lines = [line.split("s  ", 1)[1] for line in output.getvalue().splitlines()]
    assert lines == [
        "train / model recommender: success in 2.5 s",
        "train / model uplift: skipped in 2.5 s: no campaign_exposures",
        "deploy / publish recommender: success in 2.5 s",
    ]
    assert outcome(followed, ("train", "deploy")) == {
        "runs": {"train": "success", "deploy": "success"},
        "skipped": {"train / model uplift": "no campaign_exposures"},
        "failed": [],
    }


def test_a_failed_task_shows_its_page_and_the_end_of_its_log() -> None:
    output = io.StringIO()
    airflow = client(Airflow("failed"))
    followed = follow(airflow, airflow.run("train", "t1"), Console(file=output))
    assert "http://airflow/dags/deploy/runs/d1/tasks/publish/mapped/0" in output.getvalue()
    assert "PublishFailed: the golden answer differs" in output.getvalue()
    assert outcome(followed, ("train", "deploy"))["failed"] == ["deploy"]


def test_one_dag_alone_can_be_followed() -> None:
    airflow = client(Airflow())
    followed = follow(airflow, airflow.run("train", "t1"), Console(file=io.StringIO()), onward=False)
    assert [one.run.dag_id for one in followed] == ["train"]


def test_a_dag_that_nothing_led_to_has_failed_unless_a_skip_explains_it() -> None:
    assert outcome([], ("train",))["failed"] == ["train (never started)"]


def test_what_a_run_handed_over_can_be_read() -> None:
    playback = Airflow()
    playback.polls = 1
    airflow = client(playback)
    assert airflow.handed_over(airflow.run("train", "t1")) == {"candidates": ["r/1"]}


def test_airflow_that_refuses_is_quoted() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        token = request.url.path == "/auth/token"
        return httpx.Response(201, json={"access_token": "t"}) if token else httpx.Response(404, text="no such DAG")

    with pytest.raises(AirflowRefused, match=r"Airflow refused GET /dags/x/dagRuns/1 \(404\): no such DAG"):
        client(refuse).run("x", "1")


def test_airflow_that_is_away_says_how_to_start_it() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(AirflowRefused, match=r"Airflow at http://airflow does not answer .*Start it with `portrait up`"):
        client(away).run("x", "1")
