"""Increasing times for data sets that know only the order of a user's events."""

from datetime import date

import numpy as np

PERIOD_DAYS = 180
_PERIOD_US = PERIOD_DAYS * 86_400_000_000


def spread_over_period(users: np.ndarray, start: date) -> np.ndarray:
    """A time for each event, `datetime64[us]`: a user's j-th of n events (j from 0) stands at (j + 1/2) / n of the 180 days from
    the midnight of `start`.

    `users`, shape `(events,)`, names the user of each event; events of one user are in order, and users may be interleaved.
    """
    _, user, totals = np.unique(users, return_inverse=True, return_counts=True)
    by_user = np.argsort(user, kind="stable")
    place = np.empty(len(users), dtype=np.int64)
    place[by_user] = np.arange(len(users)) - np.repeat(np.cumsum(totals) - totals, totals)
    return np.datetime64(start, "us") + ((2 * place + 1) * _PERIOD_US // (2 * totals[user])).astype("timedelta64[us]")
