"""Choosing a house, and bringing its services up and down.

Houses in `var/` share their ports, so one of them is in use at a time and `var/current` names it; a house elsewhere (PORTRAIT_HOME) leaves
that link alone.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self

from serving import keys
from serving.local import airflow_home, preflight, processes, production, servers
from serving.local.errors import NotHealthy
from serving.local.services import SERVER_NAMES, SERVERS, Service, services
from serving.publish import adopt, write_server_config
from serving.release_config import write_config
from settings import CURRENT_HOUSE, ROOT, Settings, get_settings

PATIENCE_SECONDS = 240
Say = Callable[[str], None]


def choose(source: str | None = None) -> Settings:
    """The settings of the house to use: `PORTRAIT_HOME` where it is set, else `var/<source>`, else the house in use."""
    settings = get_settings()
    if source and "home" not in settings.model_fields_set:
        asked = Settings().profile  # what was asked for; the house in use has a profile of its own
        name = source if asked == "embedded" else f"{source}-{asked}"
        os.environ["PORTRAIT_HOME"] = str(ROOT / "var" / name)
        get_settings.cache_clear()
        settings = get_settings()
    return settings


class Rising:
    """Services on their way up, Airflow first and two groups at a time, after the servers that all need; leaving the block waits for all.

    `wait_for("airflow")` returns once that group answers. Both raise NotHealthy, with the log's tail, for a service that ended or did not
    answer in time.
    """

    def __init__(self, settings: Settings, say: Say) -> None:
        self.settings = settings
        self._pool = ThreadPoolExecutor(2)
        groups = {name: list(members) for name, members in groupby(services(settings), key=lambda service: service.group)}
        if first := groups.pop(SERVERS, None):
            _bring_up(first, settings, say)
        self._futures = {name: self._pool.submit(_bring_up, members, settings, say) for name, members in groups.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=error is not None)
        if error is None:
            self.wait_for_all()

    def wait_for(self, group: str) -> None:
        self._futures[group].result()

    def wait_for_all(self) -> None:
        for group in self._futures:
            self.wait_for(group)


def rise(say: Say) -> Rising:
    """Start every service of the house that does not run yet. Doing it again changes nothing.

    Raises:
        NotStartable: before anything was started.
    """
    settings = get_settings()
    if settings.home.parent == CURRENT_HOUSE.parent:
        _move_in(settings)
    settings = servers.settle(settings)
    preflight.check(settings)
    furnish(settings)
    return Rising(settings, say)


def furnish(settings: Settings) -> None:
    """The folders, secrets and server files that the services of a house find there."""
    airflow_home.make_secrets()
    keys.make_secrets(settings)
    for folder in (settings.home / "mlflow", settings.feast_dir, settings.models_dir, settings.logs_dir):
        folder.mkdir(parents=True, exist_ok=True)
    write_config(settings)
    write_server_config(settings.home)
    adopt(settings.models_dir, settings.signing_key)


def prepare(settings: Settings) -> None:
    """What comes before the services of a house that others start, one container each: `furnish`, and every service's own preparation.

    Raises:
        NotStartable: before anything was made: a restore that did not end, a login without users, or secrets that may be guessed.
    """
    preflight.check_whole(settings)
    production.check(settings)
    furnish(settings)
    for service in services(settings):
        if service.prepare:
            _prepare(service, settings.home)


def up(say: Say) -> Settings:
    """`rise`, and wait until all services answer."""
    with rise(say) as rising:
        return rising.settings


@contextmanager
def servers_up(settings: Settings, say: Say) -> Iterator[None]:
    """Within the block the house's own Postgres and Redis answer; those that did not run before are stopped after it."""
    members = [service for service in services(settings) if service.group == SERVERS]
    idle = [service.name for service in members if processes.find(service.name, settings.home) is None]
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    try:
        if members:
            _bring_up(members, settings, say)
        yield
    finally:
        if set(processes.started(settings.home)) <= set(SERVER_NAMES):  # else somebody brought the house up meanwhile
            processes.stop(idle, settings.home)


def down(settings: Settings) -> list[str]:
    """Stop what runs of this house, the servers that the others need last; returns the names."""
    return _stop(settings.home)


def _stop(home: Path) -> list[str]:
    running = processes.started(home)
    return [
        *processes.stop([name for name in running if name not in SERVER_NAMES], home),
        *processes.stop([name for name in running if name in SERVER_NAMES], home),
    ]


def status(settings: Settings) -> list[dict[str, str | int | None]]:
    """One line per service: name, title, state (healthy, starting or stopped), address, pid; processes of containers are not seen."""

    def line(service: Service) -> dict[str, str | int | None]:
        process = processes.find(service.name, settings.home)
        is_seen = process is not None or settings.profile == "compose"
        state = "healthy" if is_seen and service.answers() else "starting" if process else "stopped"
        pid = process.pid if process else None
        return {"name": service.name, "title": service.title, "state": state, "address": service.address, "pid": pid}

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(line, services(settings)))


def _bring_up(members: list[Service], settings: Settings, say: Say) -> None:
    """Prepare and start one group in order, then wait until each answers."""
    begin = time.monotonic()
    home = settings.home
    if all(processes.find(service.name, home) and service.answers() for service in members):
        return
    for service in members:
        if service.prepare and not processes.find(service.name, home):
            _prepare(service, home)
        processes.start(processes.Command(service.name, service.arguments, service.environment), home)
    for service in members:
        while not service.answers():
            if processes.find(service.name, home) is None:
                raise NotHealthy(f"{service.title} ended while starting. {_log(service.name, home)}")
            if time.monotonic() - begin > PATIENCE_SECONDS:
                raise NotHealthy(f"{service.title} did not answer within {PATIENCE_SECONDS} s. {_log(service.name, home)}")
            time.sleep(0.3)
    say(f"{members[0].title} answers after {time.monotonic() - begin:.0f} s")


def _prepare(service: Service, home: Path) -> None:
    log = processes.log_file(service.name, home)
    with log.open("ab") as output:
        done = subprocess.run(
            service.prepare,
            env={**os.environ, **service.environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home,
            check=False,
        )
    if done.returncode:
        raise NotHealthy(f"{service.title} could not be prepared. {_log(service.name, home)}")


def _log(name: str, home: Path) -> str:
    return f"The end of {processes.log_file(name, home)}:\n{processes.log_tail(name, home)}"


def _move_in(settings: Settings) -> None:
    """Point `var/current` at this house; services of the house that was in use are stopped, since both want the same ports."""
    before = CURRENT_HOUSE.resolve() if CURRENT_HOUSE.exists() else None
    settings.home.mkdir(parents=True, exist_ok=True)
    if before == settings.home.resolve():
        return
    if before:
        _stop(before)
    new = CURRENT_HOUSE.with_name(".current")
    new.unlink(missing_ok=True)
    new.symlink_to(settings.home.name)
    new.replace(CURRENT_HOUSE)
