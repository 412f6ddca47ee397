"""Copies of a house's files, taken while it works.

Portrait replaces files whole and makes folders beside their place, so a file that is read to its end is a whole one. What is left to do:
a folder from which something vanished during its copy is looked at again until nothing does, a SQLite file is copied by SQLite, and the
DuckDB file while nobody else has it open. Left out is what a house makes anew, and what a killed process left half-written.
"""

import hashlib
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

from quality.errors import WarehouseBusy
from quality.warehouse import open_warehouse
from serving.local.backup_manifest import HOUSE, Entry, Manifest, sha256_of
from serving.local.errors import BackupFailed
from settings import Settings

#: Of servers (dumped instead), written by `portrait up`, of running processes, or made again from models, marts and the dbt project.
LEFT_OUT = {
    *("postgres", "redis", "house.env", ".restoring"),
    *("models.config", "batching.config", "monitoring.config", "airflow/airflow.cfg"),
    *("run", "tmp", "indexes", "dbt/attempts", "dbt/docs.new", "offline/.current.new"),
}
LOGS = {"logs", "airflow/logs"}
WAREHOUSE, UNFINISHED = "warehouse.duckdb", "dbt/unfinished"
CURRENT, GENERATIONS = "offline/.current", "offline/.generations"
LOOKS = 10
_HALF_WRITTEN = re.compile(
    r"\.(tmp|old)(-\d+)?$|^\..+\.\d+$|^\.(refused|release|histories)-|\.(lock|meeting)$|\.(db|sqlite3?)-(wal|shm|journal)$"
)
_SQLITE = b"SQLite format 3\0"

Stamp = tuple[int, int, int]


class Copy:
    """The files of one house on their way into one backup."""

    def __init__(self, home: Path, into: Path, manifest: Manifest, *, is_with_logs: bool) -> None:
        self._home, self._into, self._manifest = home, into / HOUSE, manifest
        self._left_out = {WAREHOUSE, f"{WAREHOUSE}.wal", UNFINISHED, *LEFT_OUT, *(() if is_with_logs else LOGS)}

    def names(self) -> list[str]:
        """What lies in the house and belongs into a backup, the warehouse apart."""
        return sorted(path.name for path in self._home.iterdir() if self._belongs(Path(path.name)))

    def take(self, name: str) -> None:
        """Copies one file or folder of the house as it stands at one moment.

        Raises:
            BackupFailed: something vanished from it during each of LOOKS looks.
        """
        copied: dict[Path, tuple[Stamp, Entry]] = {}
        for _ in range(LOOKS):
            self._manifest.moments[name] = moment()
            if self._look(Path(name), copied):
                return
        raise BackupFailed(
            f"A folder must hold still long enough to be copied. {self._home / name} lost files during each of {LOOKS} looks. "
            "Back up when less is going on."
        )

    def take_warehouse(self, settings: Settings, patience_s: float) -> str:
        """Copies the DuckDB file while no other process has it open; `unfinished` as it was then.

        Raises:
            BackupFailed: others had it open for all of `patience_s` seconds.
        """
        deadline, target = time.monotonic() + patience_s, self._place(Path(WAREHOUSE))
        while True:
            try:
                with open_warehouse() as warehouse:
                    warehouse.execute("checkpoint")
                    self._manifest.moments[WAREHOUSE] = moment()
                    # not by this process: closing a file, it would give up its lock on it
                    subprocess.run(("cp", "--reflink=auto", str(settings.warehouse), str(target)), check=True)
                    found, unfinished = settings.warehouse.stat(), self.unfinished()
                    break
            except WarehouseBusy:
                if time.monotonic() > deadline:
                    raise BackupFailed(
                        f"The warehouse is copied while no task has it open. Others had it for all of {patience_s:.0f} s. Back up when no "
                        "load or build is running, or wait longer (--wait)."
                    ) from None
                time.sleep(0.5)
        target.chmod(0o600)
        entry = Entry(f"{HOUSE}/{WAREHOUSE}", target.stat().st_size, sha256_of(target), found.st_mode & 0o777, found.st_mtime_ns)
        self._manifest.files.append(entry)
        return unfinished

    def unfinished(self) -> str:
        """The day from which a build that was begun and did not end has to begin again; empty where none."""
        file = self._home / UNFINISHED
        try:
            return file.read_text()
        except FileNotFoundError:
            return ""

    def keep_unfinished(self, days: list[str]) -> None:
        """The next build of the restored house begins on the first of these days."""
        if known := [date.fromisoformat(day) for day in days if day]:
            place = self._place(Path(UNFINISHED))
            place.write_text(min(known).isoformat())
            place.chmod(0o600)
            self._manifest.files.append(Entry(f"{HOUSE}/{UNFINISHED}", place.stat().st_size, sha256_of(place), 0o644, time.time_ns()))

    def _look(self, top: Path, copied: dict[Path, tuple[Stamp, Entry]]) -> bool:
        """Copies what is new or changed since the last look and drops what is gone; False where something vanished meanwhile."""
        links: dict[str, str] = {}
        folders: list[str] = []
        try:
            found = dict(self._files(top, links, folders))
            for path in copied.keys() - found.keys():
                (self._into / path).unlink()
                del copied[path]
            for path, stamp in found.items():
                if path not in copied or copied[path][0] != stamp:
                    copied[path] = stamp, self._copy(path)
        except FileNotFoundError:
            return False
        self._manifest.links |= links
        self._manifest.folders += folders
        self._manifest.files += [entry for _, entry in copied.values()]
        return True

    def _files(self, path: Path, links: dict[str, str], folders: list[str]) -> Iterator[tuple[Path, Stamp]]:
        """Files at and below `path` that belong into a backup; links, which come first in their folder, and folders are noted."""
        source = self._home / path
        if source.is_symlink():
            links[f"{HOUSE}/{path}"] = str(source.readlink())
        elif source.is_dir():
            folders.append(f"{HOUSE}/{path}")
            for entry in sorted(os.scandir(source), key=lambda entry: (not entry.is_symlink(), entry.name)):
                inner = path / entry.name
                in_use = links.get(f"{HOUSE}/{CURRENT}", "")
                if self._belongs(inner) and (path.as_posix() != GENERATIONS or in_use.endswith(f"/{entry.name}")):
                    yield from self._files(inner, links, folders)
        elif source.is_file():  # no socket
            state = source.stat()
            yield path, (state.st_ino, state.st_size, state.st_mtime_ns)

    def _belongs(self, path: Path) -> bool:
        return path.as_posix() not in self._left_out and not _HALF_WRITTEN.search(path.name)

    def _copy(self, path: Path) -> Entry:
        target = self._place(path)
        target.unlink(missing_ok=True)
        with (self._home / path).open("rb") as source:
            state = os.fstat(source.fileno())
            if source.read(len(_SQLITE)) == _SQLITE:
                _copy_sqlite(self._home / path, target)
                size, sha256 = target.stat().st_size, sha256_of(target)
            else:
                source.seek(0)
                digest, size = hashlib.sha256(), 0
                with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                    while block := source.read(1 << 20):
                        out.write(block)
                        digest.update(block)
                        size += len(block)
                sha256 = digest.hexdigest()
        return Entry(f"{HOUSE}/{path}", size, sha256, state.st_mode & 0o777, state.st_mtime_ns)

    def _place(self, path: Path) -> Path:
        place = self._into / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


def moment() -> str:
    """Now, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _copy_sqlite(source: Path, target: Path) -> None:
    """A copy in one step: as of one commit, whoever writes; it waits for a writer that is in the middle of one."""
    with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)
    target.chmod(0o600)
