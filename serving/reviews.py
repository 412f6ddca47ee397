"""The manual-review queue: decisions about credit and orders that the model left to a person, until a person decides.

The queue is no store of its own. It is the log of decisions read backwards: a row of kind `credit` or `order` whose `arm` is `review` is
open until a row by the model `person` follows about the same subject. Such a verdict is appended to the log like any decision, by a writer
of its own that returns once it is on disk, so it reaches the warehouse with the others and teaches as a label. What was decided about
credit or an order is on disk before it is answered, and so in the queue.

A file of the log is read once and again when it grows; of its rows only those of the queue are kept, so memory grows with the reviews of
OPEN_DAYS, and the first look of a process with the log of these days.
"""

import json
import threading
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock

from serving.decisions_store import Segments, list_id
from serving.errors import AlreadyReviewed, UnknownReview
from settings import Settings, get_settings

KINDS = ("order", "credit")
VERDICTS = ("approve", "refuse")
REVIEW = "review"
PERSON = "person"  # the `model` of a verdict, as `training/fraud_rows.py` reads it
OPEN_DAYS = 30


@dataclass(frozen=True)
class PersonsVerdict:
    """What a person decided: `by` is the name of the key that was used."""

    verdict: str
    note: str
    by: str
    decided_at: datetime


@dataclass(frozen=True)
class Review:
    """One decision that was left to a person; `reason_codes` are the model's."""

    decision_id: str
    kind: str
    subject: str
    user_id: str | None
    decided_at: datetime
    features_at: datetime
    model: str
    model_version: str
    probability: float | None
    reason_codes: tuple[str, ...]
    verdict: PersonsVerdict | None


class ReviewQueue:
    """The reviews of one house. Safe to use from many threads and processes."""

    def __init__(self, folder: Path, lock: Path, *, is_wall_clock: bool) -> None:
        """`folder` is the landing folder of decisions; `lock` a file at which two verdicts on one review wait for each other."""
        self._folder, self._lock_file = folder, lock
        self._writer = uuid4().hex[:12]
        self._segments = Segments(folder, self._writer, is_wall_clock=is_wall_clock)
        self._read: dict[Path, tuple[tuple[int, int], list[dict[str, Any]]]] = {}
        self._mutex = threading.Lock()

    def all(self) -> list[Review]:
        """Every review of the last OPEN_DAYS days of the log, newest first, with the verdict where a person gave one."""
        asked: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in sorted(self._rows(), key=_logged):
            asked.setdefault((row["kind"], row["subject"]), []).append(row)
        found = []
        for rows in asked.values():
            waiting: dict[str, Any] | None = None
            for row in rows:
                if row["model"] != PERSON:
                    waiting = row  # asked again while it waits: the newest question is the one that waits
                elif waiting is not None:
                    found.append(_review(waiting, row))
                    waiting = None
            if waiting is not None:
                found.append(_review(waiting, None))
        return sorted(found, key=lambda one: (one.decided_at, one.decision_id), reverse=True)

    def decide(self, decision_id: str, verdict: str, note: str, by: str, at: datetime) -> Review:
        """Appends a person's verdict and returns the review with it, once it is on disk; the same verdict again changes nothing.

        Raises UnknownReview, and AlreadyReviewed where another verdict stands.
        """
        self._lock_file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock_file):
            review = next((one for one in self.all() if one.decision_id == decision_id), None)
            if review is None:
                raise UnknownReview(
                    f"A review must be one that waits in the queue or was decided in the last {OPEN_DAYS} days. Received {decision_id!r}. "
                    "Look at GET /v1/reviews."
                )
            if review.verdict is not None:
                if review.verdict.verdict != verdict:
                    raise AlreadyReviewed(
                        f"A review is decided once. {review.verdict.by} decided {review.verdict.verdict} before. Received {verdict}."
                    )
                return review
            at = max(at, review.decided_at)
            row = {
                "decision_id": f"{list_id(at.date(), time.time_ns() // 1000, self._writer)}.1",
                "decided_at": at,
                "user_id": review.user_id,
                "kind": review.kind,
                "subject": review.subject,
                "rank": 1,
                "score": review.probability,
                "propensity": None,
                "arm": verdict,
                "model": PERSON,
                "model_version": by,
                "features_at": review.features_at,
                "reason": json.dumps({"of": decision_id, "note": note}, ensure_ascii=False),
            }
            with self._mutex:
                self._segments.append([row])
        return _review(_row_of(review), row)

    def _rows(self) -> list[dict[str, Any]]:
        """The queue's rows of the newest OPEN_DAYS days."""
        days = sorted(self._folder.glob("ds=????-??-??"))
        if not days:
            return []
        first = _day(days[-1]) - timedelta(days=OPEN_DAYS)
        with self._mutex:
            found = {}
            for path in (path for folder in days if _day(folder) > first for path in folder.glob("*.parquet")):
                state = path.stat()
                stamp = (state.st_mtime_ns, state.st_size)
                held = self._read.get(path)
                found[path] = held if held and held[0] == stamp else (stamp, _queued(path))
            self._read = found
            return [row for _, rows in found.values() for row in rows]


