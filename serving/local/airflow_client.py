"""A small client of Airflow's REST API v2: what a person does in the UI, and what one sees there."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from serving.local import airflow_home
from serving.local.errors import AirflowRefused
from settings import Settings

FINAL = frozenset({"success", "failed"})
USERS_API = "/auth/fab/v1"


@dataclass(frozen=True)
class DagRun:
    """One run of one DAG."""

    dag_id: str
    run_id: str
    state: str
    partition: str | None


@dataclass(frozen=True)
class TaskRun:
    """One try of one task, `index` -1 where it is not mapped; `label` is what the UI calls it."""

    task_id: str
    index: int
    label: str
    state: str | None
    tries: int
    seconds: float


class AirflowClient:
    """Every method raises AirflowRefused where Airflow does not answer or says no."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=30)
        self._login = {"username": user, "password": password}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.airflow_url, airflow_home.USER, airflow_home.password())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def trigger(self, dag_id: str, choices: dict[str, Any]) -> DagRun:
        """Start a run with what a person would choose in the form."""
        return _dag_run(self._ask("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": choices}))

    def run(self, dag_id: str, run_id: str) -> DagRun:
        return _dag_run(self._ask("GET", f"/dags/{dag_id}/dagRuns/{quote(run_id)}"))

    def tasks(self, run: DagRun) -> list[TaskRun]:
        """Task runs in the order in which they started."""
        path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/taskInstances"
        rows = self._ask("GET", path, params={"limit": 100})["task_instances"]
        return [_task_run(row) for row in sorted(rows, key=lambda row: (row["start_date"] or "9", row["map_index"]))]

    def followers(self, run: DagRun) -> tuple[list[DagRun], bool] | None:
        """The runs that the assets of this run led to, and whether one of its assets has not led anywhere yet.

        None while one of them is queued: until it starts, Airflow 3.3.2 answers 500, because its answer insists on a start date.
        """
        try:
            events = self._events(run)
        except AirflowRefused as error:
            if error.status == 500:
                return None
            raise
        runs = [_dag_run(row) for event in events for row in event["created_dagruns"]]
        return runs, any(not event["created_dagruns"] for event in events)

    def handed_over(self, run: DagRun) -> dict[str, Any]:
        """What this run gave to the next one."""
        return {name: value for event in self._events(run) for name, value in event["extra"].items()}

    def log(self, run: DagRun, task: TaskRun) -> list[dict[str, Any]]:
        """The structured lines of the task's last try; none where it was skipped before it ever ran."""
        if not task.tries:
            return []
        path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/taskInstances/{task.task_id}/logs/{task.tries}"
        answer = self._ask("GET", path, params={"map_index": task.index})
        return [line if isinstance(line, dict) else {"event": line} for line in answer["content"]]

    def page(self, run: DagRun, task: TaskRun) -> str:
        """Where a person sees this task run in the UI."""
        mapped = f"/mapped/{task.index}" if task.index >= 0 else ""
        return f"{self.url}/dags/{run.dag_id}/runs/{quote(run.run_id)}/tasks/{task.task_id}{mapped}"

    def dags(self) -> dict[str, bool]:
        """Every DAG that Airflow has parsed, and whether it is paused."""
        return {dag["dag_id"]: dag["is_paused"] for dag in self._ask("GET", "/dags")["dags"]}

    def import_errors(self) -> list[str]:
        return [f"{error['filename']}: {error['stack_trace']}" for error in self._ask("GET", "/importErrors")["import_errors"]]

    def users(self) -> list[dict[str, Any]]:
        """Who may log in, of Airflow's FAB login; the first hundred."""
        return self._ask("GET", "/users", api=USERS_API, params={"limit": 100})["users"]

    def add_user(self, name: str, role: str, password: str) -> None:
        names = {"username": name, "first_name": name, "last_name": role, "email": f"{name}@localhost"}
        self._ask("POST", "/users", api=USERS_API, json={**names, "roles": [{"name": role}], "password": password})

    def remove_user(self, name: str) -> None:
        self._ask("DELETE", f"/users/{quote(name, safe='')}", api=USERS_API)

    def _events(self, run: DagRun) -> list[dict[str, Any]]:
        return self._ask("GET", "/assets/events", params={"source_dag_id": run.dag_id, "source_run_id": run.run_id})["asset_events"]

    def _ask(self, method: str, path: str, api: str = "/api/v2", **request: Any) -> dict[str, Any]:
        try:
            if "Authorization" not in self._http.headers:
                token = self._http.post("/auth/token", json=self._login).raise_for_status().json()["access_token"]
                self._http.headers["Authorization"] = f"Bearer {token}"
            answer = self._http.request(method, f"{api}{path}", **request).raise_for_status()
            return answer.json() if answer.content else {}
        except httpx.HTTPStatusError as error:
            detail = error.response.text[:500]
            refusal = f"Airflow refused {method} {path} ({error.response.status_code}): {detail}"
            raise AirflowRefused(refusal, error.response.status_code) from error
        except httpx.HTTPError as error:
            raise AirflowRefused(f"Airflow at {self.url} does not answer ({error}). Start it with `portrait up`.") from error


def _dag_run(row: dict[str, Any]) -> DagRun:
    return DagRun(row["dag_id"], row.get("dag_run_id") or row["run_id"], row["state"], row["partition_key"])


def _task_run(row: dict[str, Any]) -> TaskRun:
    label = f"{row['task_id']} {row['rendered_map_index'] or row['map_index']}" if row["map_index"] >= 0 else row["task_id"]
    return TaskRun(row["task_id"], row["map_index"], label, row["state"], row["try_number"], row["duration"] or 0.0)
