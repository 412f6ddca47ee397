"""One folder from which a house can be made again: everything stateful, copied while the house works.

Each store is copied as of one moment of its own, those that come last in the day's road first: a copied store names only what a store
copied after it still has, and the work that it does not know of yet is done again after a restore (docs/operations-backup.md). The folder
has its name once it is whole, checksums included; until then it is `.<name>.partial` beside it.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from quality.errors import NothingDelivered
from serving.local import backup_manifest, backup_servers, house
from serving.local.backup_files import Copy, moment
from serving.local.backup_manifest import DATABASES, ONLINE, Entry, Manifest, sha256_of
from serving.local.errors import BackupFailed
from settings import Settings
from training.revision import code_revision, code_version

#: Airflow's runs first; what names models before models, models before runs, marts before the warehouse; what was delivered last.
BEFORE_WAREHOUSE = ("airflow", "releases", "campaigns", "segments", "api", "mlflow", "feast", "models", "candidates", "offline")

Say = Callable[[str], None]


@dataclass(frozen=True)
class BackupReport:
    """What was written, and how long it took."""

    folder: str
    profile: str
    files: int
    bytes: int
    seconds: float

    def as_text(self) -> str:
        return f"{self.folder}: {self.files} files, {self.bytes / 1e6:.1f} MB, in {self.seconds:.1f} s. It holds every secret of the house."


def backup(settings: Settings, folder: Path, say: Say, *, patience_s: float = 600, is_with_logs: bool = False) -> BackupReport:
    """Writes a backup of the house; its services may run.

    Raises:
        NothingDelivered: no house there.
        BackupFailed: the house or the folder is not as it has to be, others kept the warehouse, or a server's program failed.
    """
    began = time.monotonic()
    folder = folder.expanduser().absolute()
    _check(settings, folder)
    try:
        with FileLock(settings.home / ".backup.lock", timeout=0):
            manifest = _write(settings, folder, say, patience_s, is_with_logs)
    except Timeout:
        raise BackupFailed(f"One backup of a house is made at a time. One of {settings.home} is under way. Wait until it ends.") from None
    return BackupReport(str(folder), settings.profile, len(manifest.files), manifest.bytes, time.monotonic() - began)


def _write(settings: Settings, folder: Path, say: Say, patience_s: float, is_with_logs: bool) -> Manifest:
    """The folder, under another name until it is whole."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    manifest = Manifest(settings.profile, str(settings.home), code_version(), code_revision() or None, moment())
    try:
        with house.servers_up(settings, say) if settings.profile == "services" else nullcontext():
            _copy(settings, partial, manifest, patience_s, is_with_logs)
        manifest.ended = moment()
        backup_manifest.write(partial, manifest)
        os.sync()
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest


def _copy(settings: Settings, into: Path, manifest: Manifest, patience_s: float, is_with_logs: bool) -> None:
    copy, urls = Copy(settings.home, into, manifest, is_with_logs=is_with_logs), backup_servers.databases(settings)
    unfinished: list[str] = []

    def take(name: str) -> None:
        if url := urls.get(name):
            file = into / DATABASES / f"{name}.dump"
            unfinished.append(copy.unfinished())
            with backup_servers.snapshot(url) as (taken, manifest.servers["postgres"]):
                unfinished.append(copy.unfinished())
                manifest.moments[f"{DATABASES}/{name}"] = moment()
                backup_servers.dump(url, taken, file)
            manifest.files.append(_entry(into, file))
        if name == "feast" and settings.online_store == "redis":
            manifest.moments[ONLINE] = moment()
            manifest.servers["redis"] = backup_servers.dump_online(settings, into / ONLINE)
            manifest.files.append(_entry(into, into / ONLINE))
        if name in copy.names():
            copy.take(name)

    for name in BEFORE_WAREHOUSE:
        take(name)
    take("warehouse")
    if settings.warehouse.exists():
        unfinished.append(copy.take_warehouse(settings, patience_s))
    copy.keep_unfinished(unfinished)
    for name in copy.names():
        if name not in BEFORE_WAREHOUSE:
            copy.take(name)


def _check(settings: Settings, folder: Path) -> None:
    if not settings.home.is_dir():
        raise NothingDelivered(f"A backup needs a house. Received {settings.home}, where there is none. Name another one in PORTRAIT_HOME.")
    if settings.restoring_file.exists():
        raise BackupFailed(f"A house must be whole. Restoring {settings.home} did not end. Run `portrait restore` again first.")
    if folder.exists():
        raise BackupFailed(f"A backup gets a folder of its own. {folder} exists. Name one that does not, such as {folder}-2.")
    if folder.resolve().is_relative_to(settings.home.resolve()):
        raise BackupFailed(
            f"A backup must outlive its house. {folder} lies in {settings.home}. Name a folder elsewhere, best on another disk."
        )


def _entry(into: Path, file: Path) -> Entry:
    return Entry(file.relative_to(into).as_posix(), file.stat().st_size, sha256_of(file))
