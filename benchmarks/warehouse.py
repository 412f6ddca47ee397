"""Time, memory and growth of the marts' build: `PORTRAIT_WAREHOUSE_MEMORY=6GB python -m benchmarks.warehouse`.

For each size a house of its own gets a shop straight into its landing schema: 100 events a user over 180 days, in visits of six, one event
in a hundred late by up to two weeks, 30,000 items. Then, in one run on one machine:

- `build`, as the pipeline calls it: dbt as a process, contracts, unit and data tests;
- the peer: the statements of the same models as dbt compiled them, one after the other in one DuckDB connection with the same settings,
  on a copy of the same landing tables;
- both gates on the whole window, imports apart, beside four rules on the events pushed down as plain SQL;
- a second day: one more day of `--day-events` events, the same at every size, built on the history.
"""

import argparse
import json
import math
import os
import resource
import shutil
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.page import circumstances, write_part
from quality.transform import PROJECT, build
from quality.warehouse import open_warehouse
from settings import get_settings

if TYPE_CHECKING:
    import duckdb

FIRST, DAYS, ITEMS = date(2024, 1, 1), 180, 30_000
LAST = FIRST + timedelta(days=DAYS)  # the second day, built on the history before it

_DRAW = "create or replace temp macro draw(number, salt) as (hash(number * 31 + salt) % 1000003) / 1000003.0"
_ITEMS = f"""
insert into landing.items by name
select
    'i' || n as item_id,
    'Thing ' || n as title,
    'c' || (n % 20) || ' > d' || (n % 200) as category,
    'b' || (n % 500) as brand,
    case when n % 10 > 0 then round(3 + 97 * draw(n, 1), 2) end as price,
    date '{FIRST}' as ds,
    timestamp '{FIRST}' + interval 1 day as known_at
from range({ITEMS}) as items (n)
"""
_USERS = f"""
insert into landing.users by name
select
    'u' || n as user_id,
    timestamp '{FIRST}' as registered_at,
    'NL' as country,
    date '{FIRST}' as ds,
    timestamp '{FIRST}' + interval 1 day as known_at
from range($users) as users (n)
"""
_EVENTS = """
insert into landing.events by name
with visits as (
    select
        n,
        cast(floor($users * draw(n, 2)) as bigint) as user_number,
        date '{first}' + cast(floor($days * draw(n, 3)) as integer) as visit_date,
        cast(floor(80000 * draw(n, 4)) as bigint) as started_second,
        1 + cast(floor(11 * draw(n, 5)) as bigint) as length
    from range($first_visit, $last_visit) as visits (n)
),
steps as (
    select *, unnest(range(length)) as step from visits
),
events as (
    select
        *,
        n * 12 + step as number,
        cast(floor({items} * pow(draw(n * 12 + step // 2, 6), 3)) as bigint) as item_number
    from steps
),
days as (
    select *, visit_date + case when draw(number, 7) < .01 then 1 + cast(floor(14 * draw(number, 8)) as integer) else 0 end as ds
    from events
)
select
    'e' || number as event_id,
    case when draw(n, 9) > .05 then 'u' || user_number end as user_id,
    'i' || item_number as item_id,
    case when draw(number, 10) < .7 then 'view' when draw(number, 10) < .85 then 'cart' when draw(number, 10) < .9 then 'favourite'
        when draw(number, 10) < .98 then 'purchase' when draw(number, 10) < .99 then 'return' else 'rate' end as event_type,
    visit_date + to_seconds(started_second + 60 * step) as occurred_at,
    case when draw(n, 11) < .5 then 'v' || n end as session_id,
    case when draw(number, 10) >= .9 and draw(number, 10) < .99 then 1.0 end as quantity,
    case when draw(number, 10) >= .9 and draw(number, 10) < .99 then round(3 + 97 * draw(item_number, 1), 2) end as unit_price,
    case when draw(number, 10) >= .99 then 1.0 + number % 5 end as rating,
    ds,
    ds + interval 1 day as known_at
from days
where ds < date '{first}' + $days
order by ds
"""


def deliver(connection: "duckdb.DuckDBPyConnection", users: int, visits: tuple[int, int], first: date, days: int) -> int:
    """Writes the visits of these numbers, spread over `days` from `first` on; returns how many events they made."""
    connection.execute(_DRAW)
    before = connection.execute("select count(*) from landing.events").fetchall()[0][0]
    values = {"users": users, "days": days, "first_visit": visits[0], "last_visit": visits[1]}
    connection.execute(_EVENTS.format(first=first, items=ITEMS), values)
    return connection.execute("select count(*) from landing.events").fetchall()[0][0] - before


def replay(warehouse: Path, statements: list[str]) -> float:
    """Seconds of the statements, in order, in one connection with the settings of dbt's profile."""
    import duckdb

    profile = yaml.safe_load((PROJECT / "profiles.yml").read_text())["portrait"]["outputs"]["duckdb"]
    with duckdb.connect(str(warehouse)) as connection:
        for name, value in (profile["settings"] | {"memory_limit": get_settings().warehouse_memory}).items():
            connection.execute(f"set {name} = '{value}'")
        for schema in ("staging", "intermediate", "marts"):
            connection.execute(f"create schema if not exists {schema}")
        began = time.monotonic()
        for statement in statements:
            connection.execute(statement)
        connection.execute("checkpoint")
        return time.monotonic() - began


