"""Days against the days before them: feeds that break silently, with every row valid by itself.

Each day of a window is compared with its reference, the up to eight weeks before it, of which at least MIN_DAYS must have been loaded. A
rule's `excess` is how far the day lies from the reference, in units of the limit; above 1 it is broken. All limits stand here.

A day that lies that far must also be no accident. One visit may be most of a small shop's day, so visits are counted and not rows
(`together` in `quality/profile.py`): were those of the day and of its reference alike, such a difference, by Chernoff's bound, must be so
unlikely that an ordinary day of a table breaks any rule with a probability of CHANCE at most. Levels of numbers have their limit alone.

`accept` is for a change that is real: the days accepted are not judged, and later days are compared with days from there on only.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from quality.warehouse import check_window, open_warehouse

if TYPE_CHECKING:
    import duckdb

REFERENCE_DAYS = 56
MIN_DAYS = 14
#: Of fewer same weekdays, one of which may be a first delivery that brings the past, a day may also be like the median of all days.
MIN_WEEKDAYS = 4
#: Days with fewer rows are too small to be judged, and to judge by.
MIN_ROWS = 50

#: Rows of a day, as a ratio of the same weekday's median: lowest and highest.
VOLUME = (0.6, 3.0)
#: Month and day on which a shop may be this quiet instead.
HOLIDAYS = ((12, 24), (12, 25), (12, 26), (12, 31), (1, 1))
HOLIDAY_VOLUME = 0.15
#: How far the share of nulls in a column may move from its median.
NULL_SHARE = 0.2
#: Total-variation distance of a category's shares from their medians.
SHARES = 0.15
#: A value that is gone is one of which this many rows were expected.
PRESENT_ROWS = 30
#: Ratio by which a number's median and 95 % quantile may move, up or down.
LEVEL = 4.0
#: By how much the share of the most frequent value may rise.
CONCENTRATION = 0.25
#: Probability with which an ordinary day of a table may break a rule by accident.
CHANCE = 1e-4

RULES = ("volume", "null_shares", "category_shares", "values_present", "number_levels", "concentration")


@dataclass(frozen=True)
class Comparison:
    """One day of a table under one rule: the part that lies farthest from its reference, and how far, in units of the limit."""

    table: str
    ds: date
    rule: str
    part: str
    excess: float
    detail: str


@dataclass(frozen=True)
class Judgement:
    """All comparisons of a window, and for tables with days that could not be compared, why."""

    comparisons: tuple[Comparison, ...]
    skipped: Mapping[str, str]

    @property
    def alarms(self) -> tuple[Comparison, ...]:
        return tuple(comparison for comparison in self.comparisons if comparison.excess > 1)


def compare(connection: "duckdb.DuckDBPyConnection", start: date, end: date) -> Judgement:
    """Every day of `[start, end)` of every profiled table against its reference; also kept in `landing._comparisons`.

    Portrait's own decisions are no feed of the shop: a canary or a busy day changes them, and that is no fault of a delivery.
    """
    comparisons: list[Comparison] = []
    skipped: dict[str, list[str]] = {}
    tables = connection.execute(
        "select distinct landing_table from landing._profiles where landing_table <> 'decisions' and ds >= ? and ds < ? order by 1",
        [start, end],
    ).fetchall()
    for (table,) in tables:
        profiles = _profiles(connection, table, start - timedelta(days=REFERENCE_DAYS), end)
        accepted = connection.execute(
            'select start, "end" from landing._references where landing_table = ? and start < ? order by start', [table, end]
        ).fetchall()
        short = taken = 0
        for ds in (ds for ds in sorted(profiles) if ds >= start):
            if any(first <= ds < last for first, last in accepted):
                taken += 1
                continue
            earliest = max([ds - timedelta(days=REFERENCE_DAYS), *(first for first, _ in accepted if first <= ds)])
            reference = {day: profile for day, profile in profiles.items() if earliest <= day < ds}
            if len(reference) < MIN_DAYS:
                short += 1
                continue
            comparisons += [Comparison(table, ds, *found) for found in _compared(ds, profiles[ds], reference)]
        for days, reason in ((short, f"days with fewer than {MIN_DAYS} loaded days before them"), (taken, "days that were accepted")):
            if days:
                skipped.setdefault(f"landing, compared with days before: {days} {reason}", []).append(table)
    connection.execute("delete from landing._comparisons where ds >= ? and ds < ?", [start, end])
    if comparisons:
        rows = [[getattr(comparison, name) for comparison in comparisons] for name in ("table", "ds", "rule", "part", "excess")]
        connection.execute("insert into landing._comparisons select " + ", ".join(["unnest(?)"] * len(rows)), rows)
    return Judgement(tuple(comparisons), {reason: ", ".join(tables) for reason, tables in skipped.items()})


Profile = dict[str, dict[str, float]]  # {metric: {part: value}} of one day
Found = tuple[float, str, str]  # (excess, part, detail)


def _profiles(connection: "duckdb.DuckDBPyConnection", table: str, start: date, end: date) -> dict[date, Profile]:
    rows = connection.execute(
        "select ds, metric, part, value from landing._profiles where landing_table = ? and ds >= ? and ds < ?", [table, start, end]
    ).fetchall()
    profiles: dict[date, Profile] = {}
    for ds, metric, part, value in rows:
        profiles.setdefault(ds, {}).setdefault(metric, {})[part] = value
    return profiles


def _compared(ds: date, day: Profile, reference: Mapping[date, Profile]) -> Iterator[tuple[str, str, float, str]]:
    """`(rule, part, excess, detail)` of one day, a line a rule."""
    import numpy as np

    n = day["rows"][""]
    weekday = [profile["rows"][""] for before, profile in reference.items() if before.weekday() == ds.weekday()]
    large = [profile for profile in reference.values() if profile["rows"][""] >= MIN_ROWS]
    everyday = [profile["rows"][""] for profile in reference.values()]
    if weekday and np.median(everyday) >= MIN_ROWS:
        lowest = HOLIDAY_VOLUME if (ds.month, ds.day) in HOLIDAYS else VOLUME[0]
        alike = [weekday, everyday] if len(weekday) < MIN_WEEKDAYS else [weekday]
        visit, spread = _together(day, large), _weekly_spread(reference)
        yield min((_volume(n, days, lowest, visit, spread) for days in alike), key=lambda measured: measured[2])
    if n < MIN_ROWS or len(large) < MIN_DAYS:
        return
    usual = {
        metric: {part: float(np.median([profile.get(metric, {}).get(part, 0.0) for profile in large])) for part in parts}
        for metric, parts in _parts(large, day).items()
    }
    for rule, measured in (
        ("null_shares", _moved(day, usual, large, "nulls", NULL_SHARE, both_ways=True)),
        ("concentration", _moved(day, usual, large, "top", CONCENTRATION, both_ways=False)),
        ("category_shares", _shares(day, usual, large)),
        ("values_present", _gone(day, usual, large)),
        ("number_levels", _levels(day, large, n)),
    ):
        if measured:
            excess, part, detail = max(measured)
            yield rule, part, excess, detail


def _parts(large: list[Profile], day: Profile) -> dict[str, set[str]]:
    parts: dict[str, set[str]] = {}
    for profile in (*large, day):
        for metric, values in profile.items():
            parts.setdefault(metric, set()).update(values)
    return parts


def _weekly_spread(reference: Mapping[date, Profile]) -> float:
    """Robust standard deviation of a day's rows, as a share of them, from each day beside the same weekday a week before."""
    import numpy as np

    week = timedelta(days=7)
    pairs = [(profile["rows"][""], reference[day - week]["rows"][""]) for day, profile in reference.items() if day - week in reference]
    ratios = [abs(np.log(now / before)) for now, before in pairs if now and before]
    return float(1.4826 * np.median(ratios) / 2**0.5) if ratios else 0.0


