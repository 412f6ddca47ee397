"""How a task ends early: a broken data contract fails it at once, a shop that lacks a table skips it; everything else is retried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_once(*broken_contracts: type[Exception], passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Fail without a retry on these exceptions, since the data stay the same; those that are `passing` by themselves are retried."""
    from airflow.sdk.exceptions import AirflowFailException

    try:
        yield
    except passing:
        raise
    except broken_contracts as error:
        raise AirflowFailException(str(error)) from error


@contextmanager
def skipping(*reasons: type[Exception]) -> Iterator[None]:
    """Skip the task, with the reason, on these exceptions."""
    from airflow.sdk.exceptions import AirflowSkipException

    try:
        yield
    except reasons as error:
        raise AirflowSkipException(str(error)) from error