def compiled(home: Path) -> list[str]:
    """The statement of every model that the newest build ran, in its order."""
    (attempt,) = (home / "dbt" / "attempts").iterdir()
    paths = json.loads((attempt / "manifest.json").read_text())["nodes"]
    results = json.loads((attempt / "run_results.json").read_text())["results"]
    models = [result["unique_id"] for result in results if result["unique_id"].startswith("model.")]
    return [(attempt / "run" / "portrait" / paths[model]["original_file_path"]).read_text().replace("__dbt_tmp", "") for model in models]


def gates() -> dict[str, float]:
    """Seconds of the landing gate and the marts gate over the whole history, and of the four rules."""
    import quality.engine
    import quality.suites  # noqa: F401
    from benchmarks.gates import FOUR_RULES, timed
    from quality.gates import check

    with open_warehouse() as connection:
        for table in ("events", "items", "users"):
            counted = f"select '{table}', ds, count(*), count(*), 0, 0, 0, '{{}}' from landing.{table} group by ds"
            connection.execute(f"insert into landing._loads {counted}")
        rules = timed(lambda: connection.execute(FOUR_RULES).fetchall())
    return {
        "landing_gate_s": timed(lambda: check("landing", FIRST, LAST)),
        "marts_gate_s": timed(lambda: check("marts", FIRST, LAST)),
        "four_rules_s": rules,
    }


def measure(events: int, day_events: int) -> dict[str, Any]:
    """One size: seconds of build, gates, second day and peer, and the most memory that a process of the two builds took."""
    home = Path(tempfile.mkdtemp(prefix="portrait-benchmark-"))
    os.environ["PORTRAIT_HOME"] = str(home)
    get_settings.cache_clear()
    try:
        users, visits = events // 100, events // 6
        with open_warehouse() as connection:
            connection.execute(_DRAW)
            connection.execute(_ITEMS)
            connection.execute(_USERS, {"users": users})
            made = deliver(connection, users, (0, visits), FIRST, DAYS)
        peer = home / "peer" / "warehouse.duckdb"  # compiled names begin with the file's
        peer.parent.mkdir()
        shutil.copyfile(get_settings().warehouse, peer)
        first = build(FIRST, LAST)
        print(f"{made:>11,} events: built in {first.seconds:.1f} s", flush=True)
        statements = compiled(home)
        straight = replay(peer, statements)
        peer.unlink()
        print(f"{made:>11,} events: straight in {straight:.1f} s", flush=True)
        gated = gates()
        with open_warehouse() as connection:
            new = deliver(connection, users, (visits, visits + day_events // 6), LAST, 1)
        second = build(LAST, LAST + timedelta(days=1))
        return {
            "events": made,
            "day_events": new,
            **gated,
            "build_s": first.seconds,
            "models_s": first.models,
            "second_day_s": second.seconds,
            "second_day_models_s": second.models,
            "peak_gib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20,
            "warehouse_gib": get_settings().warehouse.stat().st_size / 2**30,
            "straight_s": straight,
            "rows": first.rows,
        }
    finally:
        shutil.rmtree(home)


def table(results: list[dict[str, Any]], told: dict[str, str]) -> str:
    """The page's part: a row a quantity, a column a size, and the exponent of its growth over the last step."""
    small, large = results[-2] if len(results) > 1 else results[-1], results[-1]
    gates = [result["landing_gate_s"] + result["marts_gate_s"] for result in results]

    def row(name: str, cells: list[str], key: str | None = None) -> str:
        grown = math.log(large["events"] / small["events"])
        growth = f"{math.log(large[key] / small[key]) / grown:.2f}" if key and grown else ""
        return f"| {name} | {' | '.join(cells)} | {growth} |"

    def all_of(text: str) -> list[str]:
        return [text.format(**result) for result in results]

    lines = [
        f"| | {' | '.join(all_of('{events:,} events'))} | growth |",
        "| --- " * (len(results) + 2) + "|",
        row("build", all_of("{build_s:.1f} s"), "build_s"),
        row("same SQL straight in DuckDB", all_of("{straight_s:.1f} s"), "straight_s"),
        row("build / straight", [f"{result['build_s'] / result['straight_s']:.2f}x" for result in results]),
        row("most memory of a process", all_of("{peak_gib:.1f} GiB")),
        row("warehouse file", all_of("{warehouse_gib:.1f} GiB")),
        row("a second day", all_of("{second_day_s:.1f} s, {day_events:,} events"), "second_day_s"),
        row("both gates", [f"{taken:.1f} s, {taken / result['build_s']:.1%}" for taken, result in zip(gates, results, strict=True)]),
    ]
    slowest = sorted(large["models_s"].items(), key=lambda model: -model[1])[:6]
    return "\n".join(
        [
            "## The marts' build",
            "",
            f"`python -m benchmarks.warehouse --events {' '.join(str(result['asked']) for result in results)}`, {told['date']}, "
            f"{told['machine']}, PORTRAIT_WAREHOUSE_MEMORY={get_settings().warehouse_memory}.",
            "Targets: build at most 1.15x of the same SQL, gates at most 10 % of the build, at 20 million events in under 8 GB.",
            "",
            *lines,
            "",
            "Slowest models of the largest size (two run at a time): "
            + ", ".join(f"{name} {taken:.0f} s" for name, taken in slowest)
            + ".",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[200_000, 2_000_000, 20_000_000])
    parser.add_argument("--day-events", type=int, default=10_000)
    options = parser.parse_args()
    results = []
    for events in sorted(options.events):
        results.append({"asked": events} | measure(events, options.day_events))
        print(json.dumps(results[-1]), flush=True)
    write_part("warehouse", table(results, circumstances()))


if __name__ == "__main__":
    main()
