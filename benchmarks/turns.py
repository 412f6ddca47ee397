"""Several trainings on one machine by turns: one process works while the others wait, so that what else runs slows them all alike.

Each training is a process that holds a `Turns`. It prints a line of JSON when it is ready and after every epoch, then waits for a line on
its standard input; its clock runs only while it trains. Imports nothing that a peer's own environment lacks.
"""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from training.metrics import ndcg, rank_targets


class Rows(NamedTuple):
    """What every training is given: events of `users` and `items`, oldest first within a user, and one question for each user.

    Users and items are numbers from 0; `users` `(events,)` ascends, `targets` has shape `(users,)`.
    """

    users: np.ndarray
    items: np.ndarray
    targets: np.ndarray
    catalogue: np.ndarray  # how many items there are, shape ()

    @classmethod
    def load(cls, path: Path) -> "Rows":
        with np.load(path) as kept:
            return cls(*(kept[name] for name in cls._fields))

    def save(self, path: Path) -> None:
        np.savez(path, **self._asdict())

    def ndcg(self, scores: Iterable[np.ndarray]) -> float:
        """NDCG@10 of the questions among all items, those of the user's own events removed; `scores` are blocks `(some users, items)`."""
        ones = np.ones(len(self.users), np.float32)
        seen = csr_matrix((ones, (self.users, self.items)), shape=(len(self.targets), int(self.catalogue)))
        return float(ndcg(rank_targets(scores, self.targets, seen).ranks).mean())


class Turns:
    """The clock of one training; `seconds` and `cpu_seconds` (of all its threads) count nothing but its own turns."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self._spent, self._cpu = rows, 0.0, 0.0
        self._wait({"ready": True})

    def after_epoch(self, scores: Iterable[np.ndarray]) -> None:
        """Stops the clock, asks the questions (`scores` may be lazy), reports, and goes on when it is this training's turn."""
        self._spent += time.perf_counter() - self._since
        self._cpu += time.process_time() - self._cpu_since
        self._wait({"seconds": self._spent, "cpu_seconds": self._cpu, "ndcg": self._rows.ndcg(scores)})

    def _wait(self, report: dict[str, float]) -> None:
        print(json.dumps(report), flush=True)
        if not sys.stdin.readline():
            raise SystemExit(0)
        self._since, self._cpu_since = time.perf_counter(), time.process_time()
