"""The services of a house: what each runs, where it answers, and how one knows that it does."""

import json
import os
import socket
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from feature_repo.store import environment as feast_environment
from serving import manifest
from serving.local import airflow_home, servers
from settings import ROOT, Settings

BIN = Path(sys.executable).parent
SERVERS = "servers"
SERVER_NAMES = ("postgres", "redis")


@dataclass(frozen=True)
class Service:
    """One background process. `ports` maps the setting's variable to the port; services of one `group` start in order after `prepare`."""

    name: str
    title: str
    group: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    address: str
    answers: Callable[[], bool]
    ports: dict[str, int] = field(default_factory=dict)
    prepare: tuple[str, ...] = ()


def services(settings: Settings) -> list[Service]:
    """Every service of the house, those of a group in the order in which they start; the group `servers` before all others."""
    host, python, house = settings.host, sys.executable, _house(settings)
    return [
        *(_servers(settings) if settings.profile == "services" else ()),
        *_airflow(settings),
        Service(
            "feast",
            "Feast feature server",
            "feast",
            (str(BIN / "feast"), "-c", str(ROOT / "feature_repo"), "serve", "-h", host, "-p", str(settings.feast_port), "--no-access-log"),
            {**feast_environment(), **house},
            f"http://{settings.browsed_host}:{settings.feast_port}",
            lambda: _status(f"{settings.feast_url}/health") == 200,
            {"PORTRAIT_FEAST_PORT": settings.feast_port},
            (python, "-c", "from feature_repo.store import apply; apply()"),
        ),
        Service(
            "model-server",
            "model server",
            "model-server",
            (
                python,
                "-m",
                "serving.model_server",
                f"--port={settings.model_server_port}",
                f"--rest_api_port={settings.model_server_rest_port}",
                f"--model_config_file={settings.home / 'models.config'}",
                "--model_config_file_poll_wait_seconds=1",
                "--file_system_poll_wait_seconds=1",
                "--allow_version_labels_for_unavailable_models=true",  # labels stand in the config before a restarted server has loaded
                "--enable_batching",
                f"--batching_parameters_file={settings.home / 'batching.config'}",
                f"--monitoring_config_file={settings.home / 'monitoring.config'}",
                f"--verification_key_file={manifest.public_of(settings.signing_key)}",
            ),
            house,
            f"grpc://{settings.browsed_host}:{settings.model_server_port} and http://{settings.browsed_host}:{settings.model_server_rest_port}",
            lambda: all(
                _listens(settings.model_server_host or host, port) for port in (settings.model_server_port, settings.model_server_rest_port)
            ),
            {
                "PORTRAIT_MODEL_SERVER_PORT": settings.model_server_port,
                "PORTRAIT_MODEL_SERVER_REST_PORT": settings.model_server_rest_port,
            },
        ),
        Service(
            "api",
            "API and web page",
            "api",
            (python, "-m", "uvicorn", "serving.api:app", "--host", host, "--port", str(settings.api_port), "--no-access-log"),
            {**feast_environment(), **house},
            f"http://{settings.browsed_host}:{settings.api_port}",
            lambda: _status(f"{settings.api_url}/healthz") == 200,
            {"PORTRAIT_API_PORT": settings.api_port},
        ),
        Service(
            "mlflow",
            "MLflow",
            "mlflow",
            (
                str(BIN / "mlflow"),
                "server",
                "--host",
                host,
                "--port",
                str(settings.mlflow_port),
                "--workers",
                "1",
                "--artifacts-destination",
                str(settings.home / "mlflow" / "artifacts"),
            ),
            {**house, "MLFLOW_BACKEND_STORE_URI": settings.mlflow_uri},  # it holds a password: not on the command line
            f"http://{settings.browsed_host}:{settings.mlflow_port}",
            lambda: _status(f"{settings.mlflow_url}/health") == 200,
            {"PORTRAIT_MLFLOW_PORT": settings.mlflow_port},
            (python, "-m", "serving.local.mlflow_prepare"),
        ),
    ]


def _servers(settings: Settings) -> list[Service]:
    """Postgres and Redis. They are told nothing of the house."""
    return [
        Service(
            "postgres",
            "Postgres",
            SERVERS,
            servers.postgres_command(settings),
            {},
            f"postgresql://{settings.host}:{settings.postgres_port}",
            lambda: _postgres_answers(settings.warehouse_url),
            {"PORTRAIT_POSTGRES_PORT": settings.postgres_port},
            (sys.executable, "-m", "serving.local.servers"),
        ),
        Service(
            "redis",
            "Redis",
            SERVERS,
            servers.redis_command(settings),
            {},
            f"redis://{settings.host}:{settings.redis_port}",
            lambda: _redis_answers(settings.broker_url),
            {"PORTRAIT_REDIS_PORT": settings.redis_port},
        ),
    ]


