"""The doctor's lines on servers: what each fault is called, and the same lines asked of a real Postgres, Redis and Celery worker."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feature_repo.contract import services as feature_services
from serving.local import airflow_home, database, doctor, doctor_servers, doctor_stores, mlflow_prepare
from serving.local.database import Away, Missing, newest_revision, rows, server_of
from settings import ROOT, get_settings
from tests.serving.servers_house import live_in, running_servers
from tests.serving.test_local_production import STRONG, on_servers

GIB = 2**30
REDIS = {"redis_version": "7.0.15", "aof_enabled": 1, "aof_last_write_status": "ok", "maxmemory_policy": "noeviction", "used_memory": 1}


def said(lines: Iterator[doctor.Line]) -> dict[str, tuple[str, str]]:
    return {line.check: (line.state, line.detail) for line in lines}


@pytest.fixture
def answers(house: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A house on servers that all answer well, until a test changes what they say."""
    on_servers(monkeypatch, PROFILE="compose")
    told = {
        "postgres": lambda url: [("15.6 (Debian)", time.time(), 12 * 2**20)],
        "redis": dict(REDIS),
        "queues": {"worker-default-1@portrait": ["default"], "worker-gpu-1@portrait": ["gpu"]},
    }
    monkeypatch.setattr(doctor_servers, "rows", lambda url, query: told["postgres"](url))
    monkeypatch.setattr(doctor_servers, "_info", lambda url: told["redis"])
    monkeypatch.setattr(doctor_servers, "_queues", lambda broker: told["queues"])
    return told


def test_a_house_of_files_has_no_servers_to_ask(house: Path) -> None:
    assert list(doctor_servers.examine(get_settings())) == []


def test_servers_that_are_well_are_said_to_be(answers: dict[str, Any]) -> None:
    lines = said(doctor_servers.examine(get_settings()))
    assert {state for state, _ in lines.values()} == {"ok"}
    assert lines["Postgres 127.0.0.1:5433"][1] == "15.6 (Debian)"
    assert {name: lines[f"database {name}"][1] for name in ("airflow", "mlflow", "feast", "warehouse")} == dict.fromkeys(
        ("airflow", "mlflow", "feast", "warehouse"), "12 MB"
    )
    assert lines["Redis 127.0.0.1:6380"][1] == "7.0.15, append-only, evicts nothing"
    assert (lines["queue default"][1], lines["queue gpu"][1]) == ("1 worker", "1 worker")
    assert lines["clock of 127.0.0.1:5433"][1] == "right"
    assert not any(STRONG in detail for _, detail in lines.values())


def test_an_old_postgres_and_a_clock_of_its_own_are_failures(answers: dict[str, Any]) -> None:
    answers["postgres"] = lambda url: [("12.3", time.time() - 60, 0)]
    lines = said(doctor_servers.examine(get_settings()))
    assert lines["Postgres 127.0.0.1:5433"] == ("fail", "12.3: 13 is the least; upgrade it")
    state, detail = lines["clock of 127.0.0.1:5433"]
    assert state == "fail" and detail == "-60.0 s from this machine's: let both follow one time server (NTP)"


def test_a_missing_database_is_named_with_its_setting(answers: dict[str, Any]) -> None:
    def no_mlflow(url: str) -> list[tuple]:
        if url.endswith("/mlflow"):
            raise Missing
        return [("15.6", time.time(), 0)]

    answers["postgres"] = no_mlflow
    lines = said(doctor_servers.examine(get_settings()))
    assert lines["database mlflow"] == (
        "fail",
        "is missing on 127.0.0.1:5433: create it there, or correct PORTRAIT_MLFLOW_DATABASE_URL",
    )
    assert lines["database feast"][0] == "ok"


@pytest.mark.parametrize(("profile", "state"), [("compose", "fail"), ("services", "warn")])
def test_a_server_that_is_silent_is_asked_once_and_is_no_failure_in_a_house_that_is_down(
    answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch, profile: str, state: str
) -> None:
    asked = []

    def silent(url: str) -> list[tuple]:
        asked.append(url)
        raise Away("does not answer")

    answers["postgres"], answers["queues"] = silent, {}
    lines = said(doctor_servers.examine(on_servers(monkeypatch, PROFILE=profile)))
    assert len(asked) == 1
    assert lines["Postgres 127.0.0.1:5433"][0] == lines["queue gpu"][0] == state
    assert "does not answer: start it (`portrait up` starts this house's own)" in lines["Postgres 127.0.0.1:5433"][1]
    assert lines["queue gpu"][1].startswith("0 workers, 1 wanted: `portrait up` starts them")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"aof_enabled": 0}, "keeps nothing on disk, so that a restart loses features and queued tasks: set `appendonly yes`"),
        ({"aof_last_write_status": "err"}, "could not write its file"),
        ({"maxmemory_policy": "allkeys-lru"}, "may throw away features and queued tasks (allkeys-lru): set `maxmemory-policy noeviction`"),
        ({"maxmemory": GIB, "used_memory": 0.95 * GIB}, "uses 95% of its memory, and refuses writes when full: raise `maxmemory`"),
    ],
)
def test_a_redis_that_may_lose_what_it_holds_is_a_failure(answers: dict[str, Any], change: dict[str, Any], words: str) -> None:
    answers["redis"].update(change)
    state, detail = said(doctor_servers.examine(get_settings()))["Redis 127.0.0.1:6380"]
    assert state == "fail" and words in detail


