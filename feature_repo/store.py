"""Opens this house's Feast store: DuckDB over published Parquet or Postgres offline, SQLite or Redis online, and an SQL registry.

`feature_store.yaml` takes the stores and the registry from the environment. In this process the values come from the
settings and the environment is left alone; a subprocess (`feast -c feature_repo serve`) gets `environment()`.
"""

import json
import os
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import yaml  # type: ignore[import-untyped]

from quality.postgres import postgres_server
from settings import ROOT, Settings, get_settings

if TYPE_CHECKING:
    from feast import FeatureStore

    from feature_repo.online_redis import PortraitRedisOnlineStore
    from feature_repo.online_sqlite import PortraitSqliteOnlineStore

REPOSITORY = Path(__file__).resolve().parent


ONLINE_STORES = {
    "sqlite": "feature_repo.online_sqlite.PortraitSqliteOnlineStore",
    "redis": "feature_repo.online_redis.PortraitRedisOnlineStore",
}


def _house() -> dict[str, str]:
    settings = get_settings()
    return {
        "PORTRAIT_HOME": str(settings.home.resolve()),
        "PORTRAIT_FEAST_REGISTRY": settings.registry,
        "PORTRAIT_FEAST_OFFLINE_STORE": json.dumps(_offline_store(settings)),
        "PORTRAIT_ONLINE_STORE_CLASS": ONLINE_STORES[settings.online_store],
    }


def _offline_store(settings: Settings) -> dict[str, str | int]:
    """What Feast's own `get_historical_features` asks: the warehouse's marts where it is a server, else the published files."""
    if not settings.warehouse_url:
        return {"type": "duckdb"}
    server = postgres_server(settings.warehouse_url)
    return {"type": "postgres", **server, "db_schema": "marts", "sslmode": "prefer"}


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
    return store


def online_store(store: "FeatureStore") -> "PortraitSqliteOnlineStore | PortraitRedisOnlineStore":
    """The online store behind a Feast store: Feast's interface, and ours beside it (`write_arrow`, `read_values`, `forget`, `horizon`)."""
    return store.provider.online_store  # type: ignore[return-value]
