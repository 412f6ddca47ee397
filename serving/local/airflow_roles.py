"""What each role may do in Airflow, in the actions and resources of its FAB login; `keep` writes the table into Airflow's database.

viewer ⊂ marketer, risk-officer ⊂ operator ⊂ admin. What a role may do to one DAG alone stands on `DAG:<dag>` and `DAG Run:<dag>`: Airflow's
own parsing of the DAGs leaves that as it is, because no DAG here declares an `access_control`. Nothing heavy is imported.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Permission = tuple[str, str]

READ, CREATE, EDIT, MENU = "can_read", "can_create", "can_edit", "menu_access"

#: Airflow's own role, which holds every permission there is; all others are made and kept here.
ADMIN = "Admin"


@dataclass(frozen=True)
class Role:
    """`airflow_name` is what Airflow calls it; `permissions` are all that it has, none where Airflow itself keeps them."""

    airflow_name: str
    meaning: str
    permissions: frozenset[Permission] = frozenset()


def _all(action: str, *resources: str) -> frozenset[Permission]:
    return frozenset((action, resource) for resource in resources)


def _trigger(dag: str) -> frozenset[Permission]:
    return _change(dag) | _all(CREATE, f"DAG Run:{dag}")


def _change(dag: str) -> frozenset[Permission]:
    """Pause it, and with `ANSWER` answer its Required Actions: Airflow asks for the right to edit the DAG."""
    return _all(EDIT, f"DAG:{dag}")


VIEW = (
    _all(READ, "Website", "DAGs", "DAG Code", "DAG Dependencies", "DAG Versions", "DAG Warnings", "ImportError", "Cluster Activity")
    | _all(READ, "DAG Runs", "Task Instances", "Task Logs", "HITL Detail", "Assets", "Asset Aliases")
    | _all(MENU, "DAGs", "Assets", "HITL Detail", "Documentation")
    | {(action, resource) for action in (READ, EDIT) for resource in ("My Password", "My Profile")}
)
ANSWER = _all(EDIT, "HITL Detail")
OPERATE = (
    _all(CREATE, "DAG Runs", "Task Instances", "Assets")
    | _all(EDIT, "DAGs", "DAG Runs", "Task Instances", "HITL Detail")
    | _all(READ, "Connections", "Pools", "XComs", "Jobs", "Audit Logs")
    | _all(MENU, "Connections", "Pools", "XComs", "Jobs", "Audit Logs")
)

ROLES = {
    "viewer": Role("viewer", "reads DAGs, runs, logs and assets", VIEW),
    "marketer": Role("marketer", "viewer; starts the DAG campaign and answers its Required Actions", VIEW | ANSWER | _trigger("campaign")),
    "risk-officer": Role(
        "risk-officer",
        "viewer; answers the Required Actions of the DAG release: whether a model's new version is for all users",
        VIEW | ANSWER | _change("release"),
    ),
    "operator": Role(
        "operator", "starts, pauses and clears every DAG, answers every Required Action, reads pools and connections", VIEW | OPERATE
    ),
    "admin": Role(ADMIN, "everything, users and connections included"),
}


def keep(security: Any) -> None:
    """Every role with exactly the permissions of the table, by Airflow's FAB security manager. Doing it again changes nothing."""
    for role in ROLES.values():
        if role.permissions:
            _keep(security, role.airflow_name, role.permissions)


def _keep(security: Any, name: str, permissions: Iterable[Permission]) -> None:
    role = security.find_role(name) or security.add_role(name)
    kept = set(permissions)
    for permission in list(role.permissions):
        pair = (permission.action.name, permission.resource.name)
        if pair in kept:
            kept.remove(pair)
        else:
            security.remove_permission_from_role(role, permission)
    for action, resource in sorted(kept):
        security.add_permission_to_role(role, security.create_permission(action, resource))