def test_a_queue_with_too_few_workers_is_a_warning(answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = said(doctor_servers.examine(on_servers(monkeypatch, PROFILE="compose", GPU_WORKERS="2")))
    assert lines["queue gpu"][0] == "warn" and lines["queue gpu"][1].startswith("1 worker, 2 wanted")


def test_feasts_address_of_redis_is_read_as_feast_writes_it() -> None:
    assert doctor_servers._url("127.0.0.1:6379,db=0") == "redis://127.0.0.1:6379/0"
    assert doctor_servers._url("cache:6380,db=3,password=a/b@c,ssl=true") == "rediss://:a%2Fb%40c@cache:6380/3"
    assert server_of("redis://:word@cache/1") == "cache:6379" and server_of("postgresql+psycopg2://a:b@db/x") == "db:5432"


def schema(home: Path, name: str, statement: str) -> None:
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(home / name) as database:
        database.executescript(statement)


def test_a_schema_of_another_version_is_a_failure_and_one_not_made_a_warning(house: Path) -> None:
    lines = said(doctor_stores.examine(get_settings()))
    assert lines["airflow schema"] == ("warn", "not made yet: `portrait up` makes it")
    assert not (house / "airflow").exists()
    schema(house, "airflow/airflow.db", "create table alembic_version (version_num); insert into alembic_version values ('0123abcd')")
    schema(house, "mlflow/mlflow.db", f"create table alembic_version as select '{newest_revision(mlflow_migrations())}' as version_num")
    lines = said(doctor_stores.examine(get_settings()))
    state, detail = lines["airflow schema"]
    assert state == "fail" and detail.startswith("0123abcd, the installed package's is ") and "`portrait up` migrates it" in detail
    assert lines["mlflow schema"][0] == "ok"
    assert "airflow login schema" not in lines


def test_mlflows_store_is_upgraded_where_there_is_one_of_another_version(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import db

    upgraded: list[str] = []
    monkeypatch.setattr(db.upgrade, "callback", lambda url: upgraded.append(url))
    mlflow_prepare.main()  # none yet: MLflow makes it
    schema(house, "mlflow/mlflow.db", f"create table alembic_version as select '{newest_revision(mlflow_migrations())}' as version_num")
    mlflow_prepare.main()
    assert upgraded == []
    schema(house, "mlflow/mlflow.db", "update alembic_version set version_num = '0123abcd'")
    mlflow_prepare.main()
    assert upgraded == [get_settings().mlflow_uri]


def mlflow_migrations() -> Path:
    return database.package_folder("mlflow") / "store" / "db_migrations" / "versions"


def test_a_registry_that_lacks_a_service_of_the_contract_is_a_failure(house: Path) -> None:
    names = sorted(feature_services())
    made = "create table feature_services (feature_service_name, project_id)"
    schema(house, "feast/registry.db", made)
    assert said(doctor_stores.examine(get_settings()))["feast registry"][0] == "fail"
    with sqlite3.connect(house / "feast" / "registry.db") as database:
        database.executemany("insert into feature_services values (?, 'portrait')", [(name,) for name in (*names[1:], "old_v0")])
    state, detail = said(doctor_stores.examine(get_settings()))["feast registry"]
    assert state == "fail" and detail.startswith(f"lacks {names[0]} and has old_v0, which no contract names: ")
    with sqlite3.connect(house / "feast" / "registry.db") as database:
        database.execute("update feature_services set feature_service_name = ? where feature_service_name = 'old_v0'", (names[0],))
    assert said(doctor_stores.examine(get_settings()))["feast registry"] == ("ok", f"{len(names)} feature services")


def test_secrets_that_others_may_read_and_an_address_that_others_may_reach_are_told(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(doctor._secrets(get_settings())) == {"secrets": ("ok", "none yet: `portrait up` makes them")}
    airflow_home.make_secrets()
    assert said(doctor._secrets(get_settings())) == {"secrets": ("ok", "4 files, for this user alone")}
    (house / "airflow" / "secrets" / "fernet_key").chmod(0o644)
    monkeypatch.setenv("PORTRAIT_HOST", "0.0.0.0")
    get_settings.cache_clear()
    lines = said(doctor._secrets(get_settings()))
    assert lines["secrets"][0] == "fail" and lines["secrets"][1].startswith(
        f"others may read {house}/airflow/secrets/fernet_key: chmod 600"
    )
    assert lines["address"][0] == "warn" and lines["address"][1].startswith("the services bind to 0.0.0.0, and the model server and Feast")


def test_what_production_refuses_is_a_failure_of_the_doctor(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_servers(monkeypatch, "changeme")
    found = [line for line in doctor._secrets(get_settings()) if line.state == "fail"]
    assert len(found) == 6 and all("has 8 characters" in line.detail for line in found)


@pytest.mark.slow
def test_workers_are_asked_by_several_threads_at_once() -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor; from types import SimpleNamespace as S; from serving.local import services\n"
        "ask = lambda name: services._worker_answers(S(broker_url='redis://127.0.0.1:1/0'), name)\n"
        "with ThreadPoolExecutor(6) as pool: print(list(pool.map(ask, ['worker'] * 6)))"
    )
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert asked.stdout.strip() == str([False] * 6)


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, str]]:
    with running_servers() as environment:
        yield environment


@pytest.mark.slow
def test_a_real_postgres_and_redis_are_told_apart_from_broken_ones(running: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    settings = live_in(running, monkeypatch)
    postgres, cache = f"127.0.0.1:{settings.postgres_port}", f"127.0.0.1:{settings.redis_port}"
    lines = said(doctor_servers.examine(settings)) | said(doctor_stores.examine(settings))
    for check in (f"Postgres {postgres}", f"clock of {postgres}", f"Redis {cache}", "database airflow", "database warehouse"):
        assert lines[check][0] == "ok", lines[check]
    assert lines["queue default"] == ("fail", f"0 workers, 1 wanted: `portrait up` starts them; their logs are in {settings.logs_dir}")
    assert lines["airflow schema"] == lines["mlflow schema"] == ("warn", "not made yet: `portrait up` makes it")
    assert lines["feast registry"] == ("warn", "not made yet: `portrait up` makes it")
    assert lines["online features"] == ("warn", "none in Redis: run `portrait run features`")

    with redis.Redis.from_url(doctor_servers._url(settings.redis)) as online:
        online.set("a", 1)
        online.config_set("appendonly", "no")
        online.config_set("maxmemory-policy", "volatile-lru")
    lines = said(doctor_servers.examine(settings)) | said(doctor_stores.examine(settings))
    assert lines["online features"] == ("ok", "1 rows in Redis")
    assert "set `appendonly yes`; may throw away features and queued tasks (volatile-lru)" in lines[f"Redis {cache}"][1]

    away = settings.mlflow_database_url.replace("/mlflow", "/elsewhere")
    assert said(doctor_servers.examine(live_in({"PORTRAIT_MLFLOW_DATABASE_URL": away}, monkeypatch)))["database mlflow"][0] == "fail"
    with pytest.raises(Missing):
        rows(away, "select 1")
    with pytest.raises(Away, match="refuses the password"):
        rows(settings.airflow_database_url.replace(":", ":x", 2).replace(":x//", "://"), "select 1")
    broken = live_in({"PORTRAIT_REDIS": f"{cache},db=0,password=wrong", "PORTRAIT_BROKER_URL": ""}, monkeypatch)
    assert said(doctor_servers.examine(broken))[f"Redis {cache}"][1].startswith("refuses the password")


@pytest.mark.slow
def test_a_real_worker_is_counted_for_its_queue(running: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = live_in(running, monkeypatch)
    code = (
        "import os; from celery import Celery; Celery(broker=os.environ['BROKER']).worker_main("
        "['worker', '--queues', 'gpu', '--pool', 'solo', '--without-gossip', '--without-mingle', '--loglevel', 'ERROR'])"
    )
    environment = {**os.environ, "BROKER": settings.broker_url, "C_FORCE_ROOT": "1"}
    worker = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(30):
            lines = said(doctor_servers._workers(settings, "fail"))
            if lines["queue gpu"][0] == "ok":
                break
        assert lines["queue gpu"] == ("ok", "1 worker")
        assert lines["queue default"][0] == "fail"
    finally:
        worker.terminate()
        worker.wait(30)
