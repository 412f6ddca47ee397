"""Opens this house's Feast store: DuckDB over published Parquet offline, SQLite online, and an SQL registry.

`feature_store.yaml` takes its paths from `PORTRAIT_HOME`. In this process the value comes from the settings and the environment is left
alone; a subprocess (`feast -c feature_repo serve`) gets `environment()`.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import yaml  # type: ignore[import-untyped]

from settings import ROOT, get_settings

if TYPE_CHECKING:
    from feast import FeatureStore

REPOSITORY = Path(__file__).resolve().parent


def _house() -> dict[str, str]:
    return {"PORTRAIT_HOME": str(get_settings().home.resolve())}


def environment() -> dict[str, str]:
    """This process's environment with what `feast -c feature_repo ...` needs added.

    The house, the project on Python's path, and a runtime folder: Feast's server puts its control socket there, else in the user's home.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **_house(), "PYTHONPATH": path, "XDG_RUNTIME_DIR": str(get_settings().feast_dir.resolve())}


def open_store() -> "FeatureStore":
    """The Feast store of the current settings. Opening it creates an empty registry where there is none."""
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    get_settings().feast_dir.mkdir(parents=True, exist_ok=True)
    text = (REPOSITORY / "feature_store.yaml").read_text(encoding="utf-8")
    config = RepoConfig(**yaml.safe_load(Template(text).substitute(_house())))
    config.repo_path = REPOSITORY
    return FeatureStore(config=config)


def apply() -> "FeatureStore":
    """The store, with every entity, view and service of the contract registered and the online tables made. Idempotent."""
    from feature_repo.definitions import feast_objects

    store = open_store()
    store.apply(feast_objects())
    with closing(sqlite3.connect(store.config.online_store.path)) as online:
        online.execute("pragma journal_mode = wal")  # kept in the file: readers go on while a window is written
    return store
