"""Publishing a SavedModel: stage, sign, check in a fresh process, rename into place, and wait until the server answers with it.

A version folder is whole from the moment it has its name; one that fails at any step leaves what was served untouched. Beside the versions,
`.ledger.json` remembers every number ever given out, so that none is used twice.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving import golden, manifest
from serving.model_client import ModelClient, ModelError, ModelNotFound
from settings import ROOT, get_settings
from sources.durable import replace_text, sync

LEDGER = ".ledger.json"
LOAD_CHECK_SECONDS = 300
MAX_BATCH_ROWS = 16
MAX_WAITING_BATCHES = 2  # a longer queue would only make everybody late: what does not fit is refused, and asked again
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class PublishFailed(Exception):
    """The version was not published, and the message says at which step and why; what was served before still is."""


def publish(
    model: str,
    saved_model: Path,
    *,
    models_dir: Path | None = None,
    target: str | None = None,
    wait_s: float = 60,
    on_place: Callable[[], None] = lambda: None,
) -> int:
    """Publish the SavedModel folder as the model's next version and return the number, AVAILABLE when this returns.

    `on_place` is called when the version is in its place, to tell the server of it.
    The same content as the newest published version is not published again: its number is returned. PublishFailed where the model cannot be
    loaded, does not answer its golden request, or the server at `target` refuses it or does not serve it within `wait_s` seconds.
    """
    if not _NAME.fullmatch(model):
        raise PublishFailed(f"A model's name must be letters, digits, `_`, `.` or `-`. Received {model!r}.")
    base = (models_dir or get_settings().models_dir) / model
    base.mkdir(parents=True, exist_ok=True)
    with _only_publisher(base), ModelClient(target or get_settings().model_server_target) as client:
        for left_over in base.glob(".*.tmp-*"):
            shutil.rmtree(left_over)
        if not (saved_model / "saved_model.pb").is_file():
            raise PublishFailed(f"A SavedModel folder holds saved_model.pb. {saved_model} does not. Give the folder that was exported.")
        _require_server(client, model)
        digest = content_hash(saved_model)
        newest = max(published_versions(model, models_dir=models_dir), default=None)
        if newest is not None and _read_ledger(base).get(str(newest), {}).get("sha256") == digest and _is_signed(base, newest):
            _confirm(client, model, newest, base / str(newest), wait_s)
            _note(base, newest, "published", "")
            return newest
        number = _reserve(base, digest)
        try:
            _stage(saved_model, base, number, digest)
        except (PublishFailed, manifest.ManifestRefused, OSError, ValueError, subprocess.TimeoutExpired) as error:
            shutil.rmtree(_staged(base, number), ignore_errors=True)
            _note(base, number, "failed", str(error))
            raise PublishFailed(f"{model} version {number} was not published; what was served before still is. {error}") from error
        try:
            on_place()
            _confirm(client, model, number, base / str(number), wait_s)
        except PublishFailed as error:
            aside = _set_aside(base, number)
            _note(base, number, "refused", str(error))
            raise PublishFailed(f"{model} version {number} was taken back to {aside}; the version before it serves on. {error}") from error
        _note(base, number, "published", "")
        return number


def published_versions(model: str, *, models_dir: Path | None = None) -> list[int]:
    """Numbers of the whole versions in the model's folder, ascending."""
    base = (models_dir or get_settings().models_dir) / model
    return sorted(int(entry.name) for entry in base.glob("[0-9]*") if entry.name.isdecimal() and entry.is_dir()) if base.is_dir() else []


