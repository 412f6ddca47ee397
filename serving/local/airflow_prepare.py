"""Brings Airflow's database to its version and keeps this house's pools, roles and admin in it: `python -m serving.local.airflow_prepare`.

Run before Airflow starts, in the environment of `airflow_home.environment`; doing it again changes nothing.
"""

from serving.local import airflow_home, airflow_roles
from settings import get_settings


def main() -> None:
    from airflow.models.pool import Pool
    from airflow.utils.db import upgradedb

    upgradedb()
    for name, slots in airflow_home.pools().items():
        Pool.create_or_update_pool(name=name, slots=slots, description="", include_deferred=False)
    if get_settings().login == "fab":
        _keep_people()


def _keep_people() -> None:
    """The roles, and the login of the house's own commands."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    name, password = airflow_home.USER, airflow_home.password()
    with get_application_builder() as builder:
        users = builder.sm
        airflow_roles.keep(users)
        if known := users.find_user(username=name):
            users.reset_password(known.id, password)
        else:
            users.add_user(name, name, "of the house", f"{name}@localhost", users.find_role(airflow_roles.ADMIN), password)


if __name__ == "__main__":
    main()