def _volume(n: float, days: list[float], lowest: float, visit: float, spread: float) -> tuple[str, str, float, str]:
    import numpy as np

    expected = float(np.median(days))
    limit = (1 - lowest if n < expected else VOLUME[1] - 1) * expected
    both = (n + len(days) * expected) / (1 + len(days))
    nats = (_nats(n, both) + len(days) * _nats(expected, both)) / max(visit, spread**2 * expected)
    excess = min(abs(n - expected) / limit, _beyond_chance(nats, 1)) if limit else 0.0
    return "volume", "", excess, f"{n:.0f} rows, {expected:.0f} expected"


def _together(day: Profile, large: list[Profile], part: str = "") -> float:
    """Rows that count as one: `together` of all rows of the reference and the day; of a share that never varied, that of the rows."""
    known = [(profile["rows"][""], profile["together"][part]) for profile in (*large, day) if part in profile.get("together", {})]
    if part and not known:
        return _together(day, large)
    return max(1.0, sum(rows * visit for rows, visit in known) / sum(rows for rows, _ in known)) if known else 1.0


def _share_beyond_chance(day: Profile, usual: Profile, large: list[Profile], metric: str, part: str) -> float:
    name = f"{metric}:{part}"
    visit = max(_together(day, large, name), day.get("together", {}).get(name, 0.0))  # nobody has seen this day's largest visit before
    n, before = day["rows"][""] / visit, sum(profile["rows"][""] for profile in large) / visit
    now, share = day.get(metric, {}).get(part, 0.0), usual[metric][part]
    both = (n * now + before * share) / (n + before)
    nats = sum(visits * (_nats(p, both) + _nats(1 - p, 1 - both)) for visits, p in ((n, now), (before, share)))
    return _beyond_chance(nats, len(usual[metric]))