def write_server_config(home: Path) -> None:
    """Write `batching.config` and `monitoring.config`, in TensorFlow Serving's form."""
    batching = {"max_batch_size": MAX_BATCH_ROWS, "max_enqueued_batches": MAX_WAITING_BATCHES}
    lines = "".join(f"{name} {{ value: {value} }}\n" for name, value in batching.items())
    replace_text(home / "batching.config", f"{lines}pad_variable_length_inputs: true\n")
    replace_text(home / "monitoring.config", 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n')


def content_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of a folder's files, without the manifest that publishing adds."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / manifest.MANIFEST_FILE):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def adopt(models_dir: Path, signing_key: Path) -> None:
    """Makes the house's signing key where it has none, and signs with it what was published before there were manifests."""
    if signing_key.exists():
        return
    key = manifest.make_key(signing_key)
    for base in sorted(models_dir.iterdir()) if models_dir.is_dir() else []:
        for number in published_versions(base.name, models_dir=models_dir):
            if not (base / str(number) / manifest.MANIFEST_FILE).exists():
                manifest.sign(base / str(number), base.name, number, key)


@contextmanager
def _only_publisher(base: Path) -> Iterator[None]:
    with (base / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _require_server(client: ModelClient, model: str) -> None:
    try:
        client.status(model)
    except ModelNotFound:
        pass  # its first version, or not in models.config: waiting for AVAILABLE will tell
    except ModelError as error:
        raise PublishFailed(f"Publishing {model} needs a running model server, and nothing was changed. {error}") from error


def _is_signed(base: Path, number: int) -> bool:
    try:
        manifest.verify(base / str(number), base.name, number, manifest.make_key(get_settings().signing_key).public_key())
    except manifest.ManifestRefused:
        return False  # of before there were manifests, or not as it was: it is published anew
    return True


def _staged(base: Path, number: int) -> Path:
    return base / f".{number}.tmp-{os.getpid()}"


def _stage(saved_model: Path, base: Path, number: int, digest: str) -> None:
    staged = _staged(base, number)
    shutil.copytree(saved_model, staged)
    if content_hash(staged) != digest:
        raise PublishFailed(f"{saved_model} changed while it was being published. Publish it again once it is written.")
    manifest.sign(staged, base.name, number, manifest.make_key(get_settings().signing_key))
    for path in [*staged.rglob("*"), staged]:
        sync(path)
    check = subprocess.run(
        [sys.executable, "-m", "serving.load_check", str(staged.absolute()), base.name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LOAD_CHECK_SECONDS,
        check=False,
    )
    if check.returncode:
        said = check.stdout.strip() or f"exit status {check.returncode}: {check.stderr.strip()[-500:]}"
        raise PublishFailed(f"It must load in a fresh process, use allowed operations and answer its golden request. {said}")
    staged.rename(base / str(number))
    sync(base)


def _confirm(client: ModelClient, model: str, number: int, folder: Path, wait_s: float) -> None:
    try:
        client.wait_available(model, number, timeout_s=wait_s)
        request = golden.read(folder)
        request.check(client.predict(model, request.inputs, version=number, timeout_s=max(wait_s, 5)))
    except (ModelError, golden.GoldenMismatch) as error:
        raise PublishFailed(f"The server must serve it and answer its golden request. {error}") from error


def _set_aside(base: Path, number: int) -> Path:
    """A refused version loses its number, so that no server tries it again; only the newest one is kept for a look."""
    for older in base.glob(".refused-*"):
        shutil.rmtree(older)
    aside = base / f".refused-{number}"
    (base / str(number)).rename(aside)
    sync(base)
    return aside


def _read_ledger(base: Path) -> dict[str, dict[str, Any]]:
    path = base / LEDGER
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _reserve(base: Path, digest: str) -> int:
    ledger = _read_ledger(base)
    used = [int(number) for number in ledger] + [int(entry.name) for entry in base.glob("[0-9]*") if entry.name.isdecimal()]
    number = max(used, default=0) + 1
    ledger[str(number)] = {"sha256": digest, "state": "staged", "reason": ""}
    replace_text(base / LEDGER, json.dumps(ledger, indent=1))
    return number


def _note(base: Path, number: int, state: str, reason: str) -> None:
    ledger = _read_ledger(base)
    ledger[str(number)] |= {"state": state, "reason": reason}
    replace_text(base / LEDGER, json.dumps(ledger, indent=1))
