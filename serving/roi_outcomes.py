"""What the users of a campaign did in their outcome window, and in the days before it, as it was known at a time.

Read from the published mart `user_daily`, so on whole days: a window begins with the day of assignment. What a user did earlier on that day
is in it for offer and holdout alike.
"""

from datetime import date, datetime

import pandas as pd

from feature_repo.contract import CREATED_AT, FEATURES_AT
from feature_repo.frames import naive_utc
from feature_repo.published import connect, from_clause

#: Days before the campaign whose spend and visits sharpen the comparison.
BEFORE_DAYS = 28
#: `user_daily` holds so many days before its time: an outcome window may not be longer.
LONGEST_WINDOW = 90
_KINDS = ("visits", "purchases", "spend")


def outcomes_as_known(assigned: pd.DataFrame, known_at: datetime, days: int) -> pd.DataFrame:
    """`visits`, `purchases` and `spend` of each row of `assigned` (user_id, assigned_at) in the `days` from its assignment that are over at
    `known_at`, by what was known then; in its order."""
    return _counted(assigned, f"day >= first_day and day < least(first_day + {int(days)}, $today)", "until_at", naive_utc(known_at), days)


def before_as_known(assigned: pd.DataFrame) -> pd.DataFrame:
    """The same for the `BEFORE_DAYS` before the day of assignment, by what was known when it began."""
    return _counted(assigned, f"day >= first_day - {BEFORE_DAYS} and day < first_day", "first_at", None, 0)


def _counted(assigned: pd.DataFrame, days_meant: str, newest: str, known_at: datetime | None, days: int) -> pd.DataFrame:
    """Sums over the days of every user's newest row up to the time `newest`, known by `known_at`, or by the day of assignment for None."""
    asked = pd.DataFrame(
        {
            "row_number": range(len(assigned)),
            "user_id": assigned["user_id"].astype(str).to_numpy(object),
            "first_at": assigned["assigned_at"].dt.normalize().astype("datetime64[us]").to_numpy(),
        }
    )
    query = f"""
        with asked as (
            select *, first_at + to_days({int(days)}) as until_at, date_diff('day', date '1970-01-01', first_at::date) as first_day
            from asked_users
        ),
        newest as (
            select row_number, first_day, daily.*
            from asked inner join {from_clause("user_daily")} as daily using (user_id)
            where daily.{FEATURES_AT} <= asked.{newest} and daily.{CREATED_AT} <= coalesce($known_at::timestamp, asked.first_at)
            qualify row_number() over (partition by row_number order by daily.{FEATURES_AT} desc, daily.{CREATED_AT} desc) = 1
        ),
        by_day as (
            select
                row_number, first_day, unnest(day_numbers) as day, unnest(daily_sessions) as sessions,
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
