"""The servers of a house whose profile is `services`: Postgres and Redis from the distribution's packages, on its address, with passwords.

`settle` chooses passwords and writes them with every address to the house's `house.env`, once; from then on the house's settings are
those of a house with servers, whoever asks. `python -m serving.local.servers` makes the database cluster, once; its databases are
`airflow`, `mlflow`, `feast` and `warehouse`. Redis keeps online features (db 0) and Celery's queues (db 1) in an append-only file.
"""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from serving.keys import write_private
from serving.local.errors import NotStartable
from settings import Settings, get_settings

DATABASES = ("airflow", "mlflow", "feast", "warehouse")
USER = "portrait"


def settle(settings: Settings) -> Settings:
    """The settings of this house, after its `house.env` was written where its profile wants one and has none yet.

    Raises:
        NotStartable: the house was made with another profile.
    """
    is_of_files = (settings.home / "airflow" / "airflow.db").exists() or (settings.profile == "services" and settings.warehouse.exists())
    made_for = "services" if settings.house_file.exists() else "embedded" if is_of_files else settings.profile
    if made_for != settings.profile:
        raise NotStartable(
            f"A house keeps the profile it was made with. {settings.home} is of the profile {made_for}, and PORTRAIT_PROFILE is "
            f"{settings.profile}. Leave PORTRAIT_PROFILE away, or give the other profile a house of its own (PORTRAIT_HOME)."
        )
    if settings.profile != "services" or settings.house_file.exists():
        return settings
    _write_house_file(settings)
    get_settings.cache_clear()
    return get_settings()


def postgres_command(settings: Settings) -> tuple[str, ...]:
    return (
        *_as_postgres(),
        *(str(installed("postgres")), "-D", str(_cluster(settings))),
        *("-c", f"listen_addresses={settings.host}", "-c", f"port={settings.postgres_port}", "-c", "unix_socket_directories="),
        *("-c", "max_connections=200", "-c", "shared_buffers=256MB"),
    )


def redis_command(settings: Settings) -> tuple[str, ...]:
    return ("redis-server", str(_redis_file(settings)))


def make_cluster(settings: Settings) -> None:
    """The database cluster with its empty databases, where there is none: made beside its place, so that a killed try leaves nothing."""
    cluster = _cluster(settings)
    if cluster.exists():
        return
    beside = cluster.with_name("cluster.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    secret = beside.with_name("password")
    write_private(secret, _password(settings))
    if os.geteuid() == 0:
        for path in (beside, secret):
            shutil.chown(path, "postgres", "postgres")
    try:
        initdb = (str(installed("initdb")), "-D", str(beside), "-U", USER, "-A", "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8")
        _run((*_as_postgres(), *initdb, "--locale=C.UTF-8"))
        alone = (*_as_postgres(), str(installed("postgres")), "--single", "-D", str(beside), "postgres")
        _run(alone, "".join(f"create database {name}\n" for name in DATABASES))
    finally:
        secret.unlink()
    beside.rename(cluster)


def missing(settings: Settings) -> list[str]:
    """One line for each thing that this machine lacks to run the servers."""
    problems = [
        f"The profile `services` needs {what}, which is not installed. On Debian and Ubuntu: apt-get install {package}"
        for what, package, there in (
            ("Postgres", "postgresql", _find("postgres")),
            ("Redis", "redis-server", shutil.which("redis-server")),
        )
        if not there
    ]
    closed = [folder for folder in settings.home.parents if folder.exists() and not folder.stat().st_mode & 0o001]
    if os.geteuid() == 0 and closed:
        problems.append(
            f"Postgres does not run as root, and its user cannot pass through {closed[-1]}. Choose another place for the house "
            "(PORTRAIT_HOME), or run Portrait as an ordinary user."
        )
    return problems


def installed(program: str) -> Path:
    """The newest one of the distribution's, or that on the path; raises NotStartable where there is none."""
    found = _find(program)
    if found is None:
        raise NotStartable(
            f"The profile `services` needs Postgres' {program}. Found none. On Debian and Ubuntu: apt-get install postgresql"
        )
    return found


def _write_house_file(settings: Settings) -> None:
    database, redis = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    server = f"{USER}:{database}@{settings.host}:{settings.postgres_port}"
    at = f"{settings.host}:{settings.redis_port}"
    values = {
        "PROFILE": settings.profile,
        "POSTGRES_PORT": settings.postgres_port,
        "REDIS_PORT": settings.redis_port,
        "AIRFLOW_DATABASE_URL": f"postgresql+psycopg2://{server}/airflow",
        "MLFLOW_DATABASE_URL": f"postgresql+psycopg2://{server}/mlflow",
        "REGISTRY_URL": f"postgresql+psycopg2://{server}/feast",
        "WAREHOUSE_URL": f"postgresql://{server}/warehouse",
        "ONLINE_STORE": "redis",
        "REDIS": f"{at},db=0,password={redis}",
        "BROKER_URL": f"redis://:{redis}@{at}/1",
        "LOGIN": "fab",
    }
    lines = [f"bind {settings.host}", f"port {settings.redis_port}", f"dir {_redis_file(settings).parent}", f"requirepass {redis}"]
    lines += ["appendonly yes", "appendfsync everysec", 'save ""', "daemonize no"]
    write_private(_redis_file(settings), "\n".join(lines))
    write_private(settings.house_file, "".join(f"PORTRAIT_{name}={value}\n" for name, value in values.items()))


def _password(settings: Settings) -> str:
    from quality.postgres import postgres_server

    return str(postgres_server(settings.warehouse_url)["password"])


def _cluster(settings: Settings) -> Path:
    return settings.home / "postgres" / "cluster"


def _redis_file(settings: Settings) -> Path:
    return settings.home / "redis" / "redis.conf"


def _as_postgres() -> tuple[str, ...]:
    """Postgres refuses to run as root."""
    return ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups") if os.geteuid() == 0 else ()


def _find(program: str) -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which(program)
    return found[-1] if found else Path(on_path) if on_path else None


def _run(command: tuple[str, ...], said: str = "") -> None:
    done = subprocess.run(command, input=said, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode:
        raise NotStartable(f"Postgres' cluster could not be made: {(done.stderr or done.stdout).strip()[-500:]}")


if __name__ == "__main__":
    make_cluster(get_settings())
