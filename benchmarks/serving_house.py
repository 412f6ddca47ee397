"""The house that `benchmarks.serving` loads: 20,000 items and 5,000 users, built once and kept in the temporary folder, with the services
as `portrait up` starts them, on free ports."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil

from benchmarks import recommendation_house
from benchmarks.model_server import free_port
from benchmarks.recommendation_house import DAY, SEED, USERS
from settings import ROOT, Settings, get_settings

ITEMS, KEYS, KEY_RATE, PATIENCE_SECONDS = 20_000, 16, 50, 180
PORTS = ("MODEL_SERVER_PORT", "MODEL_SERVER_REST_PORT", "FEAST_PORT", "API_PORT")


@dataclass(frozen=True)
class House:
    """A house whose model server and API answer; `keys` each may ask KEY_RATE times a second."""

    settings: Settings
    keys: list[str]

    def process(self, name: str) -> psutil.Process:
        from serving.local import processes

        found = processes.find(name, self.settings.home)
        assert found, f"{name} has ended: {processes.log_tail(name, self.settings.home)}"
        return found

    def start(self, name: str, more: dict[str, str] | None = None, *, under: str | None = None, settings: Settings | None = None) -> None:
        """Starts a service, under another name and with other settings for a second one of its kind; `wait` until it answers."""
        from serving.local import processes
        from serving.local.services import services

        service = next(one for one in services(settings or self.settings) if one.name == name)
        processes.start(processes.Command(under or name, service.arguments, {**service.environment, **(more or {})}), self.settings.home)
        until = time.monotonic() + PATIENCE_SECONDS
        while not service.answers():
            self.process(under or name)
            assert time.monotonic() < until, f"{name} does not answer"
            time.sleep(0.1)

    def stop(self, name: str) -> None:
        from serving.local import processes

        processes.stop([name], self.settings.home)

    def run_python(self, code: str, more: dict[str, str]) -> None:
        """Python of ours in a process with other settings."""
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **more}, check=True)

    def requests(self, paths: list[str], keys: list[str] | None = None) -> list[bytes]:
        """The bytes of a GET of each path, the keys taking turns."""
        tokens = keys or self.keys
        return [
            f"GET {path} HTTP/1.1\r\nHost: portrait\r\nAuthorization: Bearer {tokens[number % len(tokens)]}\r\n\r\n".encode()
            for number, path in enumerate(paths)
        ]

    def wait_for_models(self) -> None:
        """Until every published model is AVAILABLE."""
        from serving.model_client import ModelClient
        from serving.publish import published_versions

        with ModelClient(self.settings.model_server_target) as client:
            for folder in sorted(self.settings.models_dir.iterdir()):
                client.wait_available(folder.name, max(published_versions(folder.name)), timeout_s=PATIENCE_SECONDS)


def users() -> list[str]:
    """Every user, in an order by seed."""
    return [f"u{number}" for number in np.random.default_rng(SEED).permutation(USERS)]


@contextmanager
def house(home: Path) -> Iterator[House]:
    """The house in `home`, built where it is not there, with its model server and API until the end of the block."""
    trained = newest_portrait(get_settings().models_dir)
    os.environ |= {"PORTRAIT_HOME": str(home), "PORTRAIT_API_RATE": str(KEY_RATE), "PORTRAIT_API_BURST": str(KEY_RATE)}
    os.environ |= {f"PORTRAIT_{name}": str(free_port()) for name in PORTS}
    get_settings.cache_clear()
    if not (home / "whole").exists():
        build(home, trained)
    from serving.keys import KeyRing

    settings = get_settings()
    shutil.rmtree(home / "api", ignore_errors=True)
    ring = KeyRing.of(settings)
    one = House(settings, [ring.add(f"load {number}", ["read:portrait", "read:recommendations"]) for number in range(KEYS)])
    try:
        one.start("model-server")
        one.wait_for_models()
        one.start("api")
        yield one
    finally:
        from serving.local import processes

        processes.stop(processes.started(home), home)


def newest_portrait(models: Path) -> Path | None:
    """The portrait model of the house in use, which must be trained to exist; a portrait without one is features alone."""
    versions = sorted((models / "portrait").glob("[0-9]*"), key=lambda path: int(path.name))
    return versions[-1] if versions else None


def build(home: Path, portrait: Path | None) -> None:
    """A recommender of random weights, its catalogue, users with histories and counters, signed models and the server's configs."""
    from serving.publish import adopt, write_server_config
    from serving.release_config import write_config

    shutil.rmtree(home, ignore_errors=True)
    (home / "logs").mkdir(parents=True)
    settings = get_settings()
    command = [sys.executable, "-m", "benchmarks.recommendation_house", str(settings.models_dir), str(ITEMS)]
    subprocess.run(command, cwd=ROOT, check=True)
    if portrait:
        shutil.copytree(portrait, settings.models_dir / "portrait" / "1", ignore=shutil.ignore_patterns("manifest.json"))
    recommendation_house.publish(ITEMS)
    publish_counters()
    write_config(settings)
    write_server_config(home)
    adopt(settings.models_dir, settings.signing_key)
    (home / "whole").touch()


def publish_counters() -> None:
    """`user_features` of every user, of random numbers: what a portrait knows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from feature_repo.contract import CREATED_AT, FEATURES_AT, views
    from feature_repo.materialise import materialise
    from feature_repo.published import SCHEMA_FILE, mart_dir

    generator, at = np.random.default_rng(SEED), datetime.combine(DAY, datetime.min.time())
    drawn = {
        "int": lambda: generator.integers(0, 50, USERS).tolist(),
        "float": lambda: generator.gamma(2.0, 30.0, USERS).tolist(),
        "string": lambda: ["here"] * USERS,
        "timestamp": lambda: [at - timedelta(days=40)] * USERS,
        "string_list": lambda: [["top 1", "top 2"]] * USERS,
        "float_list": lambda: [[0.7, 0.3]] * USERS,
    }
    view = views()["user_features"]
    columns = {column.name: drawn[column.kind]() for column in view.features}
    columns |= {view.key: [f"u{user}" for user in range(USERS)], FEATURES_AT: [at] * USERS, CREATED_AT: [at] * USERS}
    schema = pq.read_schema(mart_dir(view.name) / SCHEMA_FILE)
    folder = mart_dir(view.name) / f"day={DAY}"
    folder.mkdir()
    pq.write_table(pa.table([columns[field.name] for field in schema], schema=schema), folder / "part-0.parquet")
    materialise(date.fromordinal(DAY.toordinal() - 1), date.fromordinal(DAY.toordinal() + 1))
