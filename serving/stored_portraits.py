"""Portraits as they were: what was known of a user at a time, what the daily portrait said then, and how that moved from day to day.

Read from published Parquet alone. The features are the rows that training would get as of that time; the model's lines are those that
were stored by the daily scoring and had become known by then, never a new answer of today's model.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from duckdb import DuckDBPyConnection

from feature_repo.contract import BEHAVIOUR, CREATED_AT, FEATURES_AT, PORTRAITS, Mart, mart, views
from feature_repo.online_clock import is_expired
from feature_repo.published import connect, day_files, from_clause
from serving.errors import UnknownUser
from serving.portraits import PROBABILITIES, UNKNOWN, Inferred, Portrait, RecentEvent, Trait, recent_events
from serving.shop_front import ShopFront, front

#: Files of days that are read by the first query, the newest ones; each query that follows reads four times as many.
FILES_FIRST = 2
_LISTS = ("user_sequences", "user_daily")


@dataclass(frozen=True)
class Told:
    """One stored portrait: what was said as of `told_at`."""

    told_at: datetime
    inferred: Inferred


@dataclass(frozen=True)
class PastPortrait:
    """A portrait as of a time that was asked; `told_at` is when its model's lines were said, None where none had been."""

    portrait: Portrait
    told_at: datetime | None


def show_as_of(user_id: str, as_of: datetime, *, shop: ShopFront | None = None, recent: int = 10) -> PastPortrait:
    """What was known of a user at `as_of` (UTC, without zone); `UnknownUser` where nothing was."""
    shop = shop or front()
    shop.clock()  # NotServed, with the way out, where nothing is published
    with connect() as connection:
        rows = {view.name: row for view in _user_views() if (row := _as_known(connection, view, user_id, as_of))}
        told = _told(_as_known(connection, mart(PORTRAITS), user_id, as_of))
    if not rows:
        raise UnknownUser(user_id)
    known = {name: value for row in rows.values() for name, value in row.items()}
    features_at = max(row[FEATURES_AT] for row in rows.values())
    lists = {column.name for view in _LISTS for column in mart(view).features}
    plain = {name: value for name, value in known.items() if name not in {*lists, "user_id", FEATURES_AT, CREATED_AT}}
    events: tuple[RecentEvent, ...] = recent_events(shop, known, recent)
    note = None if told else f"no portrait of this user had been stored by {as_of:%Y-%m-%d %H:%M}: the daily scoring writes one a day"
    portrait = Portrait(user_id, as_of, features_at, plain, events, told.inferred if told else None, note)
    return PastPortrait(portrait, told.told_at if told else None)


def timeline(user_id: str, until: datetime | None = None) -> list[Told]:
    """Every stored portrait of a user known by `until`, oldest first; of one day the version that became known last."""
    query = f"""
        select * from {from_clause(PORTRAITS)}
        where user_id = $user and ($until is null or ({FEATURES_AT} <= $until and {CREATED_AT} <= $until))
        qualify row_number() over (partition by {FEATURES_AT} order by {CREATED_AT} desc) = 1
        order by {FEATURES_AT}
    """
    with connect() as connection:
        rows = connection.sql(query, params={"user": user_id, "until": until}).to_arrow_table().to_pylist()
    return [told for row in rows if (told := _told(row))]


def changes(user_id: str, since: date, until: date) -> dict[str, tuple[Any, Any]]:
    """What a user's portraits as known at the two midnights say differently: `{line: (then, now)}`, None where nothing was said yet.

    Only the newest files are read, and of those the row groups that may hold this user.
    """
    with connect() as connection:
        rows = [_as_known(connection, mart(PORTRAITS), user_id, datetime.combine(day, time())) for day in (since, until)]
    before, after = (dict(_lines(json.loads(row["portrait"]))) if row else {} for row in rows)
    return {line: (before.get(line), after.get(line)) for line in sorted({*before, *after}) if before.get(line) != after.get(line)}


def _lines(portrait: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """`interests.toys`, `trait_probabilities.gender.female`, ... with their values."""
    for name, value in portrait.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def published_days(shop: ShopFront) -> list[datetime]:
    """Midnights as of which a person can ask: from the day after the first published features to the house's clock."""
    days = sorted(path.name.removeprefix("day=") for path in (shop.settings.offline_dir / "user_features").glob("day=*"))
    newest = shop.clock()
    return sorted({datetime.fromisoformat(day) for day in days if datetime.fromisoformat(day) <= newest} | {newest})


def _user_views() -> list[Mart]:
    return [view for name, view in views().items() if view.entity == "user" and name not in (PORTRAITS, BEHAVIOUR)]


def _as_known(connection: DuckDBPyConnection, view: Mart, user_id: str, as_of: datetime) -> dict[str, Any] | None:
    """The user's newest row as known at `as_of`, unless it is older than the view's ttl.

    A file is named by the day on which its rows became known, which is no earlier than the time that they are of: once a row is found, no
    file of an earlier day than its time can hold a newer one. So the newest files are read first, and mostly they are enough.
    """
    files, newest, count = day_files(view.name, as_of.date()), None, FILES_FIRST
    while files and (newest is None or files[0][0] >= newest[FEATURES_AT].date()):
        some, files, count = files[:count], files[count:], 4 * count
        query = f"""
            select * from read_parquet($files, hive_partitioning = false)
            where user_id = $user and {FEATURES_AT} <= $as_of and {CREATED_AT} <= $as_of
            order by {FEATURES_AT} desc, {CREATED_AT} desc
            limit 1
        """
        asked = {"files": [str(file) for _, file in some], "user": user_id, "as_of": as_of}
        found = connection.sql(query, params=asked).to_arrow_table().to_pylist()
        newest = max([*found, *([newest] if newest else [])], key=lambda row: (row[FEATURES_AT], row[CREATED_AT]), default=None)
    ttl = None if view.ttl_days is None else timedelta(days=view.ttl_days)
    return newest if newest and not is_expired(newest[FEATURES_AT], ttl, as_of) else None


def _told(row: Mapping[str, Any] | None) -> Told | None:
    if row is None:
        return None
    said = json.loads(row["portrait"])
    interests = _most_first(said["interests"])
    shares = said.get("trait_probabilities", {})  # portraits that were stored earlier lack them
    inferred = Inferred(
        int(row["model_version"]),
        tuple(row["vector"]),
        tuple(
            Trait(name, None if value == UNKNOWN else value, _most_first(shares.get(name, {})))
            for name, value in sorted(said["traits"].items())
        ),
        said["segment"] or None,
        interests,
        None,
        said["interest_alarm"],
        said["next_category"] or None,
        **{name: said[name] for name in PROBABILITIES},
        expected_spend_90d=said["expected_spend_90d"],
    )
    return Told(row[FEATURES_AT], inferred)


def _most_first(shares: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))