def _airflow(settings: Settings) -> list[Service]:
    """API server, scheduler, DAG processor, and with a broker the workers of each queue."""
    environment = {**_house(settings), **airflow_home.environment()}
    command = str(BIN / "airflow")

    def part(name: str) -> Callable[[], bool]:
        return lambda: _json(f"{settings.airflow_url}/api/v2/monitor/health").get(name, {}).get("status") == "healthy"

    def service(name: str, title: str, arguments: tuple[str, ...], answers: Callable[[], bool]) -> Service:
        return Service(name, title, "airflow", (command, *arguments), environment, "", answers)

    def worker(queue: str, number: int, tasks: int) -> Service:
        name = f"worker-{queue}-{number}"
        arguments = ("celery", "worker", "--queues", queue, "--concurrency", str(tasks), "--celery-hostname", f"{name}@portrait")
        quiet = ("--skip-serve-logs", "--without-gossip", "--without-mingle")
        return service(name, f"worker {number} of queue {queue}", arguments + quiet, lambda: _worker_answers(settings, f"{name}@portrait"))

    workers = [
        *(worker("default", number, airflow_home.PARALLELISM) for number in range(1, settings.default_workers + 1)),
        *(worker("gpu", number, 1) for number in range(1, settings.gpu_workers + 1)),
    ]
    return [
        Service(
            "airflow-api",
            "Airflow",
            "airflow",
            (command, "api-server"),
            environment,
            settings.airflow_browsed_url,
            part("metadatabase"),
            {"PORTRAIT_AIRFLOW_PORT": settings.airflow_port},
            (sys.executable, "-m", "serving.local.airflow_prepare"),
        ),
        service("airflow-scheduler", "Airflow scheduler", ("scheduler", "--skip-serve-logs"), part("scheduler")),
        service("airflow-dags", "Airflow DAG processor", ("dag-processor",), part("dag_processor")),
        *(
            [service("airflow-triggerer", "Airflow triggerer", ("triggerer", "--skip-serve-logs"), part("triggerer"))]
            if settings.profile == "compose"
            else []
        ),
        *(workers if settings.broker_url else []),
    ]


def feast_ui(settings: Settings) -> Service:
    """Feast's own pages. It takes 200 MB that few look at, so it is no part of `portrait up`: the first click on it starts it."""
    address = f"http://{settings.host}:{settings.feast_ui_port}"
    return Service(
        "feast-ui",
        "Feast UI",
        "feast-ui",
        (str(BIN / "feast"), "-c", str(ROOT / "feature_repo"), "ui", "-h", settings.host, "-p", str(settings.feast_ui_port)),
        {**feast_environment(), **_house(settings)},
        address,
        lambda: _status(f"{address}/projects-list.json") == 200,
        {"PORTRAIT_FEAST_UI_PORT": settings.feast_ui_port},
    )


def _house(settings: Settings) -> dict[str, str]:
    """What every process of the house is told."""
    return {
        "PORTRAIT_HOME": str(settings.home),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", "")]),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **dict.fromkeys(("FEAST_USAGE", "GX_ANALYTICS_ENABLED", "DBT_SEND_ANONYMOUS_USAGE_STATS"), "False"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except OSError:
        return 0


def _json(url: str) -> dict:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return {}


def _postgres_answers(url: str) -> bool:
    from psycopg2 import OperationalError

    from quality.postgres import connect

    try:
        connect(url).close()
    except OperationalError:
        return False
    return True


def _redis_answers(url: str) -> bool:
    from redis import Redis, RedisError

    try:
        with Redis.from_url(url, socket_timeout=2) as redis:
            return bool(redis.ping())
    except RedisError:
        return False


def _worker_answers(settings: Settings, name: str) -> bool:
    """Asked by the broker, as `celery inspect ping` does."""
    from celery.app.base import Celery  # `celery` itself replaces its module when first imported, and fails in the thread beside
    from kombu.exceptions import OperationalError

    with Celery(broker=settings.broker_url) as asking:
        try:
            return bool(asking.control.ping([name], timeout=1))
        except OperationalError:
            return False


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True
