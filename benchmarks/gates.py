"""How long the gates take beside the transform they guard: `python -m benchmarks.gates --rows 2000000`.

Makes a delivery of that many events, eight a visit, by 50,000 users on 20,000 items over 60 days, loads it, builds the marts, then runs
both gates in this process, imports apart, and beside them the peer of `anchors.md`: four rules on the events pushed down as plain SQL.
Prints one JSON line.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

START, DAYS = date(2024, 3, 1), 60
END = START + timedelta(days=DAYS)

_EVENTS = """
select
    'e' || (i * {days} + {day}) as event_id,
    case when i % 20 <> 0 then 'u' || (hash(i // 8, {day}) % 50000) end as user_id,
    'i' || (sqrt(hash(i, {day}, 'item') % 400000000)::int) as item_id,
    ['view', 'view', 'view', 'cart', 'favourite', 'purchase'][(1 + hash(i, {day}, 'type') % 6)::int] as event_type,
    timestamp '{start}' + interval {day} day + to_microseconds((hash(i, {day}, 'time') % 86400000000)::bigint) as occurred_at,
    occurred_at as received_at,
    's' || (hash(i // 8, {day}) % 50000) || '-{day}' as session_id,
    1.0::double as quantity,
    (1 + hash(i, {day}, 'price') % 9000) / 100 as unit_price
from range({rows}) as numbers(i)
"""
_ITEMS = """
select 'i' || i as item_id, 'Lamp number ' || i as title, 'home > light ' || (i % 50) as category, 9.5::double as price
from range(20000) as numbers(i)
"""
_USERS = "select 'u' || i as user_id, 'SE' as country, timestamp '2024-01-01' as registered_at from range(50000) as numbers(i)"

FOUR_RULES = """
select
    count(*) filter (where item_id is null),
    count(*) filter (where event_type not in ('view', 'favourite', 'cart', 'purchase', 'return', 'rate')),
    count(*) filter (where not coalesce(unit_price between 0 and 1e9, true)),
    count(*) - count(distinct event_id)
from landing.events
"""


def deliver(landing: Path, rows: int) -> None:
    import duckdb

    def write(table: str, ds: date, query: str) -> None:
        folder = landing / table / f"ds={ds}"
        folder.mkdir(parents=True)
        duckdb.execute(f"copy ({query}) to '{folder / 'part-0.parquet'}' (format parquet)")

    write("users", START, _USERS)
    write("items", START, _ITEMS)
    for day in range(DAYS):
        write("events", START + timedelta(days=day), _EVENTS.format(days=DAYS, day=day, start=START, rows=rows // DAYS))


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return round(time.perf_counter() - began, 2)


def measure(rows: int) -> dict[str, Any]:
    from quality.load import load_window
    from quality.transform import build
    from quality.warehouse import open_warehouse
    from settings import get_settings

    landing = get_settings().landing_dir
    deliver(landing, rows)
    seconds = {"load": timed(lambda: load_window(landing, START, END)), "transform": timed(lambda: build(START, END))}

    def imported() -> None:
        import quality.engine
        import quality.suites  # noqa: F401

    seconds["gate_imports"] = timed(imported)
    from quality.gates import check

    last_day = END - timedelta(days=1)
    seconds["landing_gate"] = timed(lambda: check("landing", START, END))
    seconds["marts_gate"] = timed(lambda: check("marts", START, END))
    seconds["landing_gate_one_day"] = timed(lambda: check("landing", last_day, END))
    seconds["marts_gate_one_day"] = timed(lambda: check("marts", last_day, END))
    with open_warehouse() as connection:
        seconds["peer_four_rules"] = timed(lambda: connection.execute(FOUR_RULES).fetchall())
    share = (seconds["landing_gate"] + seconds["marts_gate"]) / seconds["transform"]
    return {"rows": rows, "seconds": seconds, "gates_share_of_transform": round(share, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=2_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="portrait-gates-") as home:
        os.environ["PORTRAIT_HOME"] = home
        print(json.dumps(measure(rows)))


if __name__ == "__main__":
    main()
