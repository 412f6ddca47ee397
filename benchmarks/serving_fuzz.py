"""Random bytes at every port while users ask: nothing dies, nothing grows, nobody else notices."""

import random
import socket
from collections import Counter
from contextlib import suppress
from typing import Any

import grpc

from benchmarks.model_server import PREDICT, requests_of, serialised
from benchmarks.serving_house import House
from benchmarks.serving_load import Beside
from benchmarks.serving_rates import paths, row, source, warm
from serving.publish import published_versions

SEED, RATE, ROUNDS, SETTLE = 11, 20, 250, 50
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def fuzz(house: House) -> dict[str, Any]:
    """What came of random connections and messages, memory before and after, and what users saw meanwhile."""
    warm(house)
    settings, draw = house.settings, random.Random(SEED)
    newest = settings.models_dir / "recommender" / str(max(published_versions("recommender")))
    message = serialised(requests_of(newest))[0]
    names = ("api", "model-server")
    throw(house, draw, message, SETTLE)  # what the first of them allocate is kept
    before = {name: house.process(name) for name in names}
    memory = {name: process.memory_info().rss / 2**20 for name, process in before.items()}
    load = Beside(settings.api_port, house.requests(paths("mix")), RATE, source)
    sent = throw(house, draw, message, ROUNDS)
    users = row(load.finish())
    grown = {name: house.process(name).memory_info().rss / 2**20 - memory[name] for name in names}
    alive = all(house.process(name).pid == before[name].pid for name in names)
    result = {"sent": dict(sent), "is_alive": alive, "grown": grown, "users": users}
    print(result, flush=True)
    return result


def throw(house: House, draw: random.Random, message: bytes, rounds: int) -> Counter[str]:
    """`rounds` times: garbage to the three ports, alone and behind a true beginning, and a Predict of random and of damaged bytes."""
    settings, sent = house.settings, Counter[str]()
    key = house.keys[0]
    head = f"GET /v1/users/u1/portrait HTTP/1.1\r\nHost: portrait\r\nAuthorization: Bearer {key}\r\n".encode()
    begins = {
        settings.api_port: (b"", head, b"POST /v1/events HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"GET /v1/users/"),
        settings.model_server_port: (b"", PREFACE),
        settings.model_server_rest_port: (
            b"",
            b"POST /v1/models/recommender:predict HTTP/1.1\r\nContent-Length: 500\r\n\r\n",
            b"GET /v1/models/",
        ),
    }
    with grpc.insecure_channel(settings.model_server_target) as channel:
        call = channel.unary_unary(PREDICT)
        for _ in range(rounds):
            for port, starts in begins.items():
                connection(port, draw.choice(starts) + draw.randbytes(draw.randint(0, 2000)))
                sent["connections"] += 1
            for body in (draw.randbytes(draw.randint(0, 500)), damaged(message, draw)):
                try:
                    call(body, timeout=10)
                    sent["Predict OK"] += 1
                except grpc.RpcError as error:
                    sent[f"Predict {error.code().name}"] += 1
    return sent


def connection(port: int, sent: bytes) -> None:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        one.sendall(sent)
        one.settimeout(0.02)
        one.recv(4096)


def damaged(message: bytes, draw: random.Random) -> bytes:
    """The message with some of its bytes changed."""
    found = bytearray(message)
    for _ in range(draw.randint(1, 8)):
        found[draw.randrange(len(found))] = draw.randrange(256)
    return bytes(found)
