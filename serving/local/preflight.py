"""What must hold before anything is started: Python, disk, ports, secrets. One line for each thing that does not."""

import shutil
import socket
import sys

import psutil

from serving.local import processes, production, servers
from serving.local.errors import NotStartable
from serving.local.services import services
from settings import Settings

PYTHONS = ((3, 11), (3, 12))
FREE_GB = 2


def check(settings: Settings) -> None:
    """Raises NotStartable with one line per problem."""
    missing = servers.missing(settings) if settings.profile == "services" else []
    problems = [*_python(), *_whole(settings), *_disk(settings), *missing, *production.problems(settings), *_ports(settings)]
    if problems:
        raise NotStartable("\n".join(problems))


def check_whole(settings: Settings) -> None:
    """Raises NotStartable where a restore of this house did not end."""
    if problems := _whole(settings):
        raise NotStartable("\n".join(problems))


def _python() -> list[str]:
    if sys.version_info[:2] in PYTHONS:
        return []
    return [f"Portrait needs Python 3.11 or 3.12. This is {sys.version.split()[0]}. Install one of them and run `make setup` again."]


def _whole(settings: Settings) -> list[str]:
    if not settings.restoring_file.exists():
        return []
    backup = settings.restoring_file.read_text(encoding="utf-8")
    again = (
        "make restore PROFILE=compose FROM=..." if settings.profile == "compose" else f"portrait restore {backup} --home {settings.home}"
    )
    return [f"A house must be whole. Restoring {settings.home} did not end. Run `{again}` again."]


def _disk(settings: Settings) -> list[str]:
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free / 2**30
    if free >= FREE_GB:
        return []
    return [f"A house needs {FREE_GB} GB of free disk. {folder} has {free:.1f} GB. Free some, or set PORTRAIT_HOME to another disk."]


def _ports(settings: Settings) -> list[str]:
    """Ports that a service of this house still has to take and that somebody else holds."""
    problems = []
    for service in services(settings):
        if processes.find(service.name, settings.home):
            continue
        for setting, port in service.ports.items():
            if is_busy(settings.host, port):
                problems.append(
                    f"Port {port} ({service.title}) is in use by {_holder(port)}. Stop it, or set {setting} to a free port, then try again."
                )
    return problems


def is_busy(host: str, port: int) -> bool:
    """True where no server can be bound to this address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def _holder(port: int) -> str:
    """Who listens there, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN and connection.pid:
                process = psutil.Process(connection.pid)
                home = process.environ().get("PORTRAIT_HOME")
                return f"{process.name()} (pid {process.pid}{', of the house ' + home if home else ''})"
    except psutil.Error:
        pass
    return "another program"
