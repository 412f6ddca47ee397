"""What is answered while a version is swapped, the model server is killed, and the online store is gone; and how soon all is well again."""

import shutil
import subprocess
import time
from collections import Counter
from typing import Any

from benchmarks.model_server import free_port
from benchmarks.serving_house import PATIENCE_SECONDS, House
from benchmarks.serving_load import Beside, Load
from benchmarks.serving_rates import BARE, BY_MODEL, paths, row, source, warm
from serving import manifest
from serving.model_client import ModelClient
from serving.publish import published_versions

#: Requests a second while things break: well below the knee, so that what is seen comes from the fault.
RATE, BEFORE_SECONDS, AWAY_SECONDS, AFTER_SECONDS = 40, 4.0, 4.0, 8.0
MODEL = "recommender"


def swap(house: House) -> dict[str, Any]:
    """A new version of the recommender appears, is loaded and takes over while users ask."""
    warm(house)
    base = house.settings.models_dir / MODEL
    newest = max(published_versions(MODEL))
    staged = shutil.copytree(base / str(newest), base / f".{newest + 1}.tmp", ignore=shutil.ignore_patterns("manifest.json"))
    manifest.sign(staged, MODEL, newest + 1, manifest.make_key(house.settings.signing_key))
    load = Beside(house.settings.api_port, house.requests(paths("recommendations")), RATE, source)
    time.sleep(BEFORE_SECONDS)
    begun = time.monotonic()
    staged.rename(base / str(newest + 1))
    with ModelClient(house.settings.model_server_target) as client:
        client.wait_available(MODEL, newest + 1, timeout_s=PATIENCE_SECONDS)
        while (old := client.status(MODEL).get(newest)) and old.state != "END":
            time.sleep(0.05)
    ended = time.monotonic()
    time.sleep(AFTER_SECONDS)
    whole = load.finish()
    shutil.rmtree(base / str(newest))
    parts = {"before": (0, begun), "during": (begun, ended), "after": (ended, whole.began + whole.seconds)}
    result = {name: row(whole.between(*span)) for name, span in parts.items()} | {"seconds": ended - begun, "whole": row(whole)}
    print(result, flush=True)
    return result


def killed(house: House) -> dict[str, Any]:
    """The model server gets SIGKILL under load and is started again."""
    warm(house)
    load = Beside(house.settings.api_port, house.requests(paths("mix")), RATE, source)
    time.sleep(BEFORE_SECONDS)
    gone = time.monotonic()
    house.process("model-server").kill()
    time.sleep(AWAY_SECONDS)
    house.start("model-server")
    house.wait_for_models()
    back = time.monotonic()
    time.sleep(AFTER_SECONDS)
    return told(load.finish(), gone, back)


def told(whole: Load, gone: float, back: float) -> dict[str, Any]:
    """Rows of before, while it was away and after; seconds from its return to the first normal answer of those after which all were."""
    later = whole.between(back, whole.began + whole.seconds)
    before = whole.between(0, gone)
    whole_ones = BY_MODEL if any(answer.said == "portrait" for answer in before.answers) else (*BY_MODEL, BARE)
    late = [answer.due for answer in later.answers if answer.said not in whole_ones]
    recovery = max(late, default=back - whole.began) - (back - whole.began)
    away = whole.between(gone, back)
    result = {
        "before": row(before),
        "away": row(away),
        "after": row(later),
        "said": dict(Counter(answer.said for answer in away.answers)),
        "away_seconds": back - gone,
        "recovery_seconds": recovery,
        "500": whole.statuses()[500] + whole.statuses()[0],
    }
    print(result, flush=True)
    return result


def stores(house: House) -> dict[str, Any]:
    """Either online store goes away under load and comes back."""
    result = {"SQLite file moved away": sqlite(house)}
    if shutil.which("redis-server"):
        result["Redis killed"] = redis(house)
    return result


def sqlite(house: House) -> dict[str, Any]:
    warm(house)
    folder = house.settings.feast_dir
    names = [path.name for path in folder.glob("online.db*")]
    load = Beside(house.settings.api_port, house.requests(paths("mix")), RATE, source)
    time.sleep(BEFORE_SECONDS)
    gone = time.monotonic()
    for name in names:
        (folder / name).rename(folder / f"away-{name}")
    time.sleep(AWAY_SECONDS)
    for name in names:
        (folder / f"away-{name}").replace(folder / name)
    back = time.monotonic()
    time.sleep(AFTER_SECONDS)
    return told(load.finish(), gone, back)


def redis(house: House) -> dict[str, Any]:
    """An API of its own over a Redis that is filled from the same published features and keeps what it was given on disk."""
    port = free_port()
    folder = house.settings.home / "redis"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--appendonly", "yes"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    other = house.settings.model_copy(update={"api_port": free_port()})
    variables = {"PORTRAIT_ONLINE_STORE": "redis", "PORTRAIT_REDIS": f"127.0.0.1:{port},db=0", "PORTRAIT_API_PORT": str(other.api_port)}
    try:
        house.run_python("from feature_repo.materialise import rebuild; rebuild()", variables)
        house.start("api", variables, under="api-redis", settings=other)
        beside_redis = House(other, house.keys)
        warm(beside_redis)
        load = Beside(other.api_port, house.requests(paths("mix")), RATE, source)
        time.sleep(BEFORE_SECONDS)
        gone = time.monotonic()
        server.kill()
        server.wait()
        time.sleep(AWAY_SECONDS)
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        back = time.monotonic()
        time.sleep(AFTER_SECONDS)
        return told(load.finish(), gone, back)
    finally:
        house.stop("api-redis")
        server.terminate()
        server.wait()
