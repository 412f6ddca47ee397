"""Windowed counters at any midnight, from the days a user was active: why a row written once stays right while its user is silent.

`user_daily` holds, aligned and ascending, a user's active days of the 90 days before the row's `features_at`. A counter over `w` days at a
midnight `t >= features_at` is the sum over the days in `[t - w, t)`: days leave the window as `t` moves on, and nothing is rewritten.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import numpy as np

from feature_repo.contract import views

EPOCH = date(1970, 1, 1).toordinal()
#: Money has four decimals in the warehouse; whole ten-thousandths add up to the mart's last digit.
MONEY_UNIT = 10_000
_MONEY = "spend"
_DAYS = "active_days"


def windows_at(daily: Mapping[str, Any], as_of: datetime) -> dict[str, int | float]:
    """Every windowed counter of `user_features` (`events_7d` to `spend_90d`) at the midnight at or before `as_of` (UTC).

    `daily` has the lists of `user_daily`, each of shape `(days,)`: `day_numbers`, ascending, in days since 1970, and the counters of those
    days. Days on or after that midnight do not count. Right for any midnight from the row's `features_at` on: an earlier one would need
    days that the row has forgotten. Raises KeyError where a list is missing.
    """
    today = day_number(as_of)
    counters, lengths, columns = _wanted()
    days = np.asarray(daily["day_numbers"], dtype=np.int64)
    until, *since = days.searchsorted([today, *(today - length for length in lengths)]).tolist()
    before = np.zeros((len(counters), len(days) + 1))  # (counters, days + 1): totals of all days before each
    for place, counter in enumerate(counters):
        if counter == _DAYS:
            before[place, 1:] = 1.0
        elif counter == _MONEY:
            before[place, 1:] = np.rint(np.multiply(daily["daily_spend"], MONEY_UNIT))
        else:
            before[place, 1:] = daily[f"daily_{counter}"]
    np.cumsum(before, axis=1, out=before)
    sums = [(before[:, until] - before[:, start]).tolist() for start in since]  # (lengths, counters)
    return {
        column: sums[window][place] / MONEY_UNIT if counters[place] == _MONEY else int(sums[window][place])
        for column, place, window in columns
    }


def day_number(time: datetime) -> int:
    """Days since 1970 of a time; without a zone it is UTC."""
    return (time.astimezone(UTC) if time.tzinfo else time).toordinal() - EPOCH


@cache
def _wanted() -> tuple[tuple[str, ...], tuple[int, ...], tuple[tuple[str, int, int], ...]]:
    """The counters, the windows' lengths in days, and (column, place of its counter, place of its length), by the contract's own names."""
    named = [re.fullmatch(r"(\w+)_(\d+)d", column.name) for column in views()["user_features"].features]
    found = [(match[0], match[1], int(match[2])) for match in named if match]
    counters = tuple(dict.fromkeys(counter for _, counter, _ in found))
    lengths = tuple(sorted({length for _, _, length in found}))
    return counters, lengths, tuple((column, counters.index(counter), lengths.index(length)) for column, counter, length in found)
