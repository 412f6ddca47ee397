"""Says what is wrong before a user finds out: one line a check, ok, warn or fail, each with the way out."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from serving.local import house, processes
from serving.local.preflight import FREE_GB, PYTHONS, is_busy
from serving.local.services import services
from settings import ROOT, Settings
from training.signatures import SERVED_MODELS

PINNED = ("apache-airflow", "dbt-core", "dbt-duckdb", "duckdb", "feast", "great-expectations", "keras", "mlflow", "tensorflow")

#: With the clock `wall`, records older than this are said to be late: a day is known at its end, and loaded on the next.
STALE_DAYS = 2


@dataclass(frozen=True)
class Line:
    """One check: `state` is ok, warn or fail; `detail` says what was found and, unless ok, the way out."""

    check: str
    state: str
    detail: str


def examine(settings: Settings) -> list[Line]:
    """Every check; none changes anything."""
    checks: tuple[Callable[[Settings], Iterator[Line]], ...] = (_versions, _disk, _clock, _ports, _services, _records, _registry, _models)
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
    for service in services(settings):
        for setting, port in service.ports.items():
            ours = processes.find(service.name, settings.home) is not None
            busy = not ours and is_busy(settings.host, port)
            detail = "held by this house" if ours else f"in use by another program: stop it, or set {setting}" if busy else "free"
            yield Line(f"port {port}", "fail" if busy else "ok", detail)


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


def _registry(settings: Settings) -> Iterator[Line]:
    for name in ("registry.db", "online.db"):
        file = settings.feast_dir / name
        there = file.exists() and file.stat().st_size > 0
        yield Line(f"feast {name}", "ok" if there else "warn", "there" if there else "missing: `portrait up` makes it")


def _models(settings: Settings) -> Iterator[Line]:
    for model in SERVED_MODELS:
        folder = settings.models_dir / model
        versions = sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())
        detail = f"version {versions[-1]}" if versions else "none published: run `portrait run ingest`"
        yield Line(f"model {model}", "ok" if versions else "warn", detail)
