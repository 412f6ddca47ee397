"""How often one caller may ask: a token bucket for each, so that one client cannot starve another.

A bucket holds up to `burst` tokens and gains `rate` a second; a request takes one. The buckets lie in a file of fixed size that every
process of the house maps into its memory, so a caller has one bucket however many workers answer. The file is worth nothing: without it, or
after a restart of the machine, whose clock then begins anew, every bucket is full.
"""

import fcntl
import math
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

_BUCKET = struct.Struct("<Qdd")  # the caller's hash, tokens, when: seconds of the machine's clock, which all its processes share
#: A caller's bucket is one of so many places, chosen by its hash; where all are taken, the caller that asked longest ago is forgotten.
PLACES = 8
GROUPS = 2048
_GROUP_BYTES = PLACES * _BUCKET.size


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
    """One bucket a caller, for all threads and processes that are given the same file."""

    def __init__(self, rate: float, burst: int, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst = rate, burst
        self._file, self._clock = file, clock
        self._lock = threading.Lock()  # the file's lock keeps out other processes, not other threads

    def take(self, caller: str) -> Verdict:
        """Takes one token of the caller's, if there is one."""
        own = int.from_bytes(blake2b(caller.encode(), digest_size=8).digest(), "little") or 1
        begin = own % GROUPS * _GROUP_BYTES
        with self._lock:
            descriptor, memory = self._mapped
            fcntl.lockf(descriptor, fcntl.LOCK_EX, _GROUP_BYTES, begin)
            try:
                now = self._clock()
                group = [_BUCKET.unpack_from(memory, begin + place * _BUCKET.size) for place in range(PLACES)]
                place = next((n for n, bucket in enumerate(group) if bucket[0] == own), None)
                if place is None:
                    place = min(range(PLACES), key=lambda n: (group[n][0] != 0, group[n][2]))  # a free one first
                    tokens = float(self.burst)
                else:
                    _, held, since = group[place]
                    tokens = min(self.burst, held + (now - since) * self.rate) if since <= now else float(self.burst)
                allowed = tokens >= 1
                tokens -= allowed
                _BUCKET.pack_into(memory, begin + place * _BUCKET.size, own, tokens, now)
            finally:
                fcntl.lockf(descriptor, fcntl.LOCK_UN, _GROUP_BYTES, begin)
        missing = self.burst - tokens if allowed else 1 - tokens
        return Verdict(allowed, self.burst, int(tokens), math.ceil(missing / self.rate))

    @cached_property
    def _mapped(self) -> tuple[int, mmap.mmap]:
        """The file, readable by its owner alone, and its memory; made when the first request comes."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(descriptor, GROUPS * _GROUP_BYTES)
        return descriptor, mmap.mmap(descriptor, GROUPS * _GROUP_BYTES)
