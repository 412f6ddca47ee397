"""How often one caller may ask: a token bucket for each, so that one client cannot starve another.

A bucket holds up to `burst` tokens and gains `rate` a second; a request takes one. Kept in this process: of several workers each counts its
own.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: Callers remembered; of more, the one that asked longest ago is forgotten, and starts with a full bucket.
REMEMBERED = 10_000


@dataclass(frozen=True)
class Verdict:
    """Whether a request may pass, what is left, and in how many seconds the bucket is full or, when refused, has a token again."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int

    @property
    def headers(self) -> dict[str, str]:
        told = {"RateLimit-Limit": str(self.limit), "RateLimit-Remaining": str(self.remaining), "RateLimit-Reset": str(self.reset_s)}
        return told if self.allowed else told | {"Retry-After": str(self.reset_s)}


class RateLimiter:
    """One bucket a caller. Thread-safe."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst = rate, burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> (tokens, when)
        self._lock = threading.Lock()

    def take(self, caller: str) -> Verdict:
        """Takes one token of the caller's, if there is one."""
        with self._lock:
            now = self._clock()
            tokens, since = self._buckets.pop(caller, (float(self.burst), now))
            tokens = min(self.burst, tokens + (now - since) * self.rate)
            allowed = tokens >= 1
            tokens -= allowed
            self._buckets[caller] = (tokens, now)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        missing = self.burst - tokens if allowed else 1 - tokens
        return Verdict(allowed, self.burst, int(tokens), math.ceil(missing / self.rate))
