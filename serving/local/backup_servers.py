"""Copies of what a house keeps on servers, and the way back: Postgres by its own dump and restore, Redis by its own snapshot.

Nothing here needs the servers' files, so the servers may be anywhere; their programs (pg_dump, pg_restore, redis-cli, redis-server) have to
be on this machine. Passwords go to them by their environment, never by an argument that others could read.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from quality.postgres import connect, postgres_server
from serving.local.errors import BackupFailed, LocalError, RestoreRefused
from serving.local.servers import installed
from settings import Settings

KEYS_AT_ONCE = 1000
PATIENCE_SECONDS = 600


def databases(settings: Settings) -> dict[str, str]:
    """`{name: postgresql:// URL}` of the databases that this house has on a server."""
    urls = {
        "airflow": settings.airflow_database_url,
        "mlflow": settings.mlflow_database_url,
        "feast": settings.registry_url,
        "warehouse": settings.warehouse_url,
    }
    return {name: re.sub(r"^postgresql\+\w+:", "postgresql:", url) for name, url in urls.items() if url}


@contextmanager
def snapshot(url: str) -> Iterator[tuple[str, str]]:
    """The name of a snapshot of the database, as it stands when the block begins and until it ends; and the server's version."""
    with closing(connect(url)) as server, server.cursor() as cursor:
        server.set_session(isolation_level="REPEATABLE READ", readonly=True)
        cursor.execute("select pg_export_snapshot(), current_setting('server_version')")
        name, version = cursor.fetchone()
        yield name, version.split()[0]


def dump(url: str, name: str, file: Path) -> None:
    """Writes the snapshot `name` of the database, in Postgres' custom format."""
    file.parent.mkdir(parents=True, exist_ok=True)
    arguments = (str(installed("pg_dump")), "--format=custom", "--compress=1", f"--snapshot={name}", f"--file={file}")
    _run(arguments, _asks(url), BackupFailed)
    file.chmod(0o600)


def load(url: str, file: Path) -> None:
    """Fills a database from a dump, all of it or nothing; of an earlier try nothing is left."""
    arguments = (
        "--exit-on-error",
        "--single-transaction",
        "--clean",
        "--if-exists",
        "--no-owner",
        f"--dbname={postgres_server(url)['database']}",
        str(file),
    )
    _run((str(installed("pg_restore")), *arguments), _asks(url), LocalError)


def refuse_older_postgres(version: str) -> None:
    """Raises RestoreRefused where this machine's Postgres is older than the one whose dumps are to be read."""
    told = subprocess.run((str(installed("pg_restore")), "--version"), capture_output=True, text=True, check=True).stdout
    found = re.findall(r"\d+", told)[0]
    if int(found) < int(version.split(".")[0]):
        raise RestoreRefused(
            f"A dump is read by Postgres of its version or later. It is of {version}, and this machine has {found}. Upgrade it."
        )


def dump_online(settings: Settings, file: Path) -> str:
    """Writes Redis' snapshot, as a replica would get it; returns the server's version."""
    file.parent.mkdir(parents=True, exist_ok=True)
    host, port, options = _redis(settings)
    _run(("redis-cli", "-h", host, "-p", port, "--rdb", str(file)), {"REDISCLI_AUTH": options.get("password", "")}, BackupFailed)
    file.chmod(0o600)
    with _client(settings) as redis:
        return str(redis.info("server")["redis_version"])


def load_online(settings: Settings, file: Path) -> int:
    """Copies the online features of a snapshot into this house's Redis, by way of one that reads the file; how many keys.

    What else the snapshot holds, Celery's queues, is left: the scheduler sends again what waited there.
    """
    database = int(_redis(settings)[2].get("db", 0))
    copied = cursor = 0
    with _reading(file, database) as source, _client(settings) as target:
        while True:
            cursor, keys = source.scan(cursor, count=KEYS_AT_ONCE)
            asked = source.pipeline(transaction=False)
            for key in keys:
                asked.dump(key).pttl(key)
            answers = asked.execute()
            sent = target.pipeline(transaction=False)
            for place, key in enumerate(keys):
                sent.restore(key, max(answers[2 * place + 1], 0), answers[2 * place], replace=True)
            sent.execute()
            copied += len(keys)
            if cursor == 0:
                return copied


@contextmanager
def _reading(file: Path, database: int) -> Iterator[Any]:
    """A Redis of our own that has read the snapshot, reached by a socket in a private folder."""
    from redis import BusyLoadingError, ConnectionError, Redis

    with tempfile.TemporaryDirectory(prefix="portrait-redis-") as folder:
        shutil.copyfile(file, Path(folder) / "online.rdb")
        arguments = ("--port", "0", "--unixsocket", f"{folder}/socket", "--dir", folder, "--dbfilename", "online.rdb", "--save", "")
        log = Path(folder) / "log"
        server = subprocess.Popen(("redis-server", *arguments, "--logfile", str(log)), cwd=folder)
        try:
            with Redis(unix_socket_path=f"{folder}/socket", db=database) as redis:
                deadline = time.monotonic() + PATIENCE_SECONDS
                while True:
                    try:
                        redis.ping()
                        break
                    except (BusyLoadingError, ConnectionError):
                        if server.poll() is not None or time.monotonic() > deadline:
                            said = log.read_text(errors="replace")[-500:] if log.exists() else ""
                            raise LocalError(f"Redis must read the snapshot of the online store. It does not read {file}: {said}") from None
                        time.sleep(0.05)
                yield redis
        finally:
            server.terminate()
            server.wait()


def _client(settings: Settings) -> Any:
    from redis import Redis

    host, port, options = _redis(settings)
    return Redis(host=host, port=int(port), db=int(options.get("db", 0)), password=options.get("password"))


def _redis(settings: Settings) -> tuple[str, str, dict[str, str]]:
    """Host, port and options of `host:port,db=0,password=...`."""
    server, *options = settings.redis.split(",")
    host, _, port = server.rpartition(":")
    return host, port, dict(option.split("=", 1) for option in options)


def _asks(url: str) -> dict[str, str]:
    """How Postgres' programs are told of a server."""
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "database": "PGDATABASE"}
    return {names[name]: str(value) for name, value in postgres_server(url).items()}


def _run(command: tuple[str, ...], variables: dict[str, str], failure: type[LocalError]) -> None:
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise failure(
            f"{Path(command[0]).name} must succeed. It ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}"
        )
