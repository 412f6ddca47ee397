"""`models.config` as the releases want it, and waiting until the model server follows.

The server reads the file again every second, and so the file is the truth: a HandleReloadConfigRequest would be undone by the next poll.
TensorFlow Serving waits, deaf to every further change, until each model that is new in the file has a version: so the file names only
versions that are in the model's folder.
"""

import json
import time
from pathlib import Path

from filelock import FileLock

from serving.model_client import ModelClient, ModelError
from serving.publish import published_versions
from serving.release_state import Release, read, released
from settings import Settings, get_settings
from sources.durable import replace_text
from training.signatures import SERVED_MODELS

WAIT_SECONDS = 60.0


class NotFollowed(Exception):
    """The model server does not serve what the releases say; the message names the model and what was seen."""


def write_config(settings: Settings | None = None) -> None:
    """Write `models.config` of the house: models with a release in the versions it holds and with its labels, others in their newest.

    A model without a version to serve is left out: none was published, or none has passed and none is on trial.
    """
    settings = settings or get_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    file = settings.home / "models.config"
    with FileLock(settings.home / ".models.config.lock"):  # two models may be released at once
        releases = {model: read(model, settings) for model in dict.fromkeys([*SERVED_MODELS, *released(settings)])}
        entries = [_entry(model, settings.models_dir.absolute(), release) for model, release in releases.items()]
        replace_text(file, f"model_config_list {{\n{''.join(entries)}}}\n")


def _entry(model: str, base: Path, release: Release | None) -> str:
    policy, there = "", published_versions(model, models_dir=base)
    if release is not None:
        there = [number for number in release.serves["versions"] if number in there]
        versions = " ".join(f"versions: {number}" for number in there)
        labelled = {label: number for label, number in release.serves["labels"].items() if number in there}
        labels = " ".join(f'version_labels {{ key: "{label}" value: {number} }}' for label, number in labelled.items())
        policy = f" model_version_policy {{ specific {{ {versions} }} }}{f' {labels}' if labels else ''}"
    if not there:
        return ""
    return f'  config {{ name: {json.dumps(model)} base_path: {json.dumps(str(base / model))} model_platform: "tensorflow"{policy} }}\n'


def wait_for_label(client: ModelClient, model: str, label: str, version: int, wait_s: float = WAIT_SECONDS) -> None:
    """Return once `label` names `version` at the server."""
    until = time.monotonic() + wait_s
    while True:
        try:
            seen = str(found := client.metadata(model, label=label).version)
        except ModelError as error:
            seen, found = str(error), 0
        if found == version:
            return
        if time.monotonic() > until:
            raise NotFollowed(f"Label `{label}` of {model} must name version {version} within {wait_s:g} s. Last seen: {seen}")
        time.sleep(0.05)
