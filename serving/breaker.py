"""A circuit breaker: what does not answer is left alone for a while, so that not every request waits for its deadline (Nygard 2007)."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Open(Exception):
    """The call was not made: too many before it failed, and the next try is due in `retry_s`."""

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"it failed too often just now; it is tried again in {retry_s:.1f} s")
        self.retry_s = retry_s


class CircuitBreaker:
    """Closed until `failures` calls in a row fail, then open for `rest_s`; then one call is let through, which closes it or opens it again.

    Only exceptions of `counted` are failures; any other answer shows that somebody is there. Thread-safe.
    """

    def __init__(
        self,
        counted: type[Exception] | tuple[type[Exception], ...],
        *,
        failures: int = 5,
        rest_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counted, self.failures, self.rest_s, self.clock = counted, failures, rest_s, clock
        self._failed = 0
        self._until = 0.0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        with self._lock:
            return self._failed >= self.failures and self.clock() < self._until

    def call(self, action: Callable[[], T]) -> T:
        """The action's answer, or its exception; `Open` where it was not asked."""
        with self._lock:
            if self._failed >= self.failures:
                left = self._until - self.clock()
                if left > 0:
                    raise Open(left)
                self._until = self.clock() + self.rest_s  # this call tries; the others wait for what it finds
        try:
            answer = action()
        except self.counted:
            with self._lock:
                self._failed += 1
                self._until = self.clock() + self.rest_s
            raise
        except Exception:
            self._close()
            raise
        self._close()
        return answer

    def _close(self) -> None:
        if self._failed:
            with self._lock:
                self._failed = 0
