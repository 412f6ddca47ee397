"""The feature store beside stock Feast and DuckDB, in one run: `python -m benchmarks.feature_store [sqlite] [redis] [frame] [--users N]`.

Peers, each on the same machine, data and shape (22 features, a string list and a double list among them):

* materialise: `FeatureStore.materialize` of stock Feast, from the same Parquet, into its own SQLite file or Redis database. Stock is
  measured with fewer users, because rows a second is what is compared; both sides read the Parquet, choose the rows and write them.
* read: `get_online_features(...).to_dict()` of a stock store opened on the file and server that ours has written, one user a call. That it
  reads the same values there is checked first.
* frame: DuckDB's own `asof join` over the same Parquet, all columns, handed over as the same pandas frame. It joins on one time; ours asks
  for two (counted to, and known at).

Redis is Debian's `redis-server`, started here on a free port and stopped by its process id.
"""

import argparse
import math
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

SEED = 7
FIRST = date(2024, 1, 1)
VERSIONS = 10  # of a user, in frames
DROPPED = {"city", "first_event_at", "last_purchase_at", "favourites_30d", "carts_7d", "returns_90d", "purchases_total"}
SERVICE = "bench"


@contextmanager
def house(online: str, redis: str) -> Iterator[Path]:
    """A temporary house whose `user_features` has 22 features, and a service of them."""
    import yaml

    from feature_repo import contract
    from settings import get_settings

    with tempfile.TemporaryDirectory(prefix="portrait-bench-") as folder:
        os.environ |= {"PORTRAIT_HOME": folder, "PORTRAIT_ONLINE_STORE": online, "PORTRAIT_REDIS": redis}
        get_settings.cache_clear()
        marts = yaml.safe_load(contract.CONTRACT.read_text(encoding="utf-8"))
        for model in marts["models"]:
            if model["name"] == "user_features":
                model["columns"] = [column for column in model["columns"] if column["name"] not in DROPPED]
        whole, contract.CONTRACT = contract.CONTRACT, Path(folder) / "marts.yml"
        contract.CONTRACT.write_text(yaml.safe_dump(marts), encoding="utf-8")
        for cached in (contract.marts, contract.views, contract.services):
            cached.cache_clear()
        features = tuple(column.name for column in contract.views()["user_features"].features)
        assert len(features) == 22
        contract.services()[SERVICE] = {"user_features": features}
        try:
            yield Path(folder)
        finally:
            contract.CONTRACT = whole
            for cached in (contract.marts, contract.views, contract.services):
                cached.cache_clear()
            get_settings.cache_clear()


def publish(users: int, versions: int) -> None:
    """Every view's Parquet; `user_features` with `versions` rows a user, one in thirty a late correction, the others empty."""
    from feature_repo.contract import marts, views
    from feature_repo.published import SCHEMA_FILE, connect, mart_dir

    made = {
        "bigint": "(random() * random() * 60)::bigint",
        "double precision": "(round(random() * 300, 2))",
        "varchar": "('country ' || (random() * 40)::int)",
        "timestamp": f"(timestamp '{FIRST}' - to_seconds((random() * 3e7)::bigint))",
        "varchar[]": "['category ' || (random() * 30)::int, 'toys', 'tea', 'food', 'books']",
        "double precision[]": "[random(), random(), random(), random(), random()]",
    }
    with connect() as connection:
        connection.execute(f"select setseed(0.{SEED})")
        for name, mart in (marts() | views()).items():
            shutil.rmtree(mart_dir(name), ignore_errors=True)
            mart_dir(name).mkdir(parents=True)
            typed = ", ".join(f"null::{column.data_type} as {column.name}" for column in mart.columns)
            connection.execute(f"copy (select {typed} limit 0) to '{mart_dir(name) / SCHEMA_FILE}' (format parquet)")
        view = views()["user_features"]
        values = ", ".join(f"{made[column.data_type]}::{column.data_type} as {column.name}" for column in view.features)
        late = f"features_at + to_days(case when {versions} > 1 and random() < 1 / 30 then (random() * 20)::int else 0 end)"
        folder = mart_dir(view.name) / f"day={FIRST}"
        folder.mkdir()
        connection.execute(f"""
            copy (
                with rows as (
                    select 'user-' || (n // {versions})::varchar as user_id,
                        timestamp '{FIRST}' + to_days(((n % {versions}) * 7)::int) as features_at
                    from range({users * versions}) as numbers(n)
                )
                select user_id, features_at,
                    {late} as created_at, {values}
                from rows
            ) to '{folder}/part-0.parquet' (format parquet)""")


