"""What the users of a campaign did in their outcome window, and in the days before it, as it was known at a time.

Read from the published mart `user_daily`, so on whole days: a window that begins with the day of assignment begins at its midnight. What a
user did earlier on that day is in it for offer and holdout alike.
"""

from datetime import date, datetime, timedelta

import pandas as pd

from feature_repo.contract import CREATED_AT, FEATURES_AT
from feature_repo.frames import naive_utc
from feature_repo.published import connect, from_clause

#: Days before the campaign whose spend and visits sharpen the comparison.
BEFORE_DAYS = 28
#: `user_daily` holds so many days before its time: an outcome window may not be longer.
LONGEST_WINDOW = 90
_KINDS = ("visits", "purchases", "spend")


def outcomes_as_known(assigned: pd.DataFrame, windows: pd.DataFrame, known_at: datetime) -> pd.DataFrame:
    """`visits`, `purchases` and `spend` of each row of `assigned` (user_id, assigned_at) in the days of its window (first_at, until_at)
    that are over at `known_at`, by what was known then; in its order."""
    return _counted(assigned, windows, "day >= first_day and day < least(until_day, $today)", naive_utc(known_at))


def before_as_known(assigned: pd.DataFrame) -> pd.DataFrame:
    """The same for the `BEFORE_DAYS` before the day of assignment, by what was known when it began: a campaign that starts later may have
    been heard of in between."""
    day = assigned["assigned_at"].dt.normalize()
    window = pd.DataFrame({"first_at": day - timedelta(days=BEFORE_DAYS), "until_at": day})
    return _counted(assigned, window, "day >= first_day and day < until_day", None)


def _counted(assigned: pd.DataFrame, windows: pd.DataFrame, days_meant: str, known_at: datetime | None) -> pd.DataFrame:
    """Sums over the days of every user's newest row up to the window's end, known by `known_at`, or by that end for None."""
    asked = pd.DataFrame(
        {
            "row_number": range(len(assigned)),
            "user_id": assigned["user_id"].astype(str).to_numpy(object),
            **{edge: windows[edge].astype("datetime64[us]").to_numpy() for edge in ("first_at", "until_at")},
        }
    )
    query = f"""
        with asked as (
            select *, {", ".join(f"date_diff('day', date '1970-01-01', {edge}_at::date) as {edge}_day" for edge in ("first", "until"))}
            from asked_users
        ),
        newest as (
            select row_number, first_day, until_day, daily.*
            from asked inner join {from_clause("user_daily")} as daily using (user_id)
            where daily.{FEATURES_AT} <= asked.until_at and daily.{CREATED_AT} <= coalesce($known_at::timestamp, asked.until_at)
            qualify row_number() over (partition by row_number order by daily.{FEATURES_AT} desc, daily.{CREATED_AT} desc) = 1
        ),
        by_day as (
            select
                row_number, first_day, until_day, unnest(day_numbers) as day, unnest(daily_sessions) as sessions,
                unnest(daily_purchases) as bought, unnest(daily_spend) as paid
            from newest
        ),
        counted as (
            select row_number, sum(sessions) as visits, sum(bought) as purchases, sum(paid) as spend
            from by_day where {days_meant} group by row_number
        )
        select {", ".join(f"coalesce({kind}, 0)::double as {kind}" for kind in _KINDS)}
        from asked left join counted using (row_number) order by row_number
    """
    parameters = {"known_at": known_at} | ({"today": (known_at.date() - date(1970, 1, 1)).days} if known_at else {})
    with connect() as connection:
        connection.register("asked_users", asked)
        return connection.sql(query, params=parameters).df().set_index(assigned.index)
