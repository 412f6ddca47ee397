"""People who may enter Airflow, each with one role: kept by Airflow itself, and changed by its API as its own pages do.

A password is generated, or read from a file; it is never part of a command line, and Airflow keeps its hash alone.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from serving.local import airflow_home, production
from serving.local.airflow_client import AirflowClient
from serving.local.airflow_roles import ROLES
from serving.local.errors import AirflowRefused, UnknownUser, UserRefused
from settings import Settings


@dataclass(frozen=True)
class User:
    """One login. `roles` are this project's names; a role that somebody made in Airflow keeps its own."""

    name: str
    roles: tuple[str, ...]
    is_active: bool
    last_login: str | None


def add(settings: Settings, name: str, role: str, password_file: Path | None = None) -> str:
    """The password of the new user.

    Raises:
        UserRefused: no such role, a name that is taken, a password that may be guessed, or a house whose Airflow knows one login alone.
    """
    if role not in ROLES:
        raise UserRefused(f"A role must be one of {', '.join(ROLES)}. Received {role!r}.")
    password = _read(password_file) if password_file else secrets.token_urlsafe(18)
    with _airflow(settings) as airflow:
        try:
            airflow.add_user(name, ROLES[role].airflow_name, password)
        except AirflowRefused as refused:
            if refused.status == 409:
                raise UserRefused(
                    f"A user's name must be new. Received {name!r}, who is there. `portrait users list` shows all; to give another "
                    "password or role, remove and add again."
                ) from refused
            raise
    return password


def all_users(settings: Settings) -> list[User]:
    """Every user, oldest first."""
    names = {role.airflow_name: name for name, role in ROLES.items()}
    with _airflow(settings) as airflow:
        return [
            User(
                row["username"],
                tuple(names.get(role["name"], role["name"]) for role in row["roles"] or ()),
                bool(row["active"]),
                row["last_login"],
            )
            for row in airflow.users()
        ]


def remove(settings: Settings, name: str) -> None:
    """Whoever is logged in by that name is out within half a minute, for which Airflow remembers who asked.

    Raises:
        UserRefused: the house's own login.
        UnknownUser: nobody of that name.
    """
    if name == airflow_home.USER:
        raise UserRefused(f"{name!r} is the login of the house's own commands, and stays. `portrait users list` shows the others.")
    with _airflow(settings) as airflow:
        try:
            airflow.remove_user(name)
        except AirflowRefused as refused:
            if refused.status == 404:
                raise UnknownUser(f"A user must be one that `portrait users list` shows. Received {name!r}.") from refused
            raise


def _airflow(settings: Settings) -> AirflowClient:
    if settings.login != "fab":
        raise UserRefused(
            f"Users with roles need PORTRAIT_LOGIN=fab. Received {settings.login!r}, which knows one login, {airflow_home.USER!r}. Set it "
            "and run `portrait down` and `portrait up`, or make a house of the profile `services`."
        )
    return AirflowClient.of(settings)


def _read(file: Path) -> str:
    password = file.read_text(encoding="utf-8").strip()
    if fault := production.weakness(password):
        raise UserRefused(f"A password must be hard to guess. The one in {file} {fault}. Leave --password-file away to have one made.")
    return password
