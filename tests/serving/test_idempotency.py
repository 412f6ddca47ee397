"""A request sent twice is answered once: the same bytes, also at the same time, in other processes, and after a kill."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Body, FastAPI, Request
from fastapi.testclient import TestClient
from pydantic import BaseModel

from serving.http.idempotent import OnceOnly
from serving.http.problems import ProblemError
from serving.idempotency import Answer, Answers, KeyReused, StillAnswering
from settings import ROOT


class Counted:
    """Answers that say how often they were made."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Answer:
        self.times += 1
        return Answer(200, b'{"n": %d}' % self.times)


def test_the_same_key_and_request_get_the_stored_bytes_also_from_another_process(tmp_path: Path) -> None:
    make = Counted()
    first = Answers(tmp_path).once("shop", "k1", b"body", make)
    again = Answers(tmp_path).once("shop", "k1", b"body", make)  # opened anew: nothing is in memory
    assert (first, again) == (Answer(200, b'{"n": 1}'), Answer(200, b'{"n": 1}', is_repeated=True))
    assert make.times == 1


def test_another_body_is_refused_and_another_key_or_caller_is_another_request(tmp_path: Path) -> None:
    answers, make = Answers(tmp_path), Counted()
    answers.once("shop", "k1", b"body", make)
    with pytest.raises(KeyReused, match=r"same address and the same body\. Received it with another one before\. Make up a new key\."):
        answers.once("shop", "k1", b"bodY", make)
    assert answers.once("shop", "k2", b"body", make).body == b'{"n": 2}'
    assert answers.once("bank", "k1", b"body", make).body == b'{"n": 3}'
    assert answers.once("shopk", "1", b"body", make).body == b'{"n": 4}'  # caller and key are not simply joined


def test_copies_at_the_same_time_are_made_once(tmp_path: Path) -> None:
    made, found = [], []

    def make() -> Answer:
        made.append(1)
        time.sleep(0.1)
        return Answer(200, os.urandom(8))

    def ask() -> None:
        found.append(Answers(tmp_path).once("shop", "k", b"body", make).body)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(found) == 12 and len(set(found)) == 1


def test_a_copy_waits_only_so_long_for_the_first(tmp_path: Path) -> None:
    is_begun, may_end = threading.Event(), threading.Event()

    def slow() -> Answer:
        is_begun.set()
        may_end.wait(20)
        return Answer(200, b"late")

    first = threading.Thread(target=lambda: Answers(tmp_path).once("shop", "k", b"", slow))
    first.start()
    is_begun.wait(10)
    with pytest.raises(StillAnswering, match=r"still being answered\. Send it again in a while\."):
        Answers(tmp_path, patience_s=0.05).once("shop", "k", b"", Counted())
    may_end.set()
    first.join()
    assert Answers(tmp_path).once("shop", "k", b"", Counted()).body == b"late"


def test_what_failed_is_not_kept(tmp_path: Path) -> None:
    def fail() -> Answer:
        raise RuntimeError("the model is away")

    answers = Answers(tmp_path)
    with pytest.raises(RuntimeError, match="the model is away"):
        answers.once("shop", "k", b"", fail)
    assert answers.once("shop", "k", b"", Counted()) == Answer(200, b'{"n": 1}')


def test_answers_are_forgotten_after_their_time(tmp_path: Path) -> None:
    answers, make = Answers(tmp_path, keep=timedelta(seconds=0.2)), Counted()
    answers.once("shop", "k", b"", make)
    time.sleep(0.25)
    assert answers.once("shop", "k", b"other", make).body == b'{"n": 2}'
    assert answers._database().execute("select count(*) from answers").fetchone() == (1,)


def test_a_caller_keeps_so_many_and_pushes_out_nobody_elses(tmp_path: Path) -> None:
    answers, make = Answers(tmp_path, most=3), Counted()
    answers.once("bank", "k", b"", make)
    for number in range(5):
        answers.once("shop", f"k{number}", b"", make)
    kept = answers._database().execute("select caller, count(*) from answers group by caller order by caller").fetchall()
    assert kept == [("bank", 1), ("shop", 3)]
    assert [answers.once("shop", f"k{number}", b"", make).is_repeated for number in (2, 3, 4)] == [True] * 3


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    Answers(tmp_path).once("shop", "k", b"", Counted())
    assert (tmp_path / "answers.sqlite").stat().st_mode & 0o777 == 0o600


WRITER = """
import sys, time
from pathlib import Path
from serving.idempotency import Answer, Answers
answers = Answers(Path(sys.argv[1]))
for number in range(10_000):
    print(number, answers.once("shop", f"k{number}", b"", lambda: Answer(200, b"%d by the killed" % number)).body, flush=True)
"""


def test_a_killed_process_leaves_no_lock_and_every_answer_that_it_gave(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert writer.stdout is not None
    given = [writer.stdout.readline() for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    given += writer.stdout.read().splitlines(keepends=True)
    writer.wait()
    whole = [line for line in given if line.endswith("\n")]
    answers, make = Answers(tmp_path, patience_s=5), Counted()
    for number in range(len(whole)):
        assert answers.once("shop", f"k{number}", b"", make).body == b"%d by the killed" % number
    answers.once("shop", f"k{len(whole)}", b"", make)  # the one it was killed in: stored or not, nothing holds it
    assert answers.once("shop", f"k{len(whole) + 1}", b"", make).is_repeated is False


class Order(BaseModel):
    n: int


class Decided(BaseModel):
    twice: int
    time: float


@pytest.fixture
def client(house: Path) -> TestClient:
    app = FastAPI()

    @app.post("/decide", response_model=Decided)
    def decide(request: Request, order: Annotated[Order, Body()], once: OnceOnly) -> object:
        request.state.key_id = request.headers["caller"]
        return once.answer(lambda: Decided(twice=2 * order.n, time=time.time()))

    @app.exception_handler(ProblemError)
    def tell(request: Request, error: ProblemError) -> object:
        from fastapi.responses import JSONResponse

        return JSONResponse(error.body(request.url.path, ""), error.status)

    return TestClient(app)


def test_a_route_gives_the_same_bytes_again_and_says_so(client: TestClient) -> None:
    def ask(n: int, key: str | None, caller: str = "a") -> object:
        return client.post("/decide", json={"n": n}, headers={"caller": caller, **({"Idempotency-Key": key} if key else {})})

    first, again, unkeyed, other = ask(4, "k"), ask(4, "k"), ask(4, None), ask(4, "k", "b")
    assert first.json()["twice"] == 8 and first.content == again.content != unkeyed.content
    assert other.content != first.content
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    reused = ask(5, "k")
    assert (reused.status_code, reused.json()["type"]) == (422, "/docs#key-reused")
    assert ask(5, "k k").status_code == 422  # a key has no blanks
