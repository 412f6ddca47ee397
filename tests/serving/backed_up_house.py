"""A small house with something in every store, and everything that it holds, read without the code that copies it."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from quality.warehouse import open_warehouse
from serving import keys, manifest
from serving.decisions import Decision, DecisionLog
from serving.local import airflow_home
from settings import ROOT, get_settings
from tests.dbt_project.small_shop import FIRST, deliveries, load
from tests.feature_repo.conftest import MAY
from tests.feature_repo.warehouse import small_shop, write_warehouse

SHOP_DAY = datetime(2024, 5, 5)  # noqa: DTZ001
#: What a house makes anew, by the promise of docs/operations-backup.md.
MADE_ANEW = (
    "run",
    "tmp",
    "logs",
    "postgres",
    "redis",
    "house.env",
    "airflow/airflow.cfg",
    "airflow/logs",
    "dbt/attempts",
    "offline/.generations/000001",
)
AIRFLOW = {
    "dag_run": "id int, dag_id text, run_id text, run_type text, run_after timestamp, state text, conf json",
    "task_instance": "id text, task_id text, dag_id text, run_id text, map_index int, try_number int, pool text, "
    "pool_slots int, state text, queued_by_job_id int, external_executor_id text",
    "xcom": "dag_run_id int, task_id text, map_index int, key text, dag_id text, run_id text, timestamp timestamp, value json",
}

Contents = dict[str, Any]


def furnish() -> str:
    """Fills the house of the settings with files: warehouse, marts, a signed model, a release, a decision, secrets; returns a key."""
    from feature_repo.export import export_marts

    settings = get_settings()
    load(deliveries(), FIRST, FIRST + timedelta(days=5))
    write_warehouse(small_shop())
    export_marts(*MAY)
    export_marts(*MAY)  # so that one generation is in use and one is not
    model = settings.models_dir / "tiny" / "1"
    for name, content in {"saved_model.pb": os.urandom(2000), "variables/variables.index": b"", "assets.extra/golden.json": b"{}"}.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(content)
    (model / "assets").mkdir()
    manifest.sign(model, "tiny", 1, manifest.make_key(settings.signing_key))
    (model.parent / ".ledger.json").write_text(json.dumps({"1": {"sha256": "0", "state": "published", "reason": ""}}))
    (model.parent / ".2.tmp-77").mkdir()
    (model.parent / ".2.tmp-77" / "saved_model.pb").write_bytes(b"half")
    settings.releases_dir.mkdir()
    (settings.releases_dir / "tiny.json").write_text(json.dumps({"model": "tiny", "stable": 1}))
    (settings.candidates_dir / "tiny" / "run").mkdir(parents=True)
    (settings.candidates_dir / "tiny" / "run" / "verdict.json").write_text('{"promote": true}')
    log = DecisionLog(settings.landing_dir / "decisions", is_wall_clock=False)
    log.log([Decision("ann", "recommendation", "mug", "tiny", "1", SHOP_DAY, rank=1, propensity=0.5)], SHOP_DAY)
    log.close()
    (settings.home / "dbt").mkdir()
    (settings.home / "dbt" / "unfinished").write_text("2024-05-03")
    airflow_home.make_secrets()
    keys.make_secrets(settings)
    return keys.KeyRing.of(settings).add("till", ["read:offers"])


def run_services_once() -> None:
    """What Airflow, MLflow and Feast keep: a run under way that handed a path on, an experiment, online features."""
    from feature_repo.materialise import materialise
    from training.tracking import LiveRun

    settings = get_settings()
    if settings.airflow_database_url:
        environment = {**os.environ, **airflow_home.environment()}
        command = (sys.executable, "-m", "serving.local.airflow_prepare")
        prepared = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert prepared.returncode == 0, prepared.stderr[-2000:]
    else:  # the columns that are named below suffice; Airflow takes ten seconds to make them
        for table, columns in AIRFLOW.items():
            _airflow(f"create table {table} ({columns})")
    handed_on = json.dumps([{"model": "tiny", "encoder": f"{settings.candidates_dir}/tiny/run"}])
    for statement in (
        "insert into dag_run (id, dag_id, run_id, run_type, run_after, state, conf) values "
        "(7, 'train', 'one', 'manual', '2024-05-05', 'running', '{}')",
        *(
            "insert into task_instance (id, task_id, dag_id, run_id, map_index, try_number, pool, pool_slots, state, queued_by_job_id) "
            f"values ('{number:032x}', 'task-{state}', 'train', 'one', -1, 1, 'training', 1, '{state}', 3)"
            for number, state in enumerate(("running", "queued", "success"), start=1)
        ),
        "insert into xcom (dag_run_id, task_id, map_index, key, dag_id, run_id, timestamp, value) values "
        f"(7, 'task-success', -1, 'return_value', 'train', 'one', '2024-05-05', '{handed_on}')",
    ):
        _airflow(statement)
    run = LiveRun("tiny", "run")
    run.finish({"epochs": 1}, {"auc": 0.75}, [settings.candidates_dir / "tiny" / "run" / "verdict.json"])
    assert materialise(*MAY)["user_features"] == 2


def _airflow(statement: str) -> None:
    """One row of Airflow's, without those that it would refer to."""
    settings = get_settings()
    if settings.airflow_database_url:
        import psycopg2

        with closing(psycopg2.connect(settings.airflow_database_url.replace("+psycopg2", ""))) as server, server, server.cursor() as cursor:
            cursor.execute("set session_replication_role = replica")
            cursor.execute(statement)
        return
    with closing(sqlite3.connect(settings.home / "airflow" / "airflow.db")) as file, file:
        file.execute(statement)


