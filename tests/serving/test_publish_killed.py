"""A publisher that is killed anywhere: the server never sees a partial version, and no number means two things."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving import manifest
from serving.model_client import ModelClient, ModelNotFound
from serving.publish import content_hash, publish, published_versions
from settings import ROOT, get_settings

pytestmark = pytest.mark.slow

SEED, POINTS, KILLED = 20, 20, -9
MODEL = "killed"


class Publisher:
    """Forks that publish, and die where they are told to."""

    def __init__(self, models_dir: Path, target: str) -> None:
        command = [sys.executable, "-m", "tests.serving.killable_publisher", MODEL, str(models_dir), target]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def publish(self, content: Path, before_line: int = 0, after_s: float | None = None) -> tuple[int, int]:
        """Exit status and lines run, 0 where it was killed: before a line of its code, or after a time."""
        assert self.process.stdin and self.process.stdout
        print(content, before_line, file=self.process.stdin, flush=True)
        told = dict([self.process.stdout.readline().split()])
        if after_s is not None:
            killer = threading.Timer(after_s, lambda: os.kill(int(told["pid"]), signal.SIGKILL))
            killer.start()
        while "ended" not in told:
            name, value = self.process.stdout.readline().split()
            told[name] = value
        if after_s is not None:
            killer.cancel()
            killer.join()
        return int(told["ended"]), int(told.get("lines", 0))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(30) == 0


class Watch(threading.Thread):
    """Looks at the folder and at the server, as fast as it can, for a version that is not whole."""

    def __init__(self, folder: Path, target: str, whole: set[str]) -> None:
        super().__init__()
        self.folder, self.target, self.whole = folder, target, whole
        self.partial: list[str] = []
        self.looks = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        key = manifest.make_key(get_settings().signing_key).public_key()
        sound: set[int] = set()
        with ModelClient(self.target) as client:
            while not self.stopping.is_set():
                for number in set(published_versions(MODEL, models_dir=self.folder)) - sound:
                    version = self.folder / MODEL / str(number)
                    if content_hash(version) not in self.whole:
                        self.partial.append(f"{number} has other content")
                    manifest.verify(version, MODEL, number, key)
                    sound.add(number)
                try:
                    seen = client.status(MODEL)
                except ModelNotFound:  # no version yet
                    seen = {}
                self.partial += [f"{number}: {state.error}" for number, state in seen.items() if state.error]
                self.looks += 1
                time.sleep(0.002)


def test_a_publisher_killed_at_twenty_random_points_shows_no_partial_version_and_reuses_no_number(server, exported):
    contents, folder = list(exported.values()), server.folder / MODEL
    draw = random.Random(SEED)
    watch = Watch(server.folder, server.target, {content_hash(content) for content in contents})
    watch.start()
    publisher = Publisher(server.folder, server.target)
    try:
        begin = time.monotonic()
        status, lines = publisher.publish(contents[0])
        seconds = time.monotonic() - begin
        assert (status, published_versions(MODEL, models_dir=server.folder)) == (0, [1])
        assert lines > 500  # of which a line is drawn for each second kill

        given: dict[str, str] = {}
        statuses = []
        for point in range(POINTS):
            newest = content_hash(folder / str(max(published_versions(MODEL, models_dir=server.folder))))
            content = next(one for one in contents[point % 3 :] + contents if content_hash(one) != newest)  # the same would not be staged
            if point % 2:
                statuses.append(publisher.publish(content, before_line=draw.randint(1, lines))[0])
            else:
                statuses.append(publisher.publish(content, after_s=draw.uniform(0, seconds))[0])
            if (folder / ".ledger.json").exists():
                ledger = {number: entry["sha256"] for number, entry in json.loads((folder / ".ledger.json").read_text()).items()}
                assert given.items() <= ledger.items()  # a number that was given keeps its meaning
                given = ledger
        assert statuses.count(KILLED) >= POINTS - 4  # a publish may end just before its time is up
        whole = published_versions(MODEL, models_dir=server.folder)
        assert {str(number): content_hash(folder / str(number)) for number in whole}.items() <= given.items()

        newest = content_hash(folder / str(max(whole)))
        content = next(one for one in contents if content_hash(one) != newest)
        assert publish(MODEL, content, models_dir=server.folder, target=server.target) == max(map(int, given)) + 1
    finally:
        watch.stopping.set()
        watch.join()
        publisher.close()
    assert watch.partial == []
    assert watch.looks > 100
    assert [path.name for path in folder.glob(".*.tmp-*")] == []
