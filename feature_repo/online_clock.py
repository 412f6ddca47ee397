"""What time it is for online reads, and whether a stored row is too old to be served.

`settings.clock` says which: `wall` is UTC time; `data` is the horizon of what was materialised last, so that a shop whose records end in
2011 is not served as if its customers had been silent ever since.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from settings import get_settings


@dataclass(frozen=True)
class StoredRow:
    """Which version of an entity's row is online: times naive UTC; `created_at` None where a foreign writer gave none."""

    id: str
    features_at: datetime
    created_at: datetime | None


def now(horizon: Callable[[], datetime | None]) -> datetime | None:
    """The time of the question, naive UTC; None where the clock is the data's and nothing was ever materialised."""
    return datetime.now(UTC).replace(tzinfo=None) if get_settings().clock == "wall" else horizon()


def is_expired(features_at: datetime, ttl: timedelta | None, at: datetime | None) -> bool:
    """Is a row that counts up to `features_at` older than `ttl` at the time `at`? All times naive UTC; no ttl (or zero) never expires."""
    return ttl is not None and ttl > timedelta(0) and at is not None and features_at < at - ttl


def is_live(row: StoredRow, horizon: datetime | None) -> bool:
    """Was this version made of live events that no batch has seen yet? Batches know things at midnights, and nothing after the horizon."""
    return row.created_at is not None and (horizon is None or row.created_at > horizon) and row.created_at.time() != time()
