"""Is a file the one its publisher offers? Another one is read all the same where its columns fit, with a visible note."""

import gzip
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)


def file_content(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is a `.gz`."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def is_published(path: Path, md5: str) -> bool:
    """Whether the file's content (unpacked where it is a `.gz`) has that md5."""
    return hashlib.md5(file_content(path), usedforsecurity=False).hexdigest() == md5


def note_unless_published(path: Path, md5: str, counted: Mapping[str, int]) -> None:
    """Logs a warning with what was counted in the file, where its md5 is not the one that this source was checked with."""
    if not is_published(path, md5):
        found = ", ".join(f"{number:,} {what}" for what, number in counted.items())
        log.warning("%s is not the published file that this source was checked with; reading it all the same: %s", path.name, found)
