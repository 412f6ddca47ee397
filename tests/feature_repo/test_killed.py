"""A materialisation or an export that is killed anywhere and run again ends as if nothing had happened. The kills are real."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from feature_repo.export import export_marts
from feature_repo.frames import read_mart
from feature_repo.materialise import materialise
from feature_repo.online import OnlineFeatures
from settings import ROOT, get_settings
from tests.feature_repo.conftest import MAY
from tests.feature_repo.warehouse import Rows, day, features, write_warehouse

pytestmark = pytest.mark.slow

USERS = [f"u{number}" for number in range(400)]

#: Runs the steps with small batches, and says when it is about to write.
SCRIPT = """
import sys
from datetime import date
from feature_repo import materialise
from feature_repo.store import online_store, open_store
materialise.BATCH_ENTITIES = 16
kind = type(online_store(open_store()))
write = kind.write_arrow
def told(*arguments):
    print("write", flush=True)
    write(*arguments)
kind.write_arrow = told
materialise.materialise(date(2024, 5, 1), date(2024, 6, 1))
"""


def many(generation: int) -> Rows:
    """Everybody's row of day 2, and for two in three a newer one; the second generation lacks some users and some versions."""
    rows = [
        features(user, 2, 2, events_7d=number, top_categories=[user] * 5)
        for number, user in enumerate(USERS)
        if generation == 1 or number % 7
    ]
    rows += [
        features(user, 4, 4, events_7d=1000 * generation + number)
        for number, user in enumerate(USERS)
        if number % 3 and (generation == 1 or number % 5) and (generation == 1 or number % 7)
    ]
    return {"user_features": rows, "user_sequences": [features(user, 2, 2, event_item_ids=[user]) for user in USERS]}


def publish(generation: int) -> None:
    write_warehouse(many(generation))
    export_marts(*MAY)


def online() -> list[tuple[Any, ...]]:
    return [(row["features_at"], row["events_7d"], row["event_item_ids"]) for row in OnlineFeatures().read("portrait_v1", USERS)]


def killed_after(writes: int, delay: float) -> bool:
    """Materialises in another process and kills it, without notice, some time after its n-th batch began; whether it was still at work."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=ROOT, env=os.environ.copy(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(writes):
        assert process.stdout.readline() == "write\n"
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    return process.wait(30) == -signal.SIGKILL


def test_a_materialisation_killed_anywhere_and_run_again_equals_a_clean_run(each_store: str) -> None:
    publish(1)
    materialise(*MAY)
    first = online()
    publish(2)
    rng = random.Random(5)
    for _ in range(2):
        assert killed_after(rng.randrange(1, 15), rng.random() * 0.004)
    half_way = online()
    materialise(*MAY)
    finished = online()
    assert len({str(first), str(half_way), str(finished)}) == 3
    if each_store == "sqlite":
        (get_settings().feast_dir / "online.db").unlink()
    else:
        import redis

        redis.Redis(port=int(get_settings().redis.split(",")[0].split(":")[1])).flushall()
    materialise(*MAY)
    assert online() == finished
    expected = {row["user_id"]: row["events_7d"] for row in many(2)["user_features"]}  # the newer row comes later
    assert [events for _, events, _ in finished] == [expected.get(user) for user in USERS]


EXPORT = """
from datetime import date
from feature_repo.export import export_marts
print(0, flush=True)
export_marts(date(2024, 5, 1), date(2024, 6, 1))
"""


def test_a_reader_never_sees_an_export_half_done(house: Path) -> None:
    def rows(generation: int) -> Rows:
        days = [features("ann", at, at, events_7d=generation) for at in range(2, 29)]
        return {
            "user_features": days,
            "next_purchase_labels": [{"user_id": "ann", "label_at": day(2), "known_at": day(2), "spend_30d": generation}],
        }

    write_warehouse(rows(1))
    export_marts(*MAY)
    rng = random.Random(3)
    seen = set()
    for generation in range(2, 6):
        write_warehouse(rows(generation))
        process = subprocess.Popen([sys.executable, "-c", EXPORT], cwd=ROOT, env=os.environ.copy(), stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"0\n"
        end = time.monotonic() + (rng.random() * 0.5 if generation % 2 else 60)  # every other one may finish
        while time.monotonic() < end and process.poll() is None:
            versions = set(read_mart("user_features")["events_7d"])
            assert len(versions) == 1, versions
            seen |= versions
        process.kill()
        process.wait(30)
        process.stdout.close()
        features_now, labels_now = set(read_mart("user_features")["events_7d"]), set(read_mart("next_purchase_labels")["spend_30d"])
        assert features_now == labels_now  # killed or not: every mart is of one export
        seen |= features_now
    export_marts(*MAY)
    assert set(read_mart("user_features")["events_7d"]) == {5}
    assert len(seen) > 1
    kept = list((house / "offline" / ".generations").iterdir())
    assert len(kept) <= 2


def test_a_query_written_before_an_export_reads_what_was_there(house: Path) -> None:
    import duckdb

    from feature_repo.published import from_clause

    write_warehouse({"user_features": [features("ann", 2, 2, events_7d=1), features("ann", 3, 3, events_7d=1)]})
    export_marts(*MAY)
    query = f"select events_7d from {from_clause('user_features')}"
    write_warehouse({"user_features": [features("ann", 3, 3, events_7d=2)]})
    export_marts(MAY[0] + timedelta(days=1), MAY[1])
    assert duckdb.sql(query).fetchall() == [(1,), (1,)]
    assert read_mart("user_features")["events_7d"].tolist() == [2]
