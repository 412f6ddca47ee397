"""The whole road on one machine: services up, `ingest` triggered, every DAG followed to its end, and what came of it shown."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console, RenderableType

from quality.results import docs_address
from serving import keys
from serving.local import airflow_home, answers, house, show
from serving.local.airflow_client import AirflowClient
from serving.local.errors import AirflowRefused, RunFailed, UnknownDag
from serving.local.follow import Followed, follow
from serving.local.memory import MemoryWatch
from settings import Settings

DAGS = ("ingest", "features", "train", "deploy", "campaign", "score")
PARSE_SECONDS = 90


def demo(choices: dict[str, Any], console: Console) -> dict[str, Any]:
    """Runs the source of `choices` (fields of the form of `ingest`) through the house, and returns all that is shown.

    Raises:
        LocalError: nothing could be started, a DAG run did not succeed, or a service does not answer.
    """
    begin = time.monotonic()
    settings = house.choose(choices["source"])
    console.print(f"House {settings.home}", highlight=False, soft_wrap=True)
    with MemoryWatch(settings.home) as memory, house.rise(lambda line: console.print(f"  {line}", highlight=False)) as rising:
        settings = rising.settings
        rising.wait_for("airflow")
        rising.wait_for("feast")  # its registry is applied: the features DAG will not race it
        console.print(f"Airflow: user {airflow_home.USER}, password {airflow_home.password()}", highlight=False, markup=False)
        console.print(f"Web page and API: key {keys.house_key(settings)}", highlight=False, markup=False, soft_wrap=True)
        with AirflowClient.of(settings) as airflow:
            followed = trigger(airflow, "ingest", choices, console)
            result = outcome(followed, DAGS)
            result["quality"] = answers.quality(airflow, followed, settings)
        rising.wait_for_all()
        if not result["failed"]:
            result |= answers.answers(followed, settings)
    result["services"] = house.status(settings)
    result["seconds"] = round(time.monotonic() - begin, 1)
    result["peak_memory_mb"] = round(memory.peak_mb)
    _tell(result, settings, console)
    silent = [str(service["title"]) for service in result["services"] if service["state"] != "healthy"]
    if result["failed"] or silent:
        what = [f"DAG runs that did not succeed: {', '.join(result['failed'])}"] * bool(result["failed"])
        raise RunFailed("; ".join([*what, *(f"{title} does not answer" for title in silent)]) + f". Logs: {settings.logs_dir}")
    return result


def trigger(airflow: AirflowClient, dag_id: str, choices: dict[str, Any], console: Console, onward: bool = True) -> list[Followed]:
    """Trigger a DAG as a person would in the UI and follow it; raises UnknownDag, naming the DAGs that there are."""
    _wait_for_dags(airflow)
    known = airflow.dags()
    if dag_id not in known:
        raise UnknownDag(f"A DAG must be one of {sorted(known)}. Received '{dag_id}'.")
    return follow(airflow, airflow.trigger(dag_id, choices), console, onward)


def _wait_for_dags(airflow: AirflowClient) -> None:
    """Until Airflow has parsed every DAG of the house; raises AirflowRefused with the import errors if it cannot."""
    deadline = time.monotonic() + PARSE_SECONDS
    while missing := set(DAGS) - set(airflow.dags()):
        if time.monotonic() > deadline:
            errors = airflow.import_errors()
            raise AirflowRefused(f"Airflow has not parsed {sorted(missing)} within {PARSE_SECONDS} s. " + "\n".join(errors))
        time.sleep(0.5)


def outcome(followed: list[Followed], expected: Sequence[str]) -> dict[str, Any]:
    """How each DAG run ended, what was skipped and why, and what failed: also an expected DAG never reached, unless a skip explains it."""
    runs = {one.run.dag_id: one.run.state for one in followed}
    skipped = {f"{one.run.dag_id} / {label}": reason for one in followed for label, reason in one.skipped.items()}
    failed = [dag_id for dag_id, state in runs.items() if state != "success"]
    unreached = [dag_id for dag_id in expected if dag_id not in runs]
    if unreached and not failed and not skipped:
        failed = [f"{dag_id} (never started)" for dag_id in unreached]
    skipped |= dict.fromkeys(unreached, "not reached: nothing was handed over to it")
    return {"runs": runs, "skipped": skipped, "failed": failed}


def _tell(result: dict[str, Any], settings: Settings, console: Console) -> None:
    """Everything of the result that a person wants to see."""
    drawings: dict[str, Callable[[Any], RenderableType]] = {
        "portrait": show.portrait,
        "recommendations": show.recommendations,
        "offers": show.offers,
        "plan": show.plan,
        "risk": show.risk,
        "quality": show.quality,
        "latencies": show.latencies,
        "services": show.services,
    }
    for name, draw in drawings.items():
        if result.get(name):
            console.print("", draw(result[name]))
    console.print()
    for what, reason in result["skipped"].items():
        console.print(f"skipped  {what}: {reason}", markup=False, highlight=False, soft_wrap=True)
    pages = {"web page": f"http://{settings.browsed_host}:{settings.api_port}", "gates": docs_address()}
    console.print("  ".join(f"{name}: {page}" for name, page in pages.items()), highlight=False, soft_wrap=True)
    console.print(f"{result['seconds']:.0f} s, peak memory {result['peak_memory_mb'] / 1024:.1f} GB", highlight=False)