def contents() -> Contents:
    """Everything in the house of the settings: bytes of files, rows of every table of every database, every key of Redis."""
    settings = get_settings()
    found: Contents = {}
    for file in sorted(settings.home.rglob("*")):
        path = file.relative_to(settings.home).as_posix()
        if path.startswith(MADE_ANEW) or file.name.endswith((".lock", "-wal", "-shm", ".wal")) or ".tmp" in path:
            continue
        if file.is_symlink():
            found[path] = os.readlink(file)  # noqa: PTH115
        elif file.is_file() and file.read_bytes().startswith(b"SQLite format 3\0"):
            found[path] = _sqlite(file)
        elif file == settings.warehouse:
            found[path] = _duckdb(file)
        elif file.is_file():
            found[path] = hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mode
    for name in ("airflow_database_url", "mlflow_database_url", "registry_url", "warehouse_url"):
        if url := getattr(settings, name):
            found[name] = _postgres(url.replace("+psycopg2", ""))
    if settings.online_store == "redis":
        found["redis"] = _redis(settings.redis)
    return found


def destroy(home: Path) -> None:
    shutil.rmtree(home)
    assert not home.exists()


def _sqlite(file: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(file)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        return {table: sorted(repr(row) for row in database.execute(f'select * from "{table}"')) for table in tables}


def _duckdb(file: Path) -> dict[str, list[str]]:
    with duckdb.connect(str(file), read_only=True) as database:
        tables = database.execute("select table_schema || '.' || table_name from information_schema.tables").fetchall()
        return {table: sorted(repr(row) for row in database.execute(f"select * from {table}").fetchall()) for (table,) in tables}


def _postgres(url: str) -> dict[str, list[str]]:
    """Rows of every table, and where every sequence stands."""
    import psycopg2

    with closing(psycopg2.connect(url)) as server, server.cursor() as cursor:
        cursor.execute(
            "select format('%I.%I', schemaname, tablename), '*' from pg_tables "
            "where schemaname not in ('pg_catalog', 'information_schema') "
            "union select format('%I.%I', schemaname, sequencename), 'last_value, is_called' from pg_sequences"
        )
        rows: dict[str, list[str]] = {}
        for table, columns in cursor.fetchall():
            cursor.execute(f"select {columns} from {table}")
            rows[table] = sorted(repr([bytes(one) if isinstance(one, memoryview) else one for one in row]) for row in cursor.fetchall())
        return rows


def _redis(address: str) -> dict[str, str]:
    from redis import Redis

    server, *options = address.split(",")
    host, port = server.split(":")
    with Redis(host=host, port=int(port), password=dict(option.split("=", 1) for option in options)["password"]) as redis:
        read = {b"hash": redis.hgetall, b"string": redis.get, b"zset": lambda key: redis.zrange(key, 0, -1, withscores=True)}
        return {repr(key): repr((read[redis.type(key)](key), redis.ttl(key))) for key in redis.scan_iter()}


def quiet(_line: str) -> None:
    """Says nothing."""


def differing(left: Contents, right: Contents) -> list[str]:
    """Where they differ, tables of databases by name."""
    places = []
    for name in sorted({*left, *right}, key=str):
        one, other = left.get(name), right.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            places += [f"{name}: {table}" for table in {*one, *other} if one.get(table) != other.get(table)]
        elif one != other:
            places.append(str(name))
    return places


def small_house(home: Path) -> None:
    """A house of one row a store, made in no time."""
    with open_warehouse() as warehouse:
        warehouse.execute("insert into landing.users (user_id, ds) values ('ann', date '2024-05-01')")
    for name in (
        "models/tiny/1/saved_model.pb",
        "releases/tiny.json",
        "secrets/signing_key.pem",
        "landing/users/ds=2024-05-01/part-0.parquet",
    ):
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text(name)
    with closing(sqlite3.connect(home / "api.sqlite")) as file, file:
        file.execute("create table rows (number int)")
