"""A small profile of every day of every landing table, kept in `landing._profiles`: rows, nulls, shares, quantiles. Shares and counts only.

One row per table, day, metric and part: `rows`; `nulls` (part: a column that may be null; share of rows); `share` (part:
`column=value`, for the few columns of CATEGORIES); `median` and `high` (part: a number column; its 50 and 95 % quantiles); `top`
(part: a column of CONCENTRATED; share of its most frequent value).
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
#: Columns in which no single value should make up much of a day.
CONCENTRATED = {"events": "item_id", "reviews": "item_id"}


def store_profile(connection: "duckdb.DuckDBPyConnection", table: LandingTable, start: date, end: date) -> None:
    """Replaces the profile of the days `[start, end)` of a table just loaded; a day on which nothing came has `rows` 0 and no more."""
    window = {"name": table.name, "start": start, "end": end}
    connection.execute("delete from landing._profiles where landing_table = $name and ds >= $start and ds < $end", window)
    columns = {f"nulls:{name}": f"1 - count({name}) / count(*)" for name in map(stored_name, table.names) if name not in table.required}
    for column in table.columns:
        if column.kind == "float":
            both = f"quantile_disc({column.name}, [0.5, 0.95])"
            columns |= {f"median:{column.name}": f"{both}[1]", f"high:{column.name}": f"{both}[2]"}
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
    if name := CONCENTRATED.get(table.name):
        counts = f"(select ds, {name}, count(*) as rows from {inside} group by all)"
        queries.append(f"select ds, 'top:{name}', max(rows) / sum(rows) from {counts} group by ds")
    connection.execute(
        f"""
        insert into landing._profiles
        select $name, ds, split_part(name, ':', 1), substr(name, strpos(name, ':') + 1), value from ({" union all ".join(queries)})
        where value is not null
        """,
        window,
    )