def _nats(count: float, expected: float) -> float:
    return count * math.log(count / expected) if count else 0.0


def _beyond_chance(nats: float, comparisons: int) -> float:
    """Above 1 where `exp(-nats)`, the bound on the probability, is below this comparison's part of CHANCE."""
    return nats / math.log(len(RULES) * comparisons / CHANCE)


def _moved(day: Profile, usual: Profile, large: list[Profile], metric: str, limit: float, *, both_ways: bool) -> list[Found]:
    found = []
    for part, share in usual.get(metric, {}).items():
        now = day.get(metric, {}).get(part, 0.0)
        moved = abs(now - share) if both_ways else max(now - share, 0.0)
        excess = min(moved / limit, _share_beyond_chance(day, usual, large, metric, part))
        found.append((excess, part, f"{part}: {now:.0%}, {share:.0%} expected"))
    return found


def _shares(day: Profile, usual: Profile, large: list[Profile]) -> list[Found]:
    shares = usual.get("share", {})
    if not shares:
        return []
    now = day.get("share", {})
    distance = sum(abs(now.get(part, 0.0) - share) for part, share in shares.items()) / 2
    column = next(iter(shares)).split("=")[0]
    excess = min(distance / SHARES, max(_share_beyond_chance(day, usual, large, "share", part) for part in shares))
    return [(excess, column, f"{column}: {distance:.0%} of the rows moved to other values")]


def _gone(day: Profile, usual: Profile, large: list[Profile]) -> list[Found]:
    """Excess of a value is how many rows of it were expected where none came; values that stayed away on an earlier day do not count."""
    n, found = day["rows"][""], []
    for part, share in usual.get("share", {}).items():
        if all(part in profile.get("share", {}) for profile in large):
            gone = part not in day.get("share", {})
            excess = min(share * n / PRESENT_ROWS, _share_beyond_chance(day, usual, large, "share", part)) if gone else 0.0
            found.append((excess, part, f"{part}: none, {share:.1%} expected"))
    return found


def _levels(day: Profile, large: list[Profile], n: float) -> list[Found]:
    """Quantiles as ratios, in logarithms; only of numbers that are there often enough, now and before."""
    import numpy as np

    found = []
    for metric in ("median", "high"):
        for part, now in day.get(metric, {}).items():
            filled = n * (1 - day.get("nulls", {}).get(part, 0.0))
            before = [profile[metric][part] for profile in large if part in profile.get(metric, {})]
            level = float(np.median(before)) if before else 0.0
            if filled >= MIN_ROWS and len(before) >= MIN_DAYS and level > 0:
                ratio = now / level
                excess = abs(np.log(ratio)) / np.log(LEVEL) if ratio > 0 else 2.0
                found.append((float(excess), f"{metric} of {part}", f"{metric} of {part}: {now:.6g}, {level:.6g} expected"))
    return found


def accept(start: date, end: date, tables: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Takes the days `[start, end)` as they are: they are not judged, and days after them are compared with days from `start` on only.

    Without `tables`, of every table that was loaded in these days; yields their names. Until MIN_DAYS days stand behind the new start,
    the tables are skipped by name.

    Raises:
        WindowInvalid: the window holds no day.
        WarehouseBusy: another process has the warehouse open.
    """
    check_window(start, end)
    with open_warehouse() as connection:
        loaded = connection.execute(
            "select distinct landing_table from landing._loads where ds >= ? and ds < ? order by 1", [start, end]
        ).fetchall()
        chosen = tuple(table for (table,) in loaded if not tables or table in tables)
        for table in chosen:
            window = [table, start, end]
            connection.execute('delete from landing._references where landing_table = ? and start = ? and "end" = ?', window)
            connection.execute("insert into landing._references values (?, ?, ?)", window)
    return chosen
