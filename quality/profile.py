"""A small profile of every day of every landing table, kept in `landing._profiles`: rows, nulls, shares, quantiles. No row's own value.

One row per table, day, metric and part: `rows`; `nulls` (part: a column that may be null; share of rows); `share` (part:
`column=value`, for the few columns of CATEGORIES); `median` and `high` (part: a number column; its 50 and 95 % quantiles,
to two digits, for a quantile is some row's own number); `top` (part: a column of CONCENTRATED; share of its most frequent value).

Rows come in visits, and rows of one visit are alike, so n rows say no more than n / `together` rows that come one by one. Without a part
this is the mean size of a row's own visit: by so much the number of rows varies more than a count of single ones. For a part of `nulls` or
`share` (`nulls:user_id`) it is how much more that share varies (Rao and Scott's design effect, 1981); none where the share is 0 or 1.
"""

from datetime import date
from typing import TYPE_CHECKING

from quality.warehouse import stored_name
from sources.landing import LandingTable

if TYPE_CHECKING:
    import duckdb

#: Columns whose values are few and say nothing about a person.
CATEGORIES = {
    "events": "event_type",
    "campaign_exposures": "treatment",
    "user_traits": "trait",
    "decisions": "kind",
}
#: A visit is the rows of a day with the same value in the first of these columns that has any; a row with none is one by itself.
VISITOR = ("user_id", "session_id", "order_id")
#: Columns in which no single value should make up much of a day.
CONCENTRATED = {"events": "item_id", "reviews": "item_id"}


def store_profile(connection: "duckdb.DuckDBPyConnection", table: LandingTable, start: date, end: date) -> None:
    """Replaces the profile of the days `[start, end)` of a table just loaded; a day on which nothing came has `rows` 0 and no more."""
    window = {"name": table.name, "start": start, "end": end}
    connection.execute("delete from landing._profiles where landing_table = $name and ds >= $start and ds < $end", window)
    nullable = [name for name in map(stored_name, table.names) if name not in table.required]
    columns = {f"nulls:{name}": f"1 - count({name}) / count(*)" for name in nullable}
    for column in table.columns:
        if column.kind == "float":
            both = f"quantile_disc({column.name}, [0.5, 0.95])"
            columns |= {f"median:{column.name}": _level(f"{both}[1]"), f"high:{column.name}": _level(f"{both}[2]")}
    inside = f"(select * from landing.{table.name} where ds >= $start and ds < $end)"
    names = ", ".join(f"'{name}'" for name in columns)
    days = "from landing._loads where landing_table = $name and ds >= $start and ds < $end"
    queries = [f"select ds, 'rows:' as name, accepted::double as value {days}"]
    if columns:
        queries.append(
            f"select ds, unnest([{names}]), unnest([{', '.join(f'({sql})::double' for sql in columns.values())}]) from {inside} group by ds"
        )
    if category := CATEGORIES.get(table.name):
        counts = f"(select ds, {category}, count(*) as rows from {inside} group by all)"
        queries.append(f"select ds, 'share:{category}=' || {category}, rows / sum(rows) over (partition by ds) from {counts}")
    if nullable and any(name in table.names for name in VISITOR):
        queries.append(_together(table, nullable, category))
    if name := CONCENTRATED.get(table.name):
        counts = f"(select ds, {name}, count(*) as rows from {inside} group by all)"
        queries.append(f"select ds, 'top:{name}', max(rows) / sum(rows) from {counts} group by ds")
    connection.execute(
        f"""
        insert into landing._profiles
        select $name, ds, split_part(name, ':', 1), substr(name, strpos(name, ':') + 1), value
        from ({" union all ".join(f"({query})" for query in queries)}) where value is not null
        """,
        window,
    )


def _level(number: str) -> str:
    """SQL of a number to two significant digits."""
    return f"coalesce(round({number}, 1 - floor(log10(abs(nullif({number}, 0))))::int), {number})"


def _together(table: LandingTable, nullable: list[str], category: str | None) -> str:
    """SQL for `together` of a day's rows and of its shares; a visit has `c` rows, and `k` of them count to a share."""
    visitor = ", ".join(name for name in VISITOR if name in table.names)
    names = ", ".join(f"'nulls:{name}'" for name in nullable)
    shares = f"select ds, c, unnest([{names}]) as name, c - unnest(filled) as k from visits"
    if category:
        values = f"(select ds, visitor, 'share:{category}=' || {category} as name, count(*) as k from rows group by all)"
        shares += f" union all select ds, c, name, k from {values} join visits using (ds, visitor)"
    return f"""
        with rows as (
            select *, coalesce({visitor}, rowid::varchar) as visitor from landing.{table.name} where ds >= $start and ds < $end
        ),
        visits as (
            select ds, visitor, count(*)::double as c, [{", ".join(f"count({name})" for name in nullable)}] as filled
            from rows group by ds, visitor
        ),
        days as (
            select ds, sum(c) as n, sum(c * c) as squares from visits group by ds
        ),
        sums as (
            select ds, name, sum(k) as k, sum(k * k) as kk, sum(k * c) as kc from ({shares}) group by ds, name
        )
        select ds, 'together:', squares / n from days
        union all
        select ds, 'together:' || name, (kk - 2 * k / n * kc + (k / n) ^ 2 * squares) / (k * (1 - k / n))
        from sums join days using (ds) where k > 0 and k < n
    """