@contextmanager
def redis_server() -> Iterator[str]:
    """A real Redis on a free port of this machine, without persistence; its address as Feast writes it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="portrait-redis-") as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert server.poll() is None, "redis-server ended at once"
                time.sleep(0.05)
            yield f"127.0.0.1:{port},db=0"
        finally:
            server.terminate()
            server.wait(30)


def stock_store(online_store: dict[str, Any], folder: Path, name: str) -> Any:
    """A Feast store of stock classes with the same views and services."""
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    from feature_repo.definitions import feast_objects

    store = FeatureStore(
        config=RepoConfig(
            project="portrait",
            provider="local",
            registry={"registry_type": "sql", "path": f"sqlite:///{folder}/{name}.db"},
            offline_store={"type": "duckdb"},
            online_store=online_store,
            entity_key_serialization_version=3,
        )
    )
    store.apply(feast_objects())
    return store


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def quietly(store: Any, users: int) -> None:
    """Stock's materialize, without its progress bar."""
    import contextlib
    import io

    noon = datetime.combine(FIRST, datetime.min.time(), UTC)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        store.materialize(noon - timedelta(days=1), noon + timedelta(days=1), feature_views=["user_features"])


def materialise_ratio(online: str, redis: str, users: int, stock_users: int) -> None:
    """Rows a second of both, and that a stock store reads ours."""
    from feature_repo.materialise import materialise
    from feature_repo.store import apply

    with house(online, redis) as folder:
        stock_config = {
            "sqlite": {"type": "sqlite", "path": f"{folder}/stock.db"},
            "redis": {"type": "redis", "connection_string": redis[:-1] + "1"},
        }
        publish(stock_users, 1)
        stock = stock_store(stock_config[online], folder, "stock")
        stock_rate = stock_users / seconds(lambda: quietly(stock, stock_users))
        print(f"materialise {online}: stock {stock_rate:,.0f} rows/s ({stock_users:,} users)", flush=True)
        rates = []
        for size in (users // 100, users // 10, users):
            publish(size, 1)
            apply()  # registered before the clock starts, as stock is
            taken = seconds(lambda: materialise(FIRST - timedelta(days=1), FIRST + timedelta(days=1)))
            rates.append((size, taken))
            print(f"materialise {online}: ours {size / taken:,.0f} rows/s ({size:,} users, {taken:.2f} s)", flush=True)
        print(
            f"materialise {online}: ours / stock = {rates[-1][0] / rates[-1][1] / stock_rate:.1f}x (target 5x, goal 10x); {growth(rates)}",
            flush=True,
        )
        read_ratio(online, redis, folder, users)


def read_ratio(online: str, redis: str, folder: Path, users: int) -> None:
    """One user, 22 features, in process: p50 and p99 of both, interleaved, on the same store."""
    import random

    from feature_repo.online import OnlineFeatures

    same = {"sqlite": {"type": "sqlite", "path": f"{folder}/feast/online.db"}, "redis": {"type": "redis", "connection_string": redis}}
    stock, ours = stock_store(same[online], folder, "same"), OnlineFeatures()
    service = stock.get_feature_service(SERVICE)

    def ask_stock(user: str) -> dict[str, list[Any]]:
        return stock.get_online_features(features=service, entity_rows=[{"user_id": user}]).to_dict()

    chosen = random.Random(SEED)
    taken: dict[str, list[float]] = {"stock": [], "ours": []}
    for count in range(2200):
        user = f"user-{chosen.randrange(users)}"
        if count < 200:  # warm-up, and the same values
            theirs, mine = ask_stock(user), ours.read(SERVICE, [user])[0]
            for name, value in mine.items():
                if name != "features_at":
                    held = theirs[name][0]
                    assert (list(held) == list(value)) if hasattr(value, "__len__") and not isinstance(value, str) else held == value, name
            continue
        taken["stock"].append(seconds(lambda user=user: ask_stock(user)))
        taken["ours"].append(seconds(lambda user=user: ours.read(SERVICE, [user])))
    at = {name: [statistics.quantiles(times, n=100)[place] * 1000 for place in (49, 98)] for name, times in taken.items()}
    for name, (p50, p99) in at.items():
        print(f"read {online}: {name} p50 {p50:.3f} ms, p99 {p99:.3f} ms", flush=True)
    print(
        f"read {online}: ours / stock = {at['ours'][0] / at['stock'][0]:.2f}x p50, {at['ours'][1] / at['stock'][1]:.2f}x p99 (target 1x)",
        flush=True,
    )


def frame_ratio(labels: int) -> None:
    """Seconds of the frame and of DuckDB's asof join at three sizes, five rows a label."""
    import numpy as np
    import pandas as pd

    from feature_repo.contract import service
    from feature_repo.frames import training_frame
    from feature_repo.published import connect, from_clause

    with house("sqlite", ""):
        ours_taken, peer_taken = [], []
        for size in (labels // 100, labels // 10, labels):
            users = max(1, size * 5 // VERSIONS)
            publish(users, VERSIONS)
            rng = np.random.default_rng(SEED)
            moments = pd.Timestamp(FIRST) + pd.to_timedelta(rng.integers(0, VERSIONS * 7 * 24, size), unit="h")
            asked = pd.DataFrame({"user_id": [f"user-{n}" for n in rng.integers(0, users, size)], "event_timestamp": moments})
            features = ", ".join(service(SERVICE)["user_features"])
            query = (
                f"select asked.*, {features} from asked asof left join {from_clause('user_features')} as rows"
                " on asked.user_id = rows.user_id and asked.event_timestamp >= rows.features_at"
            )

            def peer(query: str = query, asked: pd.DataFrame = asked) -> pd.DataFrame:
                with connect() as connection:
                    connection.register("asked", asked)
                    return connection.sql(query).to_arrow_table().to_pandas()

            mine, theirs = [], []
            for _ in range(3):
                theirs.append(seconds(peer))
                mine.append(seconds(lambda asked=asked: training_frame(SERVICE, asked)))
            ours_taken.append((size, min(mine)))
            peer_taken.append((size, min(theirs)))
            print(
                f"frame: {size:,} labels, {users * VERSIONS:,} rows: ours {min(mine):.3f} s, asof join {min(theirs):.3f} s,"
                f" {min(mine) / min(theirs):.2f}x (target 1.5x)",
                flush=True,
            )
        print(f"frame: ours {growth(ours_taken)}; asof join {growth(peer_taken)}", flush=True)


def growth(taken: list[tuple[int, float]]) -> str:
    """The exponent between the last two sizes and over all three: 1 is linear."""
    last, whole = ((math.log(taken[-1][1] / taken[at][1]) / math.log(taken[-1][0] / taken[at][0])) for at in (-2, 0))
    return f"growth exponent {last:.2f} in the last decade, {whole:.2f} over both"


def main() -> None:
    """Runs what is named, everything unless something is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["sqlite", "redis", "frame", []], help="default: all")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--stock-users", type=int, default=20_000)
    parser.add_argument("--labels", type=int, default=200_000)
    given = parser.parse_args()
    parts = given.parts or ["sqlite", "redis", "frame"]
    if "sqlite" in parts:
        materialise_ratio("sqlite", "", given.users, given.stock_users)
    if "redis" in parts:
        with redis_server() as address:
            materialise_ratio("redis", address, given.users, given.stock_users)
    if "frame" in parts:
        frame_ratio(given.labels)


if __name__ == "__main__":
    main()
