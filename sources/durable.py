"""Files that are whole, whatever happens: readers see the old content or the new, also after a crash of the machine."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO


def replace_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Gives `path` the content that `write` puts into an open file; one process at a time writes a path."""
    beside = path.with_name(f".{path.name}.tmp")
    with beside.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync(path.parent)


def replace_text(path: Path, text: str) -> None:
    """The same for text."""
    replace_whole(path, lambda file: file.write(text.encode()))


def sync(path: Path) -> None:
    """Returns once a file, or the names in a folder, would survive a crash of the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
