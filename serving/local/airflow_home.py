"""Airflow's home inside a house: its environment, secrets and password, all made once and kept under `<home>/airflow`.

Configured by environment alone (`AIRFLOW__SECTION__KEY`): no examples, no triggerer (no task here defers), an admin with a generated
password. SQLite and LocalExecutor, or what the settings name: Postgres, Celery's queues, users with roles. Tasks run with the repository
root on PYTHONPATH and the house in PORTRAIT_HOME.
"""

import base64
import json
import os
import secrets
from pathlib import Path

from serving.keys import write_private
from settings import ROOT, Settings, get_settings

USER = "admin"
SECRETS = ("fernet_key", "api_secret_key", "jwt_secret")
#: Tasks at once of a LocalExecutor (that of 3.3.2 can deadlock when it dispatches in bursts, so this stays small), or of a Celery worker.
PARALLELISM = 3
#: After this Redis hands a task that is not done to another worker.
LONGEST_TASK_SECONDS = 86_400
#: Seconds without a heartbeat after which a task that a killed worker left behind is tried again.
LOST_TASK_SECONDS = 60
AUTH_MANAGERS = {
    "simple": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
    "fab": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
}


def folder() -> Path:
    return get_settings().home / "airflow"


def pools() -> dict[str, int]:
    """Slots of the pools that the DAGs name: one process at a time may open the warehouse, and one training fills a worker."""
    settings = get_settings()
    return {"warehouse": 1, "training": settings.gpu_workers if settings.broker_url else 1}


def make_secrets() -> None:
    """Generates this house's password and secrets, where it has none yet: when it comes up, and never for a question.

    A password that the settings give is the house's from then on.
    """
    given = get_settings().admin_password
    if given or not _passwords().exists():
        write_private(_passwords(), json.dumps({USER: given or secrets.token_urlsafe(12)}))
    for name in SECRETS:
        if not (folder() / "secrets" / name).exists():  # 32 random bytes in URL-safe base64, the form of a Fernet key
            write_private(folder() / "secrets" / name, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())


def password() -> str:
    """The password of the login `admin`; in a house that was never up, or that is in containers, the one of the settings."""
    return json.loads(_passwords().read_text())[USER] if _passwords().exists() else get_settings().admin_password


def environment() -> dict[str, str]:
    """Every variable that makes an `airflow` command belong to this house; `make_secrets` comes before it is started."""
    settings = get_settings()
    home = folder()
    workers = settings.default_workers * PARALLELISM + settings.gpu_workers
    config: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": ROOT / "dags",
            "plugins_folder": home / "plugins",
            "load_examples": False,
            "executor": "CeleryExecutor" if settings.broker_url else "LocalExecutor",
            "mp_start_method": "fork",
            "parallelism": workers if settings.broker_url else PARALLELISM,
            "auth_manager": AUTH_MANAGERS[settings.login],
            "dags_are_paused_at_creation": False,
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_passwords_file": _passwords(),
            "fernet_key": _secret("fernet_key"),
            "execution_api_server_url": f"{settings.airflow_url}/execution/",
        },
        "database": _database(settings),
        "api": {
            "host": settings.host,
            "port": settings.airflow_port,
            "base_url": settings.airflow_browsed_url,
            "workers": 1,
            "secret_key": _secret("api_secret_key"),
            "instance_name": f"Portrait: {settings.home.name}",
        },
        "api_auth": {"jwt_secret": _secret("jwt_secret")},
        "scheduler": {
            "scheduler_idle_sleep_time": 0.5,
            "task_queued_timeout": 3600,
            **({"task_instance_heartbeat_timeout": LOST_TASK_SECONDS} if settings.broker_url else {}),
        },
        **(_celery(settings) if settings.broker_url else {}),
        "workers": {"min_heartbeat_interval": 1},  # a skipped or failed task is noticed at the next heartbeat
        "dag_processor": {"min_file_process_interval": 300, "refresh_interval": 10, "parsing_processes": 1},
        "logging": {"base_log_folder": home / "logs", "colored_console_log": False},
        "usage_data_collection": {"enabled": False},
    }
    variables = {
        f"AIRFLOW__{section.upper()}__{key.upper()}": str(value) for section, values in config.items() for key, value in values.items()
    }
    return {
        **variables,
        "AIRFLOW_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PORTRAIT_HOME": str(settings.home),
        "NO_COLOR": "1",
    }


def _database(settings: Settings) -> dict[str, object]:
    """On Postgres the API server asks by psycopg 3, which speaks both ways; Airflow's own guess would be asyncpg."""
    url = settings.airflow_database
    is_postgres = url.startswith("postgresql")
    return {"sql_alchemy_conn": url, **({"sql_alchemy_conn_async": "postgresql+psycopg:" + url.split(":", 1)[1]} if is_postgres else {})}


def _celery(settings: Settings) -> dict[str, dict[str, object]]:
    """Tasks wait in Redis and their results in Airflow's database; a worker takes no task that it cannot start at once."""
    return {
        "celery": {
            "broker_url": settings.broker_url,
            "result_backend": f"db+{settings.airflow_database}",
            "worker_prefetch_multiplier": 1,
        },
        "celery_broker_transport_options": {"visibility_timeout": LONGEST_TASK_SECONDS},
    }


def _passwords() -> Path:
    return folder() / "passwords.json"


def _secret(name: str) -> str:
    file = folder() / "secrets" / name
    return file.read_text() if file.exists() else ""
