"""The peak memory of a house: everything it started, tasks included, sampled while something runs."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from serving.local import processes

EVERY_SECONDS = 2.0


class MemoryWatch:
    """`with MemoryWatch(home) as memory: ...`, then `memory.peak_mb`: the highest sum of PSS, which counts shared pages once."""

    def __init__(self, home: Path) -> None:
        self.peak_mb = 0.0
        self._home = home
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self.peak_mb = max(self.peak_mb, processes.memory_mb(self._home))
