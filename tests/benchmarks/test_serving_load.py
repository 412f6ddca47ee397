"""The load of `benchmarks.serving` measures what it says: from when a request was due, statuses as they came, memory by least squares."""

import math
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from benchmarks.serving_faults import told
from benchmarks.serving_load import Answer, Load, closed_loop, open_loop
from benchmarks.serving_rates import source
from benchmarks.serving_soak import slope

ASK = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n"]


class Stalling(BaseHTTPRequestHandler):
    """Answers one request at a time; the first keeps all others waiting for half a second."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    stalls = True

    def do_GET(self) -> None:
        with self.lock:
            time.sleep(0.5 if type(self).stalls else 0)
            type(self).stalls = False
        body = b'{"type": "/docs#overloaded"}' if self.path == "/busy" else b'{"source":"model"}'
        self.send_response(503 if self.path == "/busy" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Stalling.stalls = True
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_an_open_loop_charges_a_stall_to_everyone_who_was_due_meanwhile(port: int) -> None:
    load = open_loop(port, ASK[:1], 100, 1.0, source)
    late = [answer for answer in load.answers if answer.ms > 100]
    assert 20 <= len(late) <= 70  # some forty were due in the first 0.4 s; a client that waits would have seen one
    assert load.statuses() == {200: len(load.answers)}
    assert {answer.said for answer in load.answers} == {"model"}


def test_statuses_and_problems_are_told_apart(port: int) -> None:
    load = closed_loop(port, ASK, 1, 0.7, source)
    assert set(load.statuses()) == {200, 503}
    assert {answer.said for answer in load.answers if answer.status == 503} == {"503 overloaded"}
    assert math.isnan(load.ms(429)["p50"])


def test_where_nobody_listens_every_answer_is_a_broken_one() -> None:
    assert set(open_loop(1, ASK[:1], 50, 0.2).statuses()) == {0}


def test_recovery_lasts_until_the_last_answer_that_was_not_whole() -> None:
    answers = [Answer(second, 1.0, 200, "popularity" if second in (4, 5, 7) else "model") for second in range(12)]
    found = told(Load(answers, began=100.0, seconds=12), gone=104.0, back=106.0)
    assert (found["said"], found["recovery_seconds"], found["500"]) == ({"popularity": 2}, 1.0, 0)
    assert (found["before"]["by model"], found["after"]["asked"]) == (1.0, 6)


def test_memory_is_flat_where_its_slope_after_the_warm_up_adds_up_to_little() -> None:
    times = np.arange(0.0, 600.0, 2.0)
    warming = np.where(times < 120, 300 + times, 420.0)  # all growth lies in the first fifth
    flat, leaking = slope(times, warming), slope(times, 400 + times / 30)  # 2 MB a minute
    assert (round(flat["MB an hour"], 6), flat["is_flat"]) == (0, True)
    assert (round(leaking["MB an hour"], 6), leaking["is_flat"]) == (120, False)
