"""Days against the days before them: feeds that break silently, with every row valid by itself.

Each day of a window is compared with its reference, the up to eight weeks before it, of which at least MIN_DAYS must have been loaded. A
rule's `excess` is how far the day lies from the reference, in units of the limit; above 1 it is broken. Limits leave room for the noise
that a count of this size has anyway, so that small tables do not cry wolf. All limits stand here.

`accept` is for a change that is real: the days accepted are not judged, and later days are compared with days from there on only.
"""

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
#: Standard deviations of pure counting noise that are always allowed.
NOISE = 5
#: Standard deviations of the shop's own change from week to week that are always allowed: events come in visits, so days of a small shop
#: vary by far more than counting noise.
OWN_NOISE = 4

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
    """Every day of `[start, end)` of every profiled table against its reference; also kept in `landing._comparisons`."""
    comparisons: list[Comparison] = []
    skipped: dict[str, list[str]] = {}
    tables = connection.execute(
        "select distinct landing_table from landing._profiles where ds >= ? and ds < ? order by 1", [start, end]
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
    if weekday and np.median([profile["rows"][""] for profile in reference.values()]) >= MIN_ROWS:
        own = OWN_NOISE * _weekly_spread(reference) * (1 + 1.57 / len(weekday)) ** 0.5  # a median of few days is uncertain itself
        lowest = HOLIDAY_VOLUME if (ds.month, ds.day) in HOLIDAYS else VOLUME[0]
        expected = [float(np.median(weekday))]
        if len(weekday) < MIN_WEEKDAYS:
            expected.append(float(np.median([profile["rows"][""] for profile in reference.values()])))
        yield min((_volume(n, rows, lowest, own) for rows in expected), key=lambda measured: measured[2])
    large = [profile for profile in reference.values() if profile["rows"][""] >= MIN_ROWS]
    if n < MIN_ROWS or len(large) < MIN_DAYS:
        return
    usual = {
        metric: {part: float(np.median([profile.get(metric, {}).get(part, 0.0) for profile in large])) for part in parts}
        for metric, parts in _parts(large, day).items()
    }
    for rule, measured in (
        ("null_shares", _moved(day, usual, "nulls", NULL_SHARE, n, both_ways=True)),
        ("concentration", _moved(day, usual, "top", CONCENTRATION, n, both_ways=False)),
        ("category_shares", _shares(day, usual, n)),
        ("values_present", _gone(day, usual, large, n)),
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


def _volume(n: float, expected: float, lowest: float, own: float) -> tuple[str, str, float, str]:
    limit = max((1 - lowest if n < expected else VOLUME[1] - 1) * expected, NOISE * expected**0.5, own * expected)
    return "volume", "", abs(n - expected) / limit if limit else 0.0, f"{n:.0f} rows, {expected:.0f} expected"


def _noise(share: float, n: float) -> float:
    return NOISE * (max(share * (1 - share), 1 / n) / n) ** 0.5


def _moved(day: Profile, usual: Profile, metric: str, limit: float, n: float, *, both_ways: bool) -> list[tuple[float, str, str]]:
    found = []
    for part, share in usual.get(metric, {}).items():
        now = day.get(metric, {}).get(part, 0.0)
        moved = abs(now - share) if both_ways else max(now - share, 0.0)
        found.append((moved / (limit + _noise(share, n)), part, f"{part}: {now:.0%}, {share:.0%} expected"))
    return found


def _shares(day: Profile, usual: Profile, n: float) -> list[tuple[float, str, str]]:
    shares = usual.get("share", {})
    if not shares:
        return []
    now = day.get("share", {})
    distance = sum(abs(now.get(part, 0.0) - share) for part, share in shares.items()) / 2
    column = next(iter(shares)).split("=")[0]
    limit = SHARES + NOISE * (len(shares) / n) ** 0.5 / 2
    return [(distance / limit, column, f"{column}: {distance:.0%} of the rows moved to other values")]


def _gone(day: Profile, usual: Profile, large: list[Profile], n: float) -> list[tuple[float, str, str]]:
    """Excess of a value is how many rows of it were expected where none came; values that stayed away on an earlier day do not count."""
    constant = [part for part in usual.get("share", {}) if all(part in profile.get("share", {}) for profile in large)]
    return [
        (
            0.0 if part in day.get("share", {}) else usual["share"][part] * n / PRESENT_ROWS,
            part,
            f"{part}: none, {usual['share'][part]:.1%} expected",
        )
        for part in constant
    ]


def _levels(day: Profile, large: list[Profile], n: float) -> list[tuple[float, str, str]]:
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
