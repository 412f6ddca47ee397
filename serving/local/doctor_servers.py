"""The doctor's lines on a house's servers: Postgres with its databases and clock, Redis, and Celery's workers.

Nothing is changed, and no line holds a password. What does not answer is a warning in a house that is down, and a failure in one that runs.
"""

import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Any

from serving.local import processes
from serving.local.database import Away, Missing, rows, server_of
from serving.local.doctor_line import Line
from serving.local.preflight import FREE_GB
from settings import Settings

LEAST_POSTGRES = 13
#: Beyond this a token or a lease of one side may be over, or not begun, for the other.
MOST_SECONDS_APART = 2
FULL = 0.9


def examine(settings: Settings) -> Iterator[Line]:
    """Every check of the servers that the settings name; none in a house of files."""
    is_up = settings.profile == "compose" or bool(processes.started(settings.home))
    silent = "fail" if is_up else "warn"
    yield from _postgres(settings, silent)
    yield from _redis(settings, silent)
    if settings.broker_url:
        yield from _workers(settings, silent)


def databases(settings: Settings) -> dict[str, tuple[str, str]]:
    """The setting and the URL of each database that lies on a server."""
    named = {
        "airflow": ("PORTRAIT_AIRFLOW_DATABASE_URL", settings.airflow_database_url),
        "mlflow": ("PORTRAIT_MLFLOW_DATABASE_URL", settings.mlflow_database_url),
        "feast": ("PORTRAIT_REGISTRY_URL", settings.registry_url),
        "warehouse": ("PORTRAIT_WAREHOUSE_URL", settings.warehouse_url),
    }
    return {name: (setting, url) for name, (setting, url) in named.items() if url.startswith("postgres")}


def _postgres(settings: Settings, silent: str) -> Iterator[Line]:
    """One line for each server, then its clock; one for each database; one for the disk where it is this house's own."""
    known: dict[str, bool] = {}
    for name, (setting, url) in databases(settings).items():
        server = server_of(url)
        if known.get(server) is False:
            continue
        try:
            begin = time.time()
            [(version, clock, size)] = rows(
                url,
                "select current_setting('server_version'), extract(epoch from clock_timestamp())::float8, "
                "pg_database_size(current_database())",
            )
        except Missing:
            yield Line(f"database {name}", "fail", f"is missing on {server}: create it there, or correct {setting}")
            continue
        except Away as why:
            known[server] = False
            yield Line(f"Postgres {server}", silent, f"{why}: start it (`portrait up` starts this house's own), or correct {setting}")
            continue
        if server not in known:
            known[server] = True
            yield from _server(server, str(version), min(clock - begin, 0) or max(clock - time.time(), 0))
        yield Line(f"database {name}", "ok", f"{size / 2**20:.0f} MB")
    folder = settings.home / "postgres"
    if settings.profile == "services" and folder.exists():
        free = shutil.disk_usage(folder).free / 2**30
        way_out = "" if free >= FREE_GB else f": Postgres stops where it is full; free some of {folder}"
        yield Line("disk of Postgres", "fail" if way_out else "ok", f"{free:.1f} GB free{way_out}")


def _server(server: str, version: str, apart: float) -> Iterator[Line]:
    is_new = int(version.split(".")[0]) >= LEAST_POSTGRES
    yield Line(
        f"Postgres {server}", "ok" if is_new else "fail", version if is_new else f"{version}: {LEAST_POSTGRES} is the least; upgrade it"
    )
    is_near = abs(apart) <= MOST_SECONDS_APART
    detail = f"{apart:+.1f} s from this machine's" if apart else "right"
    yield Line(f"clock of {server}", "ok" if is_near else "fail", detail if is_near else f"{detail}: let both follow one time server (NTP)")


def _redis(settings: Settings, silent: str) -> Iterator[Line]:
    """One line for each server: it must keep what it holds, on disk and in memory."""
    named = {"PORTRAIT_BROKER_URL": settings.broker_url, "PORTRAIT_REDIS": _url(settings.redis) if settings.online_store == "redis" else ""}
    seen: set[str] = set()
    for setting, url in named.items():
        server = server_of(url) if url else ""
        if not server or server in seen:
            continue
        seen.add(server)
        try:
            told = _info(url)
        except Away as why:
            yield Line(f"Redis {server}", silent, f"{why}: start it (`portrait up` starts this house's own), or correct {setting}")
            continue
        faults = list(_faults(told))
        yield Line(
            f"Redis {server}", "fail" if faults else "ok", "; ".join(faults) or f"{told['redis_version']}, append-only, evicts nothing"
        )


def _faults(told: Mapping[str, Any]) -> Iterator[str]:
    if not told.get("aof_enabled"):
        yield "keeps nothing on disk, so that a restart loses features and queued tasks: set `appendonly yes`"
    elif told.get("aof_last_write_status", "ok") != "ok":
        yield "could not write its file: look at its log and its disk"
    if (policy := told.get("maxmemory_policy")) != "noeviction":
        yield f"may throw away features and queued tasks ({policy}): set `maxmemory-policy noeviction`"
    if (most := told.get("maxmemory") or 0) and told["used_memory"] > FULL * most:
        yield f"uses {told['used_memory'] / most:.0%} of its memory, and refuses writes when full: raise `maxmemory`"


def _workers(settings: Settings, silent: str) -> Iterator[Line]:
    """One line for each queue: tasks of one without a worker wait for ever."""
    try:
        taken = _queues(settings.broker_url)
    except Away as why:
        yield Line("workers", silent, f"cannot be asked: {why}")
        return
    for queue, wanted in {"default": settings.default_workers, "gpu": settings.gpu_workers}.items():
        there = sorted(name for name, queues in taken.items() if queue in queues)
        way_out = "" if len(there) >= wanted else f", {wanted} wanted: `portrait up` starts them; their logs are in {settings.logs_dir}"
        state = "ok" if not way_out else "warn" if there else silent
        yield Line(f"queue {queue}", state, f"{len(there)} worker{'s' * (len(there) != 1)}{way_out}")


def online_keys(settings: Settings) -> int:
    """Keys in the Redis database of online features.

    Raises:
        Away: it does not answer.
    """
    url = _url(settings.redis)
    return int(_info(url).get(f"db{url.rsplit('/', 1)[1]}", {}).get("keys", 0))


def _url(feast: str) -> str:
    """Feast's `host:port,db=0,password=...` as redis-py reads it."""
    from urllib.parse import quote

    address, *options = feast.split(",")
    chosen = dict(option.split("=", 1) for option in options if "=" in option)
    scheme = "rediss" if chosen.get("ssl", "").lower() == "true" else "redis"
    password = f":{quote(chosen['password'], safe='')}@" if "password" in chosen else ""
    return f"{scheme}://{password}{address}/{chosen.get('db', '0')}"


def _info(url: str) -> dict[str, Any]:
    from redis import Redis, RedisError

    try:
        with Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as redis:
            return redis.info()  # type: ignore[return-value]
    except RedisError as error:
        raise Away("refuses the password" if "auth" in str(error).lower() or "password" in str(error) else "does not answer") from error


def _queues(broker: str) -> dict[str, list[str]]:
    """The queues that each worker takes tasks from."""
    from celery.app.base import Celery
    from kombu.exceptions import OperationalError

    with Celery(broker=broker) as asking:
        try:
            told = asking.control.inspect(timeout=2).active_queues() or {}
        except OperationalError as error:
            raise Away("the broker does not answer") from error
    return {worker: [queue["name"] for queue in queues] for worker, queues in told.items()}
