"""When a shop is busy: hours of the day, days of the week, pay days and holidays."""

from datetime import date, timedelta

import numpy as np

DAY = 86_400_000_000  # microseconds
HOUR = DAY // 24
SECOND = 1_000_000

_HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 10, 11, 10, 9, 9, 9, 10, 12, 14, 15, 14, 10, 5], float)
_WEEKDAYS = (0.9, 0.85, 0.9, 0.95, 1.0, 1.3, 1.35)  # Monday first
PAYDAYS = (26, 27, 28)  # the days after salaries arrive
PAYDAY_RUSH = 1.35
#: ((month, first day, last day), visits compared with an ordinary day)
HOLIDAYS = (
    ((1, 1, 1), 0.5),
    ((2, 12, 13), 1.5),  # before Valentine's Day
    ((5, 1, 1), 0.6),
    ((11, 24, 30), 1.6),  # the week of Black Friday
    ((12, 8, 21), 1.4),
    ((12, 24, 26), 0.4),
)


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def day_weight(day: date) -> float:
    """Visits on `day` compared with an average day of a week without pay day or holiday."""
    weight = _WEEKDAYS[day.weekday()] * (PAYDAY_RUSH if day.day in PAYDAYS else 1.0)
    for (month, first, last), factor in HOLIDAYS:
        if day.month == month and first <= day.day <= last:
            weight *= factor
    return weight


def busy_hours(start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the hours of `[start, end)` (microseconds since 1970 UTC), and the visits expected before each edge; `(hours + 1,)`."""
    first, days = start // DAY, (end - start) // DAY
    weights = np.array([day_weight(date(1970, 1, 1) + timedelta(days=int(first + number))) for number in range(days)])
    busy = np.concatenate([[0.0], np.cumsum(np.repeat(weights, 24) * np.tile(_HOURS / _HOURS.sum(), days))])
    return start + np.arange(len(busy)) * HOUR, busy


def as_times(microseconds: np.ndarray) -> np.ndarray:
    return microseconds.astype("datetime64[us]")


def as_days(microseconds: np.ndarray) -> np.ndarray:
    return as_times(microseconds).astype("datetime64[D]")