def review_queue() -> ReviewQueue:
    """The queue of the house in use."""
    settings = get_settings()
    return _queue(settings.landing_dir / "decisions", settings.home / "api" / "reviews.lock", settings.clock == "wall")


@cache
def _queue(folder: Path, lock: Path, is_wall_clock: bool) -> ReviewQueue:
    return ReviewQueue(folder, lock, is_wall_clock=is_wall_clock)


def saving_of(review: Review, settings: Settings) -> float | None:
    """What a look at an order saves, in the shop's currency; None where its total, or the probability, is not known."""
    from serving.fraud import asked_orders
    from training.fraud_costs import fraud_costs

    if review.kind != "order" or review.probability is None:
        return None
    amount = asked_orders(settings).amounts([review.subject]).get(review.subject)
    return None if amount is None else fraud_costs().saved_by_review(review.probability, amount)


def by_priority(reviews: list[Review], settings: Settings) -> list[tuple[Review, float | None]]:
    """Reviews with what a look at each saves, the largest saving first; where nobody knows it, by probability, behind the others."""
    priced = [(review, saving_of(review, settings)) for review in reviews]

    def place(one: tuple[Review, float | None]) -> tuple[bool, float, str]:
        review, saved = one
        return saved is None, -(saved if saved is not None else review.probability or 0.0), review.decision_id

    return sorted(priced, key=place)


def _queued(path: Path) -> list[dict[str, Any]]:
    is_asked = (pc.field("arm") == REVIEW) | (pc.field("model") == PERSON)
    return pq.read_table(path, filters=pc.field("kind").isin(KINDS) & is_asked, partitioning=None).to_pylist()


def _logged(row: dict[str, Any]) -> tuple[str, str]:
    """When it was logged, by the clock of the machine, which the id holds."""
    return row["decision_id"].split("-")[1], row["decision_id"]


def _review(row: dict[str, Any], person: dict[str, Any] | None) -> Review:
    verdict = None
    if person is not None:
        verdict = PersonsVerdict(person["arm"], json.loads(person["reason"])["note"], person["model_version"], person["decided_at"])
    names = ("decision_id", "kind", "subject", "user_id", "decided_at", "features_at", "model", "model_version")
    return Review(**{name: row[name] for name in names}, probability=row["score"], reason_codes=_codes(row["reason"]), verdict=verdict)


def _row_of(review: Review) -> dict[str, Any]:
    return vars(review) | {"score": review.probability, "reason": json.dumps(list(review.reason_codes))}


def _codes(reason: str | None) -> tuple[str, ...]:
    """The codes of a logged reason, a JSON list; whatever else stands there is one."""
    try:
        found = json.loads(reason or "[]")
    except ValueError:
        return (str(reason),)
    return tuple(map(str, found)) if isinstance(found, list) else (str(reason),)


def _day(folder: Path) -> date:
    return date.fromisoformat(folder.name.removeprefix("ds="))
