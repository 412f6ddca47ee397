"""A house in a folder of its own, on free ports, with its services up and the window of ten users behind it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from settings import ROOT
from tests.end_to_end import ten_users

PORTS = ("AIRFLOW", "MODEL_SERVER", "MODEL_SERVER_REST", "FEAST", "API", "MLFLOW", "POSTGRES", "REDIS")


@dataclass
class Road:
    """A house with its services up and one window of ten users behind it."""

    home: Path
    environment: dict[str, str]
    rows: int
    outcome: dict[str, Any]

    def portrait(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "cli.py", *words], cwd=ROOT, env=self.environment, capture_output=True, text=True)

    def json(self, *words: str) -> Any:
        done = self.portrait(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def key(self) -> str:
        return (self.home / "api" / "house_key").read_text(encoding="utf-8").strip()

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self.environment[f'PORTRAIT_{name}_PORT']}"

    def warehouse(self, query: str) -> list[tuple]:
        with duckdb.connect(str(self.home / "warehouse.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def open_road(folder: Path, profile: str) -> Iterator[Road]:
    """The road walked once on a house of this profile, whose services stop when the block ends."""
    ports = {f"PORTRAIT_{name}_PORT": str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    environment = {**os.environ, "PORTRAIT_HOME": str(folder / "house"), "PORTRAIT_PROFILE": profile, **ports}
    road = Road(folder / "house", environment, ten_users.write(folder / "shop"), {})
    try:
        up = road.portrait("up")
        assert up.returncode == 0, up.stdout + up.stderr
        done = road.portrait("ingest", "--source", "landing", "--data", str(folder / "shop"), "--epochs", "3", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        road.outcome = json.loads(done.stdout)
        yield road
    finally:
        road.portrait("down")
