"""The circuit breaker: when it opens, what it lets through, and when it closes."""

import pytest

from serving.breaker import CircuitBreaker, Open


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def broken() -> str:
    raise ConnectionError("nobody there")


def wrong() -> str:
    raise ValueError("not what was asked")


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(ConnectionError, failures=3, rest_s=2.0, clock=clock)
    for _ in range(3):
        with pytest.raises(ConnectionError):
            breaker.call(broken)
    return breaker


def test_after_so_many_failures_in_a_row_nothing_is_asked() -> None:
    breaker = opened(Clock())
    assert breaker.is_open
    with pytest.raises(Open, match=r"it failed too often just now; it is tried again in 2.0 s"):
        breaker.call(lambda: "fine")


def test_an_answer_between_failures_starts_the_count_anew_and_other_errors_are_answers() -> None:
    breaker = CircuitBreaker(ConnectionError, failures=3, rest_s=2.0, clock=Clock())
    for action in (broken, broken, wrong, broken, broken, lambda: "fine", broken, broken):
        try:
            breaker.call(action)
        except (ConnectionError, ValueError):
            continue
    assert not breaker.is_open


def test_after_the_rest_one_call_tries_and_an_answer_closes() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 2.1
    seen = []

    def slow() -> str:
        with pytest.raises(Open):  # another request, while the first tries
            breaker.call(lambda: seen.append("second"))
        return "fine"

    assert breaker.call(slow) == "fine"
    assert seen == []
    assert breaker.call(lambda: "fine again") == "fine again"


def test_a_failed_try_opens_again() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 2.1
    with pytest.raises(ConnectionError):
        breaker.call(broken)
    with pytest.raises(Open):
        breaker.call(lambda: "fine")
