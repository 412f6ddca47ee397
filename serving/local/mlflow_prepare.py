"""Brings MLflow's store to the version that is installed: `python -m serving.local.mlflow_prepare`.

MLflow makes a store that is not there yet, but starts on none of an older version. Where the store is new enough, MLflow is not imported.
"""

from serving.local.database import Missing, newest_revision, package_folder, rows
from settings import get_settings


def is_outdated(url: str) -> bool:
    """Whether a store is there, of another version than the one that is installed."""
    try:
        found = [revision for (revision,) in rows(url, "select version_num from alembic_version")]
    except Missing:
        return False
    return found != [newest_revision(package_folder("mlflow") / "store" / "db_migrations" / "versions")]


def main() -> None:
    url = get_settings().mlflow_uri
    if is_outdated(url):
        from mlflow.db import upgrade

        upgrade.main([url], standalone_mode=False)  # in this process: the URL holds a password


if __name__ == "__main__":
    main()
