"""Beside ours, in the same run, for the same users: Feast's own feature server, and the FastAPI and Keras service that one writes first."""

import json
import subprocess
import sys
import time
from typing import Any

import psutil

from benchmarks.model_server import free_port
from benchmarks.serving_house import PATIENCE_SECONDS, House, users
from benchmarks.serving_load import Load, closed_loop, percentiles
from benchmarks.serving_rates import paths, source, warm
from settings import ROOT

CLIENTS, SECONDS, READS = (1, 4, 16), 3.0, 1000


def peers(house: House) -> dict[str, Any]:
    """Requests a second and percentiles by number of clients, of ours and of each peer; how many were not answered with 200."""
    warm(house)
    port, result = house.settings.api_port, {}
    result["recommendations: Portrait"] = by_clients(port, house.requests(paths("recommendations")))
    result["recommendations: FastAPI + SavedModel + Feast"] = plain(house)
    house.start("feast")
    body = [post("/get-online-features", {"feature_service": "user_v1", "entities": {"user_id": [user]}}) for user in users()]
    closed_loop(house.settings.feast_port, body, 1, 1)
    result["one user's features: Feast's feature server"] = by_clients(house.settings.feast_port, body)
    house.stop("feast")
    result["portrait: Portrait (features, model, titles)"] = by_clients(port, house.requests(paths("portrait")))
    result["one user's features: in process, as the portrait reads them"] = {"1": reads()}
    print(result, flush=True)
    return result


def by_clients(port: int, requests: list[bytes]) -> dict[str, dict[str, Any]]:
    return {str(clients): told(closed_loop(port, requests, clients, SECONDS, source)) for clients in CLIENTS}


def told(load: Load) -> dict[str, Any]:
    statuses = load.statuses()
    return {"rate": statuses[200] / load.seconds, **load.ms(), "others": len(load.answers) - statuses[200]}


def post(path: str, body: Any) -> bytes:
    sent = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: peer\r\nContent-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n".encode() + sent


def plain(house: House) -> dict[str, dict[str, Any]]:
    """`serving_plain.py` in a process of its own, over the same model and the same online store."""
    port, models = free_port(), house.settings.models_dir / "recommender"
    newest = max(models.glob("[0-9]*"), key=lambda path: int(path.name))
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.serving_plain", str(newest), str(port)], cwd=ROOT)
    requests = [f"GET /users/{user}/recommendations HTTP/1.1\r\nHost: peer\r\n\r\n".encode() for user in users()]
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while closed_loop(port, requests, 1, 0.1).statuses()[200] == 0:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.5)
        closed_loop(port, requests, 2, 2)
        return by_clients(port, requests) | {"MB": psutil.Process(process.pid).memory_info().rss / 2**20}  # type: ignore[dict-item]
    finally:
        process.terminate()
        process.wait(30)


def reads() -> dict[str, float]:
    """One thread, one user at a time, in this process: what the house itself does in place of asking a feature server."""
    from feature_repo.online import OnlineFeatures

    features, times = OnlineFeatures(), []
    for user in users()[:READS]:
        begun = time.perf_counter()
        features.read("user_v1", [user])
        times.append(1000 * (time.perf_counter() - begun))
    return {"rate": 1000 * len(times) / sum(times), **percentiles(times), "others": 0}
