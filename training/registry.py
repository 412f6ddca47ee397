"""Versions of the served models in MLflow's registry: where each came from, and who is `champion` and who `challenger`.

Every judged run is a version of its model, with its provenance as tags: what it learned from, with which code and libraries, seed and
options. `rebuild` trains the same again from these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from settings import ROOT
from training.revision import code_revision
from training.signatures import PROVENANCE_FILE

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from training.run_folder import Run

CHALLENGER = "challenger"


def circumstances() -> dict[str, str]:
    """Hashes of what a run stands on besides its records: code revision, pinned requirements, dbt's models; '' where there is none."""
    return {
        "code_revision": code_revision(),
        "requirements_sha256": _sha256([ROOT / "requirements" / "portrait.txt"]),
        "dbt_models_sha256": _sha256(sorted(path for path in (ROOT / "dbt_project").glob("m*/**/*") if path.suffix in (".sql", ".yml"))),
    }


def register(model: str, run_id: str, folder: Path, saved_model: Path) -> str:
    """Makes the run's SavedModel, to be found in `folder`, the newest version of `model` with the alias `challenger`; returns the version.

    `saved_model` is where it lies now: its provenance is read there.
    """
    provenance = json.loads((saved_model / PROVENANCE_FILE).read_text())
    client = _client()
    _create(client, model)
    tags = {name: value if isinstance(value, str) else json.dumps(value, default=str) for name, value in provenance.items()}
    version = client.create_model_version(model, str(folder / "saved_model"), run_id, tags=_short(tags))
    client.set_registered_model_alias(model, CHALLENGER, version.version)
    return str(version.version)


def provenance_of(model: str, alias: str) -> dict[str, Any]:
    """The provenance of the version with that alias; raises LookupError, naming the aliases that there are."""
    client = _client()
    aliases = {name: version for one in client.search_registered_models(f"name = '{model}'") for name, version in one.aliases.items()}
    if alias not in aliases:
        raise LookupError(f"An alias of {model} must be one of {sorted(aliases)}. Received '{alias}'. Train and publish the model first.")
    tags = client.get_model_version(model, aliases[alias]).tags
    return {name: json.loads(value) if value[:1] in "{[" or name in ("seed", "epochs") else value for name, value in tags.items()}


def rebuild(provenance: Mapping[str, Any]) -> Run:
    """Trains a version again from its provenance, on the records as they stand: the same records give the same model."""
    from datetime import date

    from training.runs import train_encoder, train_model

    start, end = (date.fromisoformat(day) for day in str(provenance["window"]).split("/"))
    options = {"seed": int(provenance["seed"]), "epochs": provenance.get("epochs"), "promote": False}
    encoder = train_encoder((start, end), options)
    return train_model(str(provenance["model"]), encoder.path, (start, end), options)


def _client() -> MlflowClient:
    from training.tracking import client

    return client()


def _create(client: MlflowClient, model: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model)
    except MlflowException as problem:
        if problem.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _short(tags: Mapping[str, str]) -> dict[str, str]:
    """MLflow keeps 5,000 characters of a tag."""
    return {name: value[:5000] for name, value in tags.items() if value}


def _sha256(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest() if paths else ""
