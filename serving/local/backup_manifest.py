"""What a backup holds: `manifest.json`, written last, and the checksums by which a restore knows that every byte is as it was.

A backup is a folder: `house/` (files), `databases/<name>.dump` (of a house with servers), `redis/online.rdb`, `manifest.json` and
`manifest.json.sha256`, as `sha256sum` writes it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from serving.keys import write_private
from serving.local.errors import RestoreRefused

FILE = "manifest.json"
FORMAT = "1.0"
HOUSE, DATABASES, ONLINE = "house", "databases", "redis/online.rdb"
SHOWN = 5


@dataclass(frozen=True)
class Entry:
    """One file of the backup, by its path in it; `mode` and `mtime_ns` are those of the house."""

    path: str
    size: int
    sha256: str
    mode: int = 0o600
    mtime_ns: int = 0


@dataclass
class Manifest:
    """`home` is where the house lay; `moments` says as of when (UTC) each store was copied; `servers` has their versions."""

    profile: str
    home: str
    portrait: str
    commit: str | None
    began: str
    ended: str = ""
    format: str = FORMAT
    moments: dict[str, str] = field(default_factory=dict)
    servers: dict[str, str] = field(default_factory=dict)
    files: list[Entry] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self.files)


def write(folder: Path, manifest: Manifest) -> None:
    text = json.dumps(asdict(manifest), indent=1)
    write_private(folder / FILE, text)
    write_private(folder / f"{FILE}.sha256", f"{hashlib.sha256(text.encode()).hexdigest()}  {FILE}\n")


def read(folder: Path) -> Manifest:
    """The manifest of a backup.

    Raises:
        RestoreRefused: no whole backup, or one of another major format.
    """
    if not (folder / FILE).is_file():
        raise RestoreRefused(f"A backup is a folder with {FILE}, which is written last. Found none in {folder}. Name a backup that ended.")
    text = (folder / FILE).read_bytes()
    told = folder / f"{FILE}.sha256"
    if not told.is_file() or told.read_text().split()[:1] != [hashlib.sha256(text).hexdigest()]:
        raise _changed(folder, [FILE])
    fields = json.loads(text)
    if fields["format"].split(".")[0] != FORMAT.split(".")[0]:
        raise RestoreRefused(
            f"This Portrait reads backups of the format {FORMAT}. Received {fields['format']} in {folder}, written by Portrait "
            f"{fields['portrait']}. Restore it with that version, then upgrade."
        )
    manifest = Manifest(**{**fields, "files": [Entry(**entry) for entry in fields["files"]]})
    outside = [path for path in (*(entry.path for entry in manifest.files), *manifest.links, *manifest.folders) if _leads_out(path)]
    if outside:
        raise RestoreRefused(f"Every path of a backup lies within it. Received {outside[0]!r} in {folder / FILE}. Do not restore it.")
    return manifest


def verify(folder: Path, manifest: Manifest) -> None:
    """Raises RestoreRefused, naming the files, unless every file of the backup is there and has its bytes."""
    if changed := [entry.path for entry in manifest.files if not _is_whole(folder / entry.path, entry)]:
        raise _changed(folder, changed)


def sha256_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _is_whole(file: Path, entry: Entry) -> bool:
    return file.is_file() and file.stat().st_size == entry.size and sha256_of(file) == entry.sha256


def _leads_out(path: str) -> bool:
    return Path(path).is_absolute() or ".." in Path(path).parts


def _changed(folder: Path, paths: list[str]) -> RestoreRefused:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return RestoreRefused(
        f"Every file of a backup must have the bytes that its manifest tells. Missing or changed in {folder}: "
        f"{', '.join(paths[:SHOWN])}{more}. Nothing was restored. Take another backup, or another copy of this one."
    )
