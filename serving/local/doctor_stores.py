"""The doctor's lines on stores that belong to a version of the code: Airflow's and MLflow's schema, Feast's registry and online store."""

from collections.abc import Iterator

from serving.local.database import Away, Missing, newest_revision, package_folder, rows
from serving.local.doctor_line import Line
from serving.local.doctor_servers import online_keys
from settings import Settings

PROJECT = "portrait"


def examine(settings: Settings) -> Iterator[Line]:
    """Every check; a database that does not answer is told by the lines on its server."""
    yield from _schemas(settings)
    yield from _registry(settings)
    yield from _online(settings)


def _schemas(settings: Settings) -> Iterator[Line]:
    """The migration that each database has, against the newest one of the package that is installed."""
    airflow, mlflow = package_folder("airflow"), package_folder("mlflow")
    for name, url, table, migrations in (
        ("airflow schema", settings.airflow_database, "alembic_version", airflow / "migrations"),
        ("airflow login schema", settings.airflow_database, "alembic_version_fab", airflow / "providers" / "fab" / "migrations"),
        ("mlflow schema", settings.mlflow_uri, "alembic_version", mlflow / "store" / "db_migrations"),
    ):
        if table == "alembic_version_fab" and settings.login != "fab":
            continue
        wanted = newest_revision(migrations / "versions")
        try:
            found = [revision for (revision,) in rows(url, f"select version_num from {table}")]
        except Missing:
            yield Line(name, "warn", "not made yet: `portrait up` makes it")
        except Away:
            continue
        else:
            way_out = f"{', '.join(found) or 'none'}, the installed package's is {wanted}: `portrait down`, then `portrait up` migrates it"
            yield Line(name, "ok" if found == [wanted] else "fail", wanted if found == [wanted] else way_out)


def _registry(settings: Settings) -> Iterator[Line]:
    """Feast reads an empty registry as an empty store, without an error: the services in it must be those of the contract."""
    from feature_repo.contract import services

    try:
        found = {
            name for (name,) in rows(settings.registry, f"select feature_service_name from feature_services where project_id = '{PROJECT}'")
        }
    except Missing:
        yield Line("feast registry", "warn", "not made yet: `portrait up` makes it")
    except Away:
        return
    else:
        lacking, odd = sorted(services().keys() - found), sorted(found - services().keys())
        faults = [f"lacks {', '.join(lacking)}"] * bool(lacking) + [f"has {', '.join(odd)}, which no contract names"] * bool(odd)
        way_out = f"{' and '.join(faults)}: `portrait down`, then `portrait up` registers what the contract says"
        yield Line("feast registry", "fail" if faults else "ok", way_out if faults else f"{len(found)} feature services")


def _online(settings: Settings) -> Iterator[Line]:
    if settings.online_store == "redis":
        try:
            keys = online_keys(settings)
        except Away:
            return
        yield Line(
            "online features", "ok" if keys else "warn", f"{keys} rows in Redis" if keys else "none in Redis: run `portrait run features`"
        )
        return
    file = settings.feast_dir / "online.db"
    there = file.exists() and file.stat().st_size > 0
    yield Line("online features", "ok" if there else "warn", "there" if there else "none: `portrait up` makes the store")
