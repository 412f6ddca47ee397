"""The same road on the profile `services`: Postgres, Redis and Celery's workers, with the same tests and what only servers can show."""

import json
import subprocess
import time
from pathlib import Path

import httpx
import pandas as pd
import psutil
import pytest

from quality.postgres import connect
from serving.local import processes
from settings import Settings, get_settings
from tests.end_to_end import test_road as embedded
from tests.end_to_end.road import Road
from tests.end_to_end.secrets_of import leaks, secrets_of, told

pytestmark = [pytest.mark.slow, pytest.mark.end_to_end, pytest.mark.timeout(1200)]
PROFILE = "services"

#: The tests of the embedded road, in their order: later ones change the house. The last walks the whole road again, which once is enough.
AGAIN = "test_a_released_row_comes_in_by_the_command_that_the_release_names"
globals().update({name: test for name, test in vars(embedded).items() if name.startswith("test_") and name != AGAIN})


def rows(url: str, query: str) -> list[tuple]:
    with connect(url.replace("+psycopg2", "")) as server, server.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_every_store_is_a_server(in_house: Road) -> None:
    settings = get_settings()
    assert rows(settings.airflow_database, "select count(*) from dag_run where state = 'success'")[0][0] >= 6
    assert rows(settings.mlflow_uri, "select count(*) from runs where status = 'FINISHED'")[0][0] >= 2
    assert rows(settings.registry, "select count(*) from feature_views")[0][0] >= 5
    marts = rows(settings.warehouse_url, "select user_id, spend_total from marts.user_features order by features_at, created_at, user_id")
    assert marts == in_house.warehouse("select user_id, spend_total from marts.user_features order by features_at, created_at, user_id")
    assert len(marts) > 10
    files = {path.name for path in settings.home.rglob("*.db")}
    assert not files & {"airflow.db", "mlflow.db", "registry.db", "online.db"}


def test_a_task_runs_on_the_worker_of_its_queue(in_house: Road) -> None:
    queues = dict(rows(get_settings().airflow_database, "select queue, count(*) from task_instance where state = 'success' group by 1"))
    for queue in ("default", "gpu"):
        done = processes.log_file(f"worker-{queue}-1", in_house.home).read_text().count(" succeeded in ")
        assert done >= queues[queue] > 0


def test_feasts_own_join_on_the_server_gives_the_rows_of_a_frame(in_house: Road) -> None:
    from feature_repo.frames import training_frame
    from feature_repo.store import open_store

    asked = pd.DataFrame({"user_id": ["ann", "ben", "cleo"], "event_timestamp": pd.to_datetime(["2024-04-11", "2024-04-30", "2024-04-30"])})
    numbers = ["events_30d", "purchases_90d", "spend_90d", "spend_total"]
    store = open_store()
    theirs = store.get_historical_features(asked, [f"user_features:{name}" for name in numbers]).to_df()
    ours = training_frame("portrait_v1", asked)
    key = ["user_id", "event_timestamp"]
    theirs["event_timestamp"] = pd.to_datetime(theirs["event_timestamp"]).dt.tz_localize(None).astype("datetime64[us]")
    ours["event_timestamp"] = pd.to_datetime(ours["event_timestamp"]).dt.tz_localize(None).astype("datetime64[us]")
    both = theirs[key + numbers].merge(ours[key + numbers], on=key, suffixes=("_theirs", "_ours"))
    assert len(both) == 3
    for name in numbers:
        assert both[f"{name}_theirs"].astype(float).tolist() == pytest.approx(both[f"{name}_ours"].astype(float).tolist(), abs=1e-6)


def test_no_secret_of_the_house_lies_where_others_look(in_house: Road) -> None:
    assert leaks(in_house.home) == []
    for command in ("status", "doctor"):
        assert told(secrets_of(in_house.home), in_house.portrait(command, "--json").stdout) == []


def test_without_a_login_airflow_answers_nothing_but_its_health(in_house: Road) -> None:
    address = in_house.address("AIRFLOW")
    assert httpx.get(f"http://{address}/api/v2/dags").status_code == 401
    assert httpx.get(f"http://{address}/api/v2/monitor/health").status_code == 200


def test_a_house_keeps_its_profile(road: Road) -> None:
    other = subprocess.run(
        [*_cli(), "up"], env={**road.environment, "PORTRAIT_PROFILE": "embedded"}, capture_output=True, text=True, check=False
    )
    assert other.returncode != 0
    assert "is of the profile services, and PORTRAIT_PROFILE is embedded" in other.stderr


def test_a_worker_killed_in_mid_training_loses_nothing(in_house: Road) -> None:
    settings = get_settings()
    training = subprocess.Popen(
        [*_cli(), "run", "train", "--set", "epochs=60", "--set", 'models=["recommender"]', "--set", "promote=false", "--json"],
        env=in_house.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    kept = _wait_for_checkpoint(settings, training)
    _kill("worker-gpu-1", in_house.home)
    assert kept.exists()
    assert json.loads(subprocess.run([*_cli(), "status", "--json"], env=in_house.environment, capture_output=True, text=True).stdout)
    up = in_house.portrait("up")
    assert up.returncode == 0, up.stderr
    said, complained = training.communicate(timeout=600)
    assert training.returncode == 0, complained
    assert json.loads(said)["runs"] == {"train": "success"}
    tries = rows(
        settings.airflow_database,
        "select try_number from task_instance where task_id = 'encoder' and state = 'success' order by start_date desc limit 1",
    )
    assert tries == [(2,)]
    logs = "".join(path.read_text() for path in (in_house.home / "airflow" / "logs").rglob("task_id=encoder/attempt=2.log"))
    assert "goes on after epoch" in logs


def _cli() -> list[str]:
    import sys

    from settings import ROOT

    return [sys.executable, str(ROOT / "cli.py")]


def _wait_for_checkpoint(settings: Settings, training: subprocess.Popen) -> Path:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and training.poll() is None:
        if found := list((settings.candidates_dir / "encoder").glob(".*.checkpoint")):
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"no checkpoint was written: {training.communicate()[1] if training.poll() is not None else 'timeout'}")


def _kill(name: str, home: Path) -> None:
    """The worker and all that it runs, at once."""
    process = processes.find(name, home)
    assert process is not None
    family = [process, *process.children(recursive=True)]
    for member in family:
        member.kill()
    psutil.wait_procs(family, timeout=30)
