"""The road of the records at three sizes, each stage beside its peer in the same run: `python -m benchmarks.data`.

A simulated shop of 100 events a user over 90 days goes through every stage in a house and a process of its own. Peers:

- simulate: none is published; the goal is 300,000 events a second on two cores;
- ingest: the same Parquet files read and stored by DuckDB as they are, without a rule;
- build: the same compiled statements straight in DuckDB, on a copy of the same landing tables;
- gate: four rules on the events as plain SQL; the goal is a tenth of the transform;
- materialise: stock Feast's `materialize` of the same views for the last day, into a SQLite file of its own;
- frame: DuckDB's `asof join` of the same labels with the same columns;
- online read: stock Feast's `get_online_features` on the same store.
"""

import argparse
import json
import math
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.page import circumstances, write_part
from settings import ROOT

SIZES = (20_000, 200_000, 2_000_000)
RESULT = ROOT / "var" / "benchmarks" / "data.json"
STAGES = ("simulate", "ingest", "build", "second day", "gate", "export", "materialise", "frame", "online read")
PEERS = {
    "simulate": "none",
    "ingest": "DuckDB, no rules",
    "build": "same SQL in DuckDB",
    "second day": "the first build",
    "gate": "four rules in SQL",
    "export": "none",
    "materialise": "stock Feast",
    "frame": "asof join",
    "online read": "stock Feast",
}


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(events: int) -> dict[str, Any]:
    """Every stage of one size: its seconds, the peer's, and how much work each did. The house is `PORTRAIT_HOME`."""
    from benchmarks.gates import FOUR_RULES
    from benchmarks.warehouse import compiled, replay
    from feature_repo.export import export_marts
    from feature_repo.materialise import materialise
    from feature_repo.store import apply
    from quality.gates import check
    from quality.load import load_window
    from quality.transform import build
    from quality.warehouse import open_warehouse
    from settings import get_settings
    from sources.registry import deliver

    home, landing = get_settings().home, get_settings().landing_dir
    stages: dict[str, dict[str, Any]] = {}

    def stage(name: str, work: Callable[[], Any], units: float, peer: float | None = None) -> None:
        taken = seconds(work)
        stages[name] = {"seconds": taken, "units": units, "peer_seconds": peer}
        print(f"  {name}: {taken:.2f} s" + (f", peer {peer:.2f} s" if peer else ""), flush=True)

    made: list[Any] = []
    stage("simulate", lambda: made.append(deliver("shop", None, landing, seed=7, options={"users": events // 80})), events)
    delivery = made[0]
    start, end = delivery.start, delivery.end
    rows = delivery.tables["events"].rows
    stages["simulate"]["units"] = rows

    last = end - timedelta(days=1)
    plain = seconds(lambda: straight_ingest(home / "plain.duckdb", landing))
    stage("ingest", lambda: load_window(landing, start, last), rows, plain)
    peer = home / "peer" / "warehouse.duckdb"
    peer.parent.mkdir()
    shutil.copyfile(get_settings().warehouse, peer)
    stage("build", lambda: build(start, last), rows)
    stages["build"]["peer_seconds"] = replay(peer, compiled(home))
    peer.unlink()

    load_window(landing, last, end)
    stage("second day", lambda: build(last, end), 0, stages["build"]["seconds"])
    with open_warehouse() as connection:
        stages["second day"]["units"] = connection.execute("select count(*) from landing.events where ds = ?", [last]).fetchall()[0][0]
        rules = seconds(lambda: connection.execute(FOUR_RULES).fetchall())
    stage("gate", lambda: (check("landing", start, end), check("marts", start, end)), rows, rules)
    stage("export", lambda: export_marts(start, end), rows)

    apply()  # both stores are imported and registered before their clocks start
    written: list[dict[str, int]] = []
    stage("materialise", lambda: written.append(materialise(start, end)), 0)
    stages["materialise"]["units"] = sum(written[0].values())
    stages["materialise"] |= stock_materialise(end)
    stages["frame"] = frame()
    stages["online read"] = online_read()
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20
    return {"events": rows, "peak_gib": peak, "house_gib": size_of(home) / 2**30, "stages": stages}


def straight_ingest(file: Path, landing: Path) -> None:
    """The typed files as they are; those of spoiled cells (`part-0-text.parquet`) do not fit their types."""
    import duckdb

    with duckdb.connect(str(file)) as connection:
        for folder in sorted(path for path in landing.iterdir() if path.is_dir()):
            files = [str(path) for path in sorted(folder.glob("ds=*/part-*.parquet")) if path.stem.count("-") == 1]
            connection.execute(f"create table {folder.name} as select * from read_parquet(?, filename = true)", [files])
    file.unlink()


def stock_materialise(end: Any) -> dict[str, Any]:
    """Stock Feast over the last day of the two views that most rows are of, and its rows."""
    import duckdb

    from benchmarks.feature_store import stock_store
    from feature_repo.published import from_clause
    from settings import get_settings

    home = get_settings().home
    views = ["user_features", "user_sequences"]
    store = stock_store({"type": "sqlite", "path": str(home / "stock.db")}, home, "stock")
    until = datetime.combine(end, datetime.min.time(), UTC)
    since = until - timedelta(days=1)
    count = "select count(distinct user_id) from {} where features_at > ? and features_at <= ?"
    rows = sum(
        duckdb.execute(count.format(from_clause(view)), [since.replace(tzinfo=None), until.replace(tzinfo=None)]).fetchall()[0][0]
        for view in views
    )
    taken = seconds(lambda: store.materialize(since, until, feature_views=views, disable_event_timestamp=False))
    return {"peer_seconds": taken, "peer_units": rows}


def frame() -> dict[str, Any]:
    """The portrait model's frame over the newest labels, at most 200,000, and DuckDB's own join of the same columns."""
    from feature_repo.contract import service
    from feature_repo.frames import LABEL_TIME, read_mart, training_frame
    from feature_repo.published import connect, from_clause

    labels = read_mart("next_purchase_labels")[["user_id", "label_at"]].tail(200_000).rename(columns={"label_at": LABEL_TIME})
    query = "select asked.user_id"
    joins = ""
    for view, features in service("portrait_v1").items():
        query += "".join(f", {view}.{feature}" for feature in features)
        joins += (
            f" asof left join {from_clause(view)} as {view} on asked.user_id = {view}.user_id and asked.{LABEL_TIME} >= {view}.features_at"
        )

    def peer() -> None:
        with connect() as connection:
            connection.register("asked", labels)
            connection.sql(f"{query} from asked{joins}").to_arrow_table().to_pandas()

    theirs = min(seconds(peer) for _ in range(2))
    ours = min(seconds(lambda: training_frame("portrait_v1", labels)) for _ in range(2))
    return {"seconds": ours, "units": len(labels), "peer_seconds": theirs}


def online_read() -> dict[str, Any]:
    """Median seconds of one user's features for the portrait model, ours and stock's, one after the other on the same file."""
    from benchmarks.feature_store import stock_store
    from feature_repo.frames import read_mart
    from feature_repo.online import OnlineFeatures
    from settings import get_settings

    settings = get_settings()
    stock = stock_store({"type": "sqlite", "path": str(settings.feast_dir / "online.db")}, settings.home, "reader")
    service, ours = stock.get_feature_service("portrait_v1"), OnlineFeatures()
    users = sorted(set(read_mart("next_purchase_labels")["user_id"]))
    chosen = random.Random(7)
    taken: dict[str, list[float]] = {"ours": [], "stock": []}
    for count in range(1100):
        user = chosen.choice(users)
        mine = seconds(lambda user=user: ours.read("portrait_v1", [user]))
        theirs = seconds(lambda user=user: stock.get_online_features(features=service, entity_rows=[{"user_id": user}]).to_dict())
        if count >= 100:
            taken["ours"].append(mine)
            taken["stock"].append(theirs)
    p99 = {name: statistics.quantiles(times, n=100)[98] for name, times in taken.items()}
    return {
        "seconds": statistics.median(taken["ours"]),
        "units": 1,
        "peer_seconds": statistics.median(taken["stock"]),
        "p99_s": p99["ours"],
        "peer_p99_s": p99["stock"],
    }


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def growth(results: list[dict[str, Any]], stage: str) -> float:
    """The exponent of a stage's time over the last decade of events: 1 is linear, 0 does not grow."""
    small, large = results[-2], results[-1]
    ratio = large["stages"][stage]["seconds"] / small["stages"][stage]["seconds"]
    return math.log(ratio) / math.log(large["events"] / small["events"])


def cell(stage: dict[str, Any]) -> str:
    """Seconds, the rate where work was counted, and the ratio to the peer (of rates, where the amounts of work differ)."""
    taken, units, peer = stage["seconds"], stage["units"], stage["peer_seconds"]
    shown = f"{taken:.2f} s" if taken >= 0.1 else f"{1000 * taken:.2f} ms"
    if units > 1:
        shown += f", {units / taken:,.0f}/s"
    if peer is None:
        return shown
    if "peer_units" in stage:
        return f"{shown}; {units / taken / (stage['peer_units'] / peer):.1f}x the peer's rate"
    return f"{shown}; {taken / peer:.2f}x the peer's time"


def table(results: list[dict[str, Any]], told: dict[str, str]) -> str:
    """The page's part: a row a stage, a column a size."""
    sizes = " | ".join(f"{result['events']:,} events" for result in results)
    lines = [f"| stage | peer | {sizes} | growth |", "| --- | --- |" + " --- |" * (len(results) + 1)]
    for stage in STAGES:
        cells = " | ".join(cell(result["stages"][stage]) for result in results)
        lines.append(f"| {stage} | {PEERS[stage]} | {cells} | {growth(results, stage):.2f} |")
    memory = " | ".join(f"{result['peak_gib']:.1f} GiB of memory, {result['house_gib']:.1f} GiB of disk" for result in results)
    return "\n".join(
        [
            "## The road of the records at three sizes",
            "",
            f"`python -m benchmarks.data`, {told['date']}, {told['machine']}. Growth is the exponent of time over events in the",
            "last decade. Small sizes show fixed costs: the start of dbt, Great Expectations and Feast.",
            "",
            *lines,
            f"| peak memory of one process, house | | {memory} | |",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)  # measures one size in this process and leaves it there
    options = parser.parse_args()
    if options.one:
        options.one.write_text(json.dumps(measure(options.events[0])))
        return
    results = []
    for events in sorted(options.events):
        print(f"{events:,} events", flush=True)
        with tempfile.TemporaryDirectory(prefix="portrait-data-") as home:
            out = Path(home) / "result.json"
            command = [sys.executable, "-m", "benchmarks.data", "--events", str(events), "--one", str(out)]
            subprocess.run(command, cwd=ROOT, env={**os.environ, "PORTRAIT_HOME": f"{home}/house"}, check=True)
            results.append(json.loads(out.read_text()))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(circumstances() | {"sizes": results}, indent=1))
    write_part("data", table(results, circumstances()))


if __name__ == "__main__":
    main()
