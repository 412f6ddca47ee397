"""What a restored house's databases say of the place and the processes of the house that was backed up, put right.

`portrait up` writes the model server's files and Feast's registry anew. MLflow keeps the place of each artifact, and Airflow that of what a
task handed to the next; tasks that were under way have no process any more, so the scheduler is to start them again.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

MLFLOW = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
AIRFLOW = (("xcom", "value"), ("asset_event", "extra"), ("dag_run", "conf"))


def say_new_home(settings: Settings, before: str) -> None:
    """Paths into the house that was, in MLflow's and Airflow's databases, become paths into this one."""
    old, new = f"{before}/", f"{settings.home}/"
    if old == new:
        return
    spelled = {old: new, quote(old): quote(new), json.dumps(old)[1:-1]: json.dumps(new)[1:-1]}  # as a path, in a URL, in JSON
    for url, places in ((settings.mlflow_uri, MLFLOW), (settings.airflow_database, AIRFLOW)):
        with _database(url) as connection:
            for table, column in _known(connection, places):
                for one, other in spelled.items():
                    _replace(connection, table, column, one, other)


def reset_tasks(settings: Settings) -> None:
    """Tasks that waited for a worker or ran on one are to be scheduled, as Airflow does with those of a scheduler that died."""
    from sqlalchemy import text

    with _database(settings.airflow_database) as connection:
        if list(_known(connection, (("task_instance", "state"),))):
            connection.execute(
                text(
                    "update task_instance set state = null, queued_by_job_id = null, external_executor_id = null "
                    "where state in ('queued', 'running', 'restarting')"
                )
            )


@contextmanager
def _database(url: str) -> Iterator["Connection"]:
    """One transaction on a database; of a SQLite file that the backup did not have, on an empty one in memory."""
    from sqlalchemy import create_engine, make_url

    place = make_url(url)
    is_missing = place.get_backend_name() == "sqlite" and not Path(str(place.database)).exists()
    engine = create_engine("sqlite://" if is_missing else url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _known(connection: "Connection", places: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    """Those of the places that this version of the database has."""
    from sqlalchemy import inspect

    inspector = inspect(connection)
    for table, column in places:
        if inspector.has_table(table) and column in {one["name"] for one in inspector.get_columns(table)}:
            yield table, column


def _replace(connection: "Connection", table: str, column: str, old: str, new: str) -> None:
    from sqlalchemy import inspect, text

    changed = f"replace(cast({column} as text), :old, :new)"
    value = changed
    if connection.dialect.name == "postgresql":  # which takes no text for JSON
        kind = next(one["type"] for one in inspect(connection).get_columns(table) if one["name"] == column)
        value = f"cast({changed} as {kind.compile(connection.dialect)})"
    connection.execute(
        text(f"update {table} set {column} = {value} where {changed} <> cast({column} as text)"),
        {"old": old, "new": new},
    )
