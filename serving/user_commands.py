"""Commands for the people who may enter Airflow: `portrait users add`, `list`, `remove`. Light to import."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from quality.commands import AsJson, print_json

users = typer.Typer(help="People who may enter Airflow, and in which role.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The login.")]


@users.command("add")
def add_user(
    name: Name,
    role: Annotated[str, typer.Option(help="viewer, marketer, risk-officer, operator or admin.")],
    password_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Holds the password; one is made without.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let somebody in, and show the password that was made, this once."""
    from serving.local import airflow_users, house

    password = airflow_users.add(house.choose(), name, role, password_file)
    made = {} if password_file else {"password": password}
    if as_json:
        print_json({"name": name, "role": role, **made})
    else:
        print(made.get("password", f"added {name} ({role})"))


@users.command("list")
def list_users(as_json: AsJson = False) -> None:
    """Everybody, with the roles and the last login."""
    from serving.local import airflow_users, house

    found = airflow_users.all_users(house.choose())
    if as_json:
        print_json([asdict(user) for user in found])
        return
    for user in found:
        state = "" if user.is_active else ", may not log in"
        print(f"{user.name}  {', '.join(user.roles)}  last login {user.last_login or 'never'}{state}")


@users.command("remove")
def remove_user(name: Name, as_json: AsJson = False) -> None:
    """Let somebody in no more."""
    from serving.local import airflow_users, house

    airflow_users.remove(house.choose(), name)
    if as_json:
        print_json({"removed": name})
    else:
        print(f"removed {name}")
