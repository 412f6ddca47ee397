"""Says what is wrong before a user finds out: one line a check, ok, warn or fail, each with the way out."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address

from serving.local import doctor_servers, doctor_stores, house, processes, production
from serving.local.doctor_line import Line
from serving.local.preflight import FREE_GB, PYTHONS, is_busy
from serving.local.services import services
from settings import ROOT, Settings
from training.signatures import SERVED_MODELS

PINNED = ("apache-airflow", "dbt-core", "dbt-duckdb", "duckdb", "feast", "great-expectations", "keras", "mlflow", "tensorflow")

#: With the clock `wall`, records older than this are said to be late: a day is known at its end, and loaded on the next.
STALE_DAYS = 2

SECRET_FILES = ("house.env", "redis/redis.conf", "airflow/passwords.json", "airflow/secrets/*", "api/*_*", "api/keys.json", "secrets/*.pem")


def examine(settings: Settings) -> list[Line]:
    """Every check; none changes anything."""
    checks: tuple[Callable[[Settings], Iterator[Line]], ...] = (
        *(_versions, _disk, _clock, _ports, _secrets, doctor_servers.examine, _services),
        *(doctor_stores.examine, _records, _models),
    )
    return [line for check in checks for line in check(settings)]


def _versions(settings: Settings) -> Iterator[Line]:
    python = sys.version.split()[0]
    ok = sys.version_info[:2] in PYTHONS
    yield Line("python", "ok" if ok else "fail", python if ok else f"{python}: install 3.11 or 3.12 and run `make setup`")
    pins = dict(line.split("==", 1) for line in _requirements() if "==" in line)
    for package in PINNED:
        wanted = pins.get(package)
        try:
            found = version(package)
        except PackageNotFoundError:
            yield Line(package, "fail", "is not installed: run `make setup`")
            continue
        ok = wanted in (None, found)
        yield Line(package, "ok" if ok else "fail", found if ok else f"{found}, pinned is {wanted}: run `make setup`")


def _requirements() -> list[str]:
    lines = (ROOT / "requirements" / "portrait.in").read_text().splitlines()
    return [line.split("#")[0].split("[")[0] + line[line.find("==") :] if "[" in line else line for line in lines]


def _disk(settings: Settings) -> Iterator[Line]:
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free / 2**30
    yield Line(
        "disk", "ok" if free >= FREE_GB else "fail", f"{free:.1f} GB free" + ("" if free >= FREE_GB else f": {FREE_GB} GB are needed")
    )


def _clock(settings: Settings) -> Iterator[Line]:
    """A clock behind the house's own files would make tokens and logs lie."""
    probes = [file for folder in (settings.home, ROOT) if folder.exists() for file in folder.glob("*")]
    ahead = max((file.stat().st_mtime for file in probes), default=0.0) - time.time()
    yield Line("clock", "ok" if ahead < 5 else "warn", "right" if ahead < 5 else f"{ahead:.0f} s behind the newest file: set the clock")


def _ports(settings: Settings) -> Iterator[Line]:
    if settings.profile == "compose":  # each container has ports of its own
        return
    for service in services(settings):
        for setting, port in service.ports.items():
            ours = processes.find(service.name, settings.home) is not None
            busy = not ours and is_busy(settings.host, port)
            detail = "held by this house" if ours else f"in use by another program: stop it, or set {setting}" if busy else "free"
            yield Line(f"port {port}", "fail" if busy else "ok", detail)


def _secrets(settings: Settings) -> Iterator[Line]:
    """What a house with servers would not start with; who else may read the secrets' files; and whom a house of files is open to."""
    problems = production.problems(settings)
    yield from (Line("secrets", "fail", problem) for problem in problems)
    files = [file for folder in SECRET_FILES for file in settings.home.glob(folder) if file.is_file()]
    open_to_others = [str(file) for file in files if file.stat().st_mode & 0o077]
    if open_to_others:
        yield Line("secrets", "fail", f"others may read {', '.join(open_to_others)}: chmod 600, then make new ones in their place")
    if not problems and not open_to_others:
        yield Line("secrets", "ok", f"{len(files)} files, for this user alone" if files else "none yet: `portrait up` makes them")
    if settings.profile == "embedded" and not _is_loopback(settings.host):
        yield Line(
            "address",
            "warn",
            f"the services bind to {settings.host}, and the model server and Feast ask for no key: set PORTRAIT_HOST=127.0.0.1, or let a "
            "firewall close their ports",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _services(settings: Settings) -> Iterator[Line]:
    for row in house.status(settings):
        log = processes.log_file(str(row["name"]), settings.home)
        way = {"healthy": "", "starting": f" does not answer yet: see {log}", "stopped": ": start it with `portrait up`"}[str(row["state"])]
        yield Line(str(row["title"]), {"healthy": "ok", "starting": "warn", "stopped": "warn"}[str(row["state"])], f"{row['state']}{way}")


def _records(settings: Settings) -> Iterator[Line]:
    """How far the published features know; where the clock is the wall's, a shop that stood still is served as if it were today."""
    from feature_repo.frames import horizon

    known = None
    if settings.offline_dir.is_dir():
        with suppress(FileNotFoundError):  # exported, and stopped before the item vectors
            known = horizon()
    if known is None:
        yield Line("records", "warn", "none published: run `portrait ingest`")
        return
    days = (datetime.now(UTC).replace(tzinfo=None) - known).days
    is_stale = settings.clock == "wall" and days > STALE_DAYS
    way_out = f", {days} days ago: `portrait ingest` the days since, or set PORTRAIT_CLOCK=data"
    yield Line("records", "warn" if is_stale else "ok", f"known until {known:%Y-%m-%d %H:%M}{way_out if is_stale else ''}")


def _models(settings: Settings) -> Iterator[Line]:
    for model in SERVED_MODELS:
        folder = settings.models_dir / model
        versions = sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())
        detail = f"version {versions[-1]}" if versions else "none published: run `portrait run ingest`"
        yield Line(f"model {model}", "ok" if versions else "warn", detail)
