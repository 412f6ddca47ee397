"""The account of every load: what became of each row, per table and day in `landing._loads`, and per window in a report."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from quality.errors import RowsLost
from quality.row_rules import SUPERSEDED
from sources.landing import LandingTable

if TYPE_CHECKING:
    import duckdb

#: The name under which rows that came later than the day after they happened are counted.
LATE = "late"


@dataclass(frozen=True)
class TableLoad:
    """What became of one table's rows.

    `quarantined` counts rows by the rule they broke first; `superseded` is one of these rules. `repaired` counts accepted rows by repair;
    `kept` counts accepted rows that were taken as they are: `late` (known later than the day after `occurred_at`), `guests` (without a
    user), `unknown_user` and `unknown_item` (not among those delivered up to that day).
    """

    rows_in: int
    accepted: int
    quarantined: Mapping[str, int]
    exact_duplicates: int
    superseded: int
    repaired: Mapping[str, int]
    kept: Mapping[str, int]

    @property
    def late(self) -> int:
        return self.kept.get(LATE, 0)

    def kinds(self) -> dict[str, int]:
        """`{name: rows}` of everything above that is not zero: broken rules, exact duplicates, repairs, rows kept as they are."""
        counts = {**self.quarantined, "exact_duplicates": self.exact_duplicates, **self.repaired, **self.kept}
        return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True)
class LoadReport:
    """What a load of `[start, end)` did: a TableLoad for every delivered table, a reason for every other."""

    start: date
    end: date
    tables: Mapping[str, TableLoad]
    missing: Mapping[str, str]

    def as_text(self) -> str:
        """The report for a task's log, one line a table and one for every broken rule, repair and kind of row kept as it is."""
        lines = [f"Loaded [{self.start}, {self.end})"]
        for name, load in self.tables.items():
            quarantined = sum(load.quarantined.values())
            lines.append(
                f"  {name}: {load.rows_in} rows in = {load.accepted} accepted + {quarantined} quarantined "
                f"+ {load.exact_duplicates} exact duplicates"
            )
            lines += [f"    {rule}: {count}" for rule, count in load.quarantined.items()]
            lines += [f"    repaired {repair}: {count}" for repair, count in load.repaired.items()]
            lines += [f"    kept {kind}: {count}" for kind, count in load.kept.items()]
        return "\n".join(lines + [f"  {name}: not delivered ({reason})" for name, reason in self.missing.items()])


def record(connection: "duckdb.DuckDBPyConnection", table: LandingTable, start: date, end: date) -> None:
    """Writes the ledger of a table just loaded: a row for every day of the window, days on which nothing came included."""
    late = 'count(*) filter (where "occurred_at" < ds - interval 1 day)' if "occurred_at" in table.names else "0"
    connection.execute(
        f"""
        insert into landing._loads
        with days as (select unnest(generate_series($start::date, $end::date - 1, interval 1 day))::date as ds),
        inside as (select * from landing.{table.name} where ds >= $start and ds < $end),
        read as (select ds, sum(rows_in)::bigint as rows_in from delivered_files group by ds),
        accepted as (select ds, count(*) as accepted, {late} as late from inside group by ds),
        quarantined as (
            select ds, count(*) as quarantined from quarantine.rows
            where landing_table = $name and ds >= $start and ds < $end group by ds
        ),
        duplicates as (select ds, count(*) as exact_duplicates from contested where copy > 1 group by ds),
        names as (
            select ds, name, count(*) as rows
            from (select ds, unnest(repairs) as name from inside where repairs is not null) group by ds, name
        ),
        repaired as (
            select ds, to_json(map(list(name order by name), list(rows order by name)))::varchar as repaired from names group by ds
        )
        select
            $name, ds, coalesce(rows_in, 0), coalesce(accepted, 0), coalesce(quarantined, 0), coalesce(exact_duplicates, 0),
            coalesce(late, 0), coalesce(repaired, '{{}}')
        from days
        left join read using (ds) left join accepted using (ds) left join quarantined using (ds)
        left join duplicates using (ds) left join repaired using (ds)
        """,
        {"name": table.name, "start": start, "end": end},
    )


def accounted(connection: "duckdb.DuckDBPyConnection", table: LandingTable, start: date, end: date) -> TableLoad:
    """The table's counts over the window, checked to add up."""
    window = {"name": table.name, "start": start, "end": end}
    inside = "where landing_table = $name and ds >= $start and ds < $end"
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in ("rows_in", "accepted", "exact_duplicates", "late"))
    rows_in, accepted, duplicates, late = connection.execute(f"select {sums} from landing._loads {inside}", window).fetchall()[0]
    rules = connection.execute(f"select rule, count(*) from quarantine.rows {inside} group by rule order by rule", window).fetchall()
    quarantined = dict(rules)
    if rows_in != accepted + sum(quarantined.values()) + duplicates:
        raise RowsLost(
            f"Rows in must equal accepted, quarantined and exact duplicates together. Received {rows_in} rows of {table.name} and "
            f"accounted for {accepted} + {sum(quarantined.values())} + {duplicates}. Nothing was changed; report this with the files."
        )
    repaired = connection.execute(
        f"""
        select name, sum((repaired ->> name)::bigint)::bigint
        from (select repaired, unnest(json_keys(repaired)) as name from landing._loads {inside}) group by name order by name
        """,
        window,
    ).fetchall()
    kept = {LATE: int(late)} | _kept(connection, table, start, end)
    return TableLoad(
        int(rows_in),
        int(accepted),
        quarantined,
        int(duplicates),
        quarantined.get(SUPERSEDED, 0),
        dict(repaired),
        {name: count for name, count in kept.items() if count},
    )


def _kept(connection: "duckdb.DuckDBPyConnection", table: LandingTable, start: date, end: date) -> dict[str, int]:
    """Accepted rows of the window without a user, and those of users and items that no day up to theirs has delivered."""
    counts = {}
    if table.name == "events":
        counts["guests"] = "count(*) filter (where user_id is null)"
    joins = ""
    for key, home in (("user_id", "users"), ("item_id", "items")):
        is_known = connection.execute(f"select 1 from landing.{home} limit 1").fetchone()
        if key in table.names and table.name != home and is_known:
            kind = "unknown_" + home.removesuffix("s")
            joins += f" left join (select {key}, min(ds) as first_ds from landing.{home} group by {key}) as {home} using ({key})"
            counts[kind] = f"count(*) filter (where {key} is not null and ({home}.first_ds is null or {home}.first_ds > landed.ds))"
    if not counts:
        return {}
    query = (
        f"select {', '.join(counts.values())} from (select * from landing.{table.name} where ds >= $start and ds < $end) as landed{joins}"
    )
    return dict(zip(counts, connection.execute(query, {"start": start, "end": end}).fetchall()[0], strict=True))
