"""Latency against rate up to saturation, and what twice the capacity looks like."""

import json
import re
import time
from collections import Counter
from typing import Any

from benchmarks.serving_house import KEY_RATE, PATIENCE_SECONDS, House, users
from benchmarks.serving_load import Load, closed_loop, open_loop, percentiles

#: Requests a second, each step half as much again; the ladder ends with the third that is not held.
RATES = (30, 45, 68, 100, 150, 225, 340, 510)
SECONDS, OVERLOAD_SECONDS, WARM_SECONDS = 4.0, 6.0, 3.0
#: The knee is the highest rate before which, and at which, this share is answered with 200 and p95 is below so many times the lowest rate's
#: p50.
ANSWERED, WORSE = 0.99, 10.0
#: What an answer with 200 may be, the first two by the model.
BY_MODEL, BARE, SAID = ("model", "portrait"), "portrait without model", ("model", "portrait", "popularity", "portrait without model")
_LIST = re.compile(rb'"source":"(model|popularity)"')


def source(status: int, body: bytes) -> str:
    """Of an answer with 200 one of SAID; of another its status, and of a problem its kind too."""
    if status == 200:
        found = _LIST.search(body)
        return found[1].decode() if found else BARE if b'"inferred":null' in body else "portrait"
    return f"{status} {json.loads(body)['type'].removeprefix('/docs#')}" if body.startswith(b"{") else str(status)


def paths(kind: str) -> list[str]:
    """Addresses of every user: recommendations, portraits, or four to one of them."""
    routes = {"recommendations": ["recommendations"], "portrait": ["portrait"], "mix": ["recommendations"] * 4 + ["portrait"]}[kind]
    return [f"/v1/users/{user}/{routes[number % len(routes)]}" for number, user in enumerate(users())]


def warm(house: House) -> None:
    """The first request of a process waits until it has imported Feast and read the items; then each of its threads opens the store."""
    port, requests, until = house.settings.api_port, house.requests(paths("mix")), time.monotonic() + PATIENCE_SECONDS
    while closed_loop(port, requests, 1, 0.2).statuses()[200] == 0:
        assert time.monotonic() < until, "the API answers nobody"
    closed_loop(port, requests, 4, WARM_SECONDS)


def rates(house: House) -> dict[str, Any]:
    """For each kind of request a row for each rate, and the knee."""
    warm(house)
    return {kind: climb(house, kind) for kind in ("recommendations", "portrait", "mix")}


def climb(house: House, kind: str) -> dict[str, Any]:
    requests, rows, knee, after = house.requests(paths(kind)), [], 0, 0
    for rate in RATES:
        load = open_loop(house.settings.api_port, requests, rate, SECONDS, source)
        rows.append(row(load) | {"rate": rate})
        print(kind, rows[-1], flush=True)
        is_held = rows[-1]["ok"] >= ANSWERED and rows[-1]["p95"] <= WORSE * rows[0]["p50"]
        if is_held and not after:
            knee = rate
        after += not is_held
        if after > 2:
            break
    return {"rows": rows, "knee": knee}


def row(load: Load) -> dict[str, Any]:
    """Percentiles of what was answered with 200, its share, and of the others how many of each kind."""
    statuses, said = load.statuses(), Counter(answer.said for answer in load.answers)
    by_model = sum(said[name] for name in BY_MODEL) / max(1, sum(said[name] for name in SAID))
    others = {str(name): number for name, number in said.items() if name not in SAID}
    shares = {"ok": statuses[200] / max(1, len(load.answers)), "by model": by_model}
    return {**load.ms(), **shares, "others": others, "asked": len(load.answers)}


def overload(house: House) -> dict[str, Any]:
    """Twice what the house can answer, by many keys together and by one alone."""
    warm(house)
    port, requests = house.settings.api_port, house.requests(paths("recommendations"))
    alone = closed_loop(port, requests, 1, SECONDS, source)
    capacity = len(closed_loop(port, requests, house.settings.api_in_flight, SECONDS, source).answers) / SECONDS
    many = open_loop(port, requests, 2 * capacity, OVERLOAD_SECONDS, source)
    one_key = open_loop(port, house.requests(paths("recommendations"), house.keys[:1]), 2 * KEY_RATE, OVERLOAD_SECONDS, source)
    after = closed_loop(port, requests, 1, SECONDS, source)
    result = {"capacity": capacity, "room": house.settings.api_in_flight, "alone": alone.ms(), "after": after.ms()}
    for name, load, status in (("many keys", many, 503), ("one key", one_key, 429)):
        refused = percentiles([answer.ms for answer in load.answers if answer.status == status])
        result[name] = row(load) | {"refused": refused, "rate": len(load.answers) / load.seconds}
    print(result, flush=True)
    return result
