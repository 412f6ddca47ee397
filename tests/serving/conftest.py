"""One embedded model server for all tests of this folder that need a real one, over SavedModels made here."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from settings import ROOT, get_settings
from tests.serving.tiny_models import TINY_CONFIG, export_tiny

SERVED = """  config { name: "NAME" base_path: "FOLDER/NAME" model_platform: "tensorflow" }
"""


@dataclass
class ServerUnderTest:
    """A running server: addresses, the folder of its models, its config file, its log."""

    target: str
    rest: str
    folder: Path
    process: subprocess.Popen | None = None

    @property
    def config(self) -> Path:
        return self.folder / "models.config"

    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """`exported[n]` is a tiny SavedModel whose scale is n."""
    folder = tmp_path_factory.mktemp("exported")
    return {scale: export_tiny(folder / str(scale), float(scale)) for scale in (1, 2, 3)}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


@pytest.fixture(scope="session")
def server(exported: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerUnderTest]:
    """Serves `tiny` (versions 1 and 2, labels stable and canary), `swap`, `shelf`, `pub`, `killed` (empty) and `gone` (no folder)."""
    folder = tmp_path_factory.mktemp("models")
    for version in (1, 2):
        shutil.copytree(exported[version], folder / "tiny" / str(version))
    (folder / "swap").mkdir()
    (folder / "shelf").mkdir()
    (folder / "pub").mkdir()
    (folder / "killed").mkdir()
    more = "".join(SERVED.replace("NAME", name).replace("FOLDER", str(folder)) for name in ("gone", "swap", "shelf", "pub", "killed"))
    (folder / "models.config").write_text(TINY_CONFIG.format(folder=folder, more=more))
    port, rest_port = free_ports(2)
    command = [sys.executable, "-m", "serving.model_server", f"--port={port}", f"--rest_api_port={rest_port}"]
    command += [f"--model_config_file={folder / 'models.config'}", "--model_config_file_poll_wait_seconds=0.2"]
    command += ["--file_system_poll_wait_seconds=0.2", "--allow_version_labels_for_unavailable_models=true"]
    (folder / "batching.config").write_text("num_batch_threads { value: 2 }\npad_variable_length_inputs: true\n")
    (folder / "monitoring.config").write_text('prometheus_config { enable: true path: "/metrics" }')
    command += ["--enable_batching", f"--batching_parameters_file={folder / 'batching.config'}"]
    command += [f"--monitoring_config_file={folder / 'monitoring.config'}"]
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("PORTRAIT_SIGNING_KEY_FILE", str(folder / "signing_key.pem"))  # publishing outside a house needs a key
    get_settings.cache_clear()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    under_test = ServerUnderTest(f"127.0.0.1:{port}", f"127.0.0.1:{rest_port}", folder, process)
    deadline = time.monotonic() + 180
    while "serving gRPC" not in under_test.log():
        assert process.poll() is None and time.monotonic() < deadline, under_test.log()
        time.sleep(0.2)
    yield under_test
    monkeypatch.undo()
    get_settings.cache_clear()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, under_test.log()


@pytest.fixture(scope="session")
def protocol_server(request: pytest.FixtureRequest) -> ServerUnderTest:
    """The server that tests of the contract ask: TF_SERVING_TARGET where it is set (see tiny_models.py), else the embedded one."""
    if target := os.environ.get("TF_SERVING_TARGET"):
        return ServerUnderTest(target, os.environ.get("TF_SERVING_REST_TARGET", ""), Path())
    return request.getfixturevalue("server")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that Postgres' user can pass through, with a house in it that has files."""
    folder = Path(tempfile.mkdtemp(prefix="portrait-backup-"))
    folder.chmod(0o755)
    monkeypatch.setenv("PORTRAIT_HOME", str(folder / "house"))
    monkeypatch.setenv("PORTRAIT_PROFILE", "embedded")
    get_settings.cache_clear()
    (folder / "house").mkdir()
    yield folder
    get_settings.cache_clear()
    shutil.rmtree(folder)
