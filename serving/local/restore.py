"""A house from a backup, in any empty folder: checked whole before anything is touched, then files, databases, online features.

The restored house has the backup's profile, its own ports and new passwords of its servers. It is left stopped: `portrait up` writes its
server files, brings databases of an older version up to date and registers its features. Until it is whole it says so, in
`settings.restoring_file`; the same command then begins again.

A backup of files can become a house with servers: its files stay, its SQLite databases give way to empty ones on the servers, and the
online store is made from the published marts.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from serving.local import backup_manifest, backup_servers, house, preflight, processes, servers
from serving.local.backup_manifest import DATABASES, HOUSE, ONLINE, Manifest
from serving.local.errors import NotStartable, RestoreRefused
from serving.local.relocate import reset_tasks, say_new_home
from serving.local.services import SERVERS, services
from settings import Settings, get_settings

#: Of the profile `embedded`; on servers they begin anew.
SQLITE = {f"{HOUSE}/{file}" for file in ("airflow/airflow.db", "mlflow/mlflow.db", "feast/registry.db", "feast/online.db")}

Say = Callable[[str], None]


@dataclass(frozen=True)
class RestoreReport:
    """What was restored, and how long it took."""

    home: str
    profile: str
    files: int
    bytes: int
    seconds: float

    def as_text(self) -> str:
        start = "make up PROFILE=compose" if self.profile == "compose" else f"PORTRAIT_HOME={self.home} portrait up"
        return (
            f"{self.home}: {self.files} files, {self.bytes / 1e6:.1f} MB, in {self.seconds:.1f} s. It is stopped. "
            f"{start} starts it, and portrait parity then says whether the online store is behind."
        )


def restore(backup: Path, home: Path | None, say: Say, profile: str | None = None) -> RestoreReport:
    """Makes the house of a backup again, in `home` or else in the house that the settings name; `profile` is the backup's where absent.

    Raises:
        RestoreRefused: the backup is not whole, or the folder not empty; nothing was touched.
        NotStartable: a server's program is missing, or its port taken; nothing was touched.
    """
    began = time.monotonic()
    backup = backup.expanduser().absolute()
    manifest = backup_manifest.read(backup)
    if (profile := profile or manifest.profile) != manifest.profile:
        _change_to(profile, manifest)
    settings = _target(profile, home)
    _check(settings, manifest)
    say(f"checking {len(manifest.files)} files, {manifest.bytes / 1e6:.1f} MB")
    backup_manifest.verify(backup, manifest)
    _begin(settings, backup)
    settings = servers.settle(settings)
    _copy_files(backup, manifest, settings.home)
    with house.servers_up(settings, say) if settings.profile == "services" else nullcontext():
        for name, url in backup_servers.databases(settings).items():
            if (file := backup / DATABASES / f"{name}.dump").exists():
                backup_servers.load(url, file)
        if settings.online_store == "redis" and (backup / ONLINE).exists():
            backup_servers.load_online(settings, backup / ONLINE)
        say_new_home(settings, manifest.home)
        reset_tasks(settings)
        if profile != manifest.profile:
            _rebuild_online(say)
    os.sync()
    settings.restoring_file.unlink()
    return RestoreReport(str(settings.home), settings.profile, len(manifest.files), manifest.bytes, time.monotonic() - began)


def _change_to(profile: str, manifest: Manifest) -> None:
    """Leaves what the backup keeps in SQLite out of its manifest."""
    if (manifest.profile, profile) != ("embedded", "services"):
        raise RestoreRefused(
            f"A backup of the profile {manifest.profile} becomes a house of that profile, and one of the profile embedded also one of the "
            f"profile services. Received {profile}. Leave --profile away."
        )
    manifest.files = [entry for entry in manifest.files if entry.path not in SQLITE]


def _rebuild_online(say: Say) -> None:
    from feature_repo.contract import views
    from feature_repo.materialise import rebuild
    from feature_repo.published import is_published

    if missing := [name for name in views() if not is_published(name)]:
        say(f"the online store is empty until the next run of `features`: {', '.join(missing)} were never published")
    else:
        rebuild()


def _target(profile: str, home: Path | None) -> Settings:
    """The settings of the house to make; what this process starts is told the same."""
    os.environ["PORTRAIT_HOME"] = str(home.expanduser().absolute() if home else get_settings().home)
    os.environ["PORTRAIT_PROFILE"] = profile
    get_settings.cache_clear()
    return get_settings()


def _check(settings: Settings, manifest: Manifest) -> None:
    home = settings.home
    is_free = not home.exists() or (home.is_dir() and not any(home.iterdir()))
    if not is_free and not settings.restoring_file.exists():
        raise RestoreRefused(
            f"A house is restored into a folder that is empty or does not exist. {home} is not. Name another one (--home), or move it away."
        )
    folder = next(path for path in (home, *home.parents) if path.exists())
    if (free := shutil.disk_usage(folder).free) < manifest.bytes:
        raise RestoreRefused(
            f"The house needs {manifest.bytes / 1e9:.1f} GB. {folder} has {free / 1e9:.1f} GB free. Choose another disk (--home)."
        )
    if settings.profile == "services":
        processes.stop(processes.started(home), home)  # of a restore that did not end
        ports = [(name, port) for one in services(settings) if one.group == SERVERS for name, port in one.ports.items()]
        taken = [f"Port {port} is in use. Set {name} to a free port." for name, port in ports if preflight.is_busy(settings.host, port)]
        if problems := [*servers.missing(settings), *taken]:
            raise NotStartable("\n".join(problems))
    if "postgres" in manifest.servers:
        backup_servers.refuse_older_postgres(manifest.servers["postgres"])


def _begin(settings: Settings, backup: Path) -> None:
    """The folder, with nothing in it but the mark that it is not whole."""
    home = settings.home
    home.mkdir(parents=True, exist_ok=True)
    settings.restoring_file.write_text(str(backup), encoding="utf-8")
    for path in home.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != settings.restoring_file:
            path.unlink()
    get_settings.cache_clear()


def _copy_files(backup: Path, manifest: Manifest, home: Path) -> None:
    inside = f"{HOUSE}/"
    for folder in manifest.folders:
        (home / folder.removeprefix(inside)).mkdir(parents=True, exist_ok=True)
    for entry in manifest.files:
        if not entry.path.startswith(inside):
            continue
        target = home / entry.path.removeprefix(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=0o600)
        shutil.copyfile(backup / entry.path, target)
        target.chmod(entry.mode)
        os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))
    for path, link in manifest.links.items():
        (home / path.removeprefix(inside)).symlink_to(link)
