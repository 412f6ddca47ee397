"""Load over HTTP from one asyncio thread, at a cost of some hundred microseconds a request: it shares the cores with what it measures.

In an open loop requests come as a Poisson process by seed, whatever the server does, and each is timed from when it was due, so that a
server that stalls pays for everyone who would have come meanwhile.
"""

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from threading import Event
from typing import Any

import numpy as np

SEED, PATIENCE_SECONDS, MOST_CONNECTIONS = 7, 20.0, 1000
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_pool = ThreadPoolExecutor(4, thread_name_prefix="load")


@dataclass(frozen=True)
class Answer:
    """`due` in seconds since the load began, `ms` until it was answered; status 0 where nothing came; `said` is made of the body."""

    due: float
    ms: float
    status: int
    said: Any


@dataclass
class Load:
    """One run of requests; `began` by the monotonic clock, so that what was done meanwhile can be laid beside the answers."""

    answers: list[Answer] = field(default_factory=list)
    began: float = 0.0
    seconds: float = 0.0

    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in self.answers)

    def ms(self, status: int = 200) -> dict[str, float]:
        """Percentiles of those answered with `status`; NaN where none was."""
        return percentiles([answer.ms for answer in self.answers if answer.status == status])

    def between(self, begin: float, end: float) -> "Load":
        """What was due from `begin` to `end`, by the monotonic clock."""
        kept = [answer for answer in self.answers if begin <= self.began + answer.due < end]
        return Load(kept, self.began, end - begin)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{share}": float(np.percentile(values, share)) if len(values) else float("nan") for share in (50, 95, 99)}


def nothing(_status: int, _body: bytes) -> None:
    return None


class _Connection(asyncio.Protocol):
    """One kept connection: a request at a time."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self._received = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        self.transport = None
        self._answer((0, b""))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, gap, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if gap else None
        if length and len(body) >= int(length[1]):
            self._received = b""
            self._answer((int(head[9:12]), body))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body; (0, b'') where the connection broke."""
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._waiting

    def _answer(self, answer: tuple[int, bytes]) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(answer)


class _Client:
    """Asks through kept connections, one more where all are busy."""

    def __init__(self, port: int, said: Callable[[int, bytes], Any]) -> None:
        self.port, self.said, self.load = port, said, Load()
        self._idle: list[_Connection] = []
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)

    async def ask(self, request: bytes, due: float) -> None:
        status, body = 0, b""
        async with self._room:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    connection = self._idle.pop() if self._idle else await self._connected()
                    if connection.transport is None:
                        connection = await self._connected()
                    status, body = await connection.ask(request)
                if connection.transport:
                    self._idle.append(connection)
            except (OSError, TimeoutError):
                pass
        ms = 1000 * (time.monotonic() - self.load.began - due)
        self.load.answers.append(Answer(due, ms, status, self.said(status, body)))

    async def _connected(self) -> _Connection:
        return (await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self.port))[1]

    def close(self) -> None:
        for connection in self._idle:
            if connection.transport:
                connection.transport.close()


def open_loop(
    port: int,
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    said: Callable[[int, bytes], Any] = nothing,
    stop: Event | None = None,
) -> Load:
    """`rate` requests a second for `seconds`, or until told to stop, whatever the server does."""

    async def run() -> Load:
        client = _Client(port, said)
        gaps, at = np.random.default_rng(SEED).exponential(1 / rate, 100_003), 0.0
        async with asyncio.TaskGroup() as tasks:
            client.load.began = time.monotonic()
            for number in count():
                at += float(gaps[number % len(gaps)])
                if at > seconds or (stop and stop.is_set()):
                    break
                if (wait := at - (time.monotonic() - client.load.began)) > 0:
                    await asyncio.sleep(wait)
                tasks.create_task(client.ask(requests[number % len(requests)], at))
            client.load.seconds = min(seconds, at)
        client.close()
        return client.load

    return asyncio.run(run())


def closed_loop(port: int, requests: Sequence[bytes], clients: int, seconds: float, said: Callable[[int, bytes], Any] = nothing) -> Load:
    """`clients` that each ask again as soon as they are answered."""

    async def run() -> Load:
        client = _Client(port, said)
        client.load.began = time.monotonic()

        async def one(number: int) -> None:
            while (now := time.monotonic() - client.load.began) < seconds:
                await client.ask(requests[number % len(requests)], now)
                number += clients

        await asyncio.gather(*map(one, range(clients)))
        client.load.seconds = seconds
        client.close()
        return client.load

    return asyncio.run(run())


class Beside:
    """An open loop in a thread of its own, for something to be done to the services meanwhile."""

    def __init__(self, port: int, requests: Sequence[bytes], rate: float, said: Callable[[int, bytes], Any]) -> None:
        self._stop = Event()
        self._load = _pool.submit(open_loop, port, requests, rate, math.inf, said, self._stop)

    def finish(self) -> Load:
        """Stops asking, and returns when all are answered."""
        self._stop.set()
        return self._load.result()
