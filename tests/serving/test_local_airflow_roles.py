"""What each role may do, asked of a real Airflow API server with FAB's login; its users come by `portrait users`."""

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from serving import user_commands
from serving.local import airflow_home, airflow_users, doctor_stores
from serving.local.airflow_client import AirflowClient
from serving.local.airflow_roles import ROLES
from serving.local.errors import AirflowRefused, UnknownUser, UserRefused
from settings import ROOT, Settings, get_settings

#: The roles and admin; then the DAGs, as the DAG processor parses them; then the roles once more. Prints what the roles held in between.
PREPARE = """
import json
from airflow import settings
from serving.local import airflow_prepare
from sqlalchemy import text

def held():
    query = (
        "select r.name, a.name, v.name from ab_role r join ab_permission_view_role l on l.role_id = r.id "
        "join ab_permission_view p on p.id = l.permission_view_id join ab_permission a on a.id = p.permission_id "
        "join ab_view_menu v on v.id = p.view_menu_id order by 1, 2, 3"
    )
    with settings.engine.connect() as connection:
        return [list(row) for row in connection.execute(text(query))]

airflow_prepare.main()
first = held()
from types import SimpleNamespace
from airflow.cli.commands.dag_command import dag_reserialize
dag_reserialize.__wrapped__.__wrapped__(SimpleNamespace(bundle_name=None))
parsed = held()
airflow_prepare.main()
print("HELD " + json.dumps([first, parsed, held()]))
"""
FREE = {"logical_date": None, "conf": {"source": "shop", "start": "2024-01-01", "end": "2024-02-01"}}


@dataclass
class People:
    """A running Airflow; `say` gives the status of one request of one role."""

    settings: Settings
    held: list[list[list[str]]]
    passwords: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def ask(self, role: str, method: str, path: str, body: dict | None = None) -> httpx.Response:
        if role not in self.tokens:
            login = {"username": f"a-{role}", "password": self.passwords[role]}
            answer = httpx.post(f"{self.settings.airflow_url}/auth/token", json=login, timeout=60)
            self.tokens[role] = answer.json()["access_token"]
        headers = {"authorization": f"Bearer {self.tokens[role]}"}
        return httpx.request(method, f"{self.settings.airflow_url}/api/v2{path}", json=body, headers=headers, timeout=60)

    def say(self, method: str, path: str, body: dict | None = None) -> dict[str, int]:
        return {role: self.ask(role, method, path, body).status_code for role in ROLES}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    home = tmp_path_factory.mktemp("people") / "house"
    (home / "logs").mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        settings = live_in(home, port, patch)
        airflow_home.make_secrets()
        environment = {**os.environ, **airflow_home.environment()}
        prepared = subprocess.run([sys.executable, "-c", PREPARE], env=environment, cwd=home, capture_output=True, text=True, check=False)
        assert prepared.returncode == 0, prepared.stdout + prepared.stderr
        held = json.loads(next(line for line in prepared.stdout.splitlines() if line.startswith("HELD ")).removeprefix("HELD "))
        with (home / "logs" / "airflow.log").open("wb") as log:
            command = [str(Path(sys.executable).with_name("airflow")), "api-server"]
            server = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=subprocess.STDOUT)
        try:
            known = People(settings, held)
            _wait(settings, server)
            for role in ROLES:
                known.passwords[role] = airflow_users.add(settings, f"a-{role}", role)
        except BaseException:
            server.kill()
            raise
    get_settings.cache_clear()
    yield known
    server.terminate()
    server.wait(60)


@pytest.fixture
def people(running: People, monkeypatch: pytest.MonkeyPatch) -> Iterator[People]:
    """This process, too, lives in that house."""
    live_in(running.settings.home, running.settings.airflow_port, monkeypatch)
    yield running
    get_settings.cache_clear()


def live_in(home: Path, port: int, patch: pytest.MonkeyPatch) -> Settings:
    for name, value in {"HOME": str(home), "LOGIN": "fab", "AIRFLOW_PORT": str(port)}.items():
        patch.setenv(f"PORTRAIT_{name}", value)
    get_settings.cache_clear()
    return get_settings()


def _wait(settings: Settings, server: subprocess.Popen) -> None:
    begin = time.monotonic()
    while time.monotonic() - begin < 120:
        try:
            httpx.get(f"{settings.airflow_url}/api/v2/version", timeout=5).raise_for_status()
            return
        except httpx.HTTPError:
            assert server.poll() is None, (settings.home / "logs" / "airflow.log").read_text()[-3000:]
            time.sleep(0.5)
    raise AssertionError("Airflow's API server did not answer within 120 s")


def waiting(people: People, dag: str) -> str:
    """The path of a Required Action of a new run of this DAG, which waits for an answer."""
    run = people.ask("admin", "POST", f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": FREE["conf"] if dag == "campaign" else {}})
    run_id = run.json()["dag_run_id"]
    with sqlite3.connect(people.settings.home / "airflow" / "airflow.db", timeout=30) as database:
        made = database.execute(
            "insert into hitl_detail (ti_id, options, subject, multiple, params, params_input, created_at) "
            "select id, '[\"yes\", \"no\"]', 'so?', 0, '{}', '{}', '2024-01-01' from task_instance "
            "where dag_id = ? and run_id = ? and task_id = 'decide'",
            (dag, run_id),
        )
        assert made.rowcount == 1
    return f"/dags/{dag}/dagRuns/{run_id}/taskInstances/decide/-1/hitlDetails"


def allowed(*roles: str, status: int = 200) -> dict[str, int]:
    return {role: status if role in roles else 403 for role in ROLES}


@pytest.mark.slow
def test_the_roles_hold_the_table_and_keep_it_when_airflow_parses_the_dags(people: People) -> None:
    first, parsed, again = people.held
    assert first == again
    for role in ROLES.values():
        if role.permissions:
            for held in (first, parsed, again):
                assert {(action, resource) for name, action, resource in held if name == role.airflow_name} == role.permissions


@pytest.mark.slow
def test_everybody_reads_dags_runs_logs_and_assets(people: People) -> None:
    run = people.ask("admin", "POST", "/dags/score/dagRuns", FREE).json()["dag_run_id"]
    for path in ("/dags", "/dags/campaign/details", "/dags/train/dagRuns", f"/dags/score/dagRuns/{run}/taskInstances", "/assets"):
        assert people.say("GET", path) == allowed(*ROLES), path
    assert people.say("GET", "/dags/~/dagRuns/~/hitlDetails") == allowed(*ROLES)
    log = f"/dags/score/dagRuns/{run}/taskInstances/score/logs/1"
    assert people.say("GET", log) == allowed(*ROLES, status=404)  # it never ran; whoever may not read logs is refused before
    assert len(people.ask("viewer", "GET", "/dags").json()["dags"]) == 8


@pytest.mark.slow
def test_a_campaign_is_started_by_marketers_and_every_other_dag_by_operators_alone(people: People) -> None:
    assert people.say("POST", "/dags/campaign/dagRuns", FREE) == allowed("marketer", "operator", "admin")
    for dag in ("ingest", "train", "release"):
        body = {"logical_date": None, "conf": {}}
        assert people.say("POST", f"/dags/{dag}/dagRuns", body) == allowed("operator", "admin"), dag


@pytest.mark.slow
@pytest.mark.parametrize(("dag", "role"), [("campaign", "marketer"), ("release", "risk-officer")])
def test_a_required_action_is_answered_by_whom_it_concerns(people: People, dag: str, role: str) -> None:
    answer = {"chosen_options": ["yes"], "params_input": {}}
    path = waiting(people, dag)
    refused = {other: people.ask(other, "PATCH", path, answer).status_code for other in ROLES if other not in (role, "operator", "admin")}
    assert set(refused.values()) == {403}
    given = people.ask(role, "PATCH", path, answer)
    assert (given.status_code, given.json()["responded_by"]["name"]) == (200, f"a-{role}")
    for other in ("operator", "admin"):
        assert people.ask(other, "PATCH", waiting(people, dag), answer).status_code == 200


@pytest.mark.slow
def test_what_ran_is_cleared_by_operators_alone(people: People) -> None:
    run = people.ask("admin", "POST", "/dags/campaign/dagRuns", FREE).json()["dag_run_id"]
    assert people.say("POST", f"/dags/campaign/dagRuns/{run}/clear", {"dry_run": True}) == allowed("operator", "admin")
    tasks = {"dry_run": True, "dag_run_id": run}
    assert people.say("POST", "/dags/campaign/clearTaskInstances", tasks) == allowed("operator", "admin")


@pytest.mark.slow
def test_a_dag_is_paused_by_who_may_edit_it(people: People) -> None:
    stays = {"is_paused": False}
    assert people.say("PATCH", "/dags/train", stays) == allowed("operator", "admin")
    assert people.say("PATCH", "/dags/campaign", stays) == allowed("marketer", "operator", "admin")
    assert people.say("PATCH", "/dags/release", stays) == allowed("risk-officer", "operator", "admin")
    assert people.say("PATCH", "/dags?dag_id_pattern=~", stays) == allowed("operator", "admin")


@pytest.mark.slow
def test_connections_and_pools_are_seen_by_operators_and_changed_by_admins(people: People) -> None:
    assert people.say("GET", "/pools") == people.say("GET", "/connections") == allowed("operator", "admin")
    assert people.say("GET", "/variables") == allowed("admin")
    pool = {"name": "extra", "slots": 1}
    assert people.say("POST", "/pools", pool) == allowed("admin", status=201)
    connection = {"connection_id": "bank", "conn_type": "http", "password": "sentinel-of-a-bank"}
    assert people.say("POST", "/connections", connection) == allowed("admin", status=201)
    assert "sentinel-of-a-bank" not in people.ask("operator", "GET", "/connections").text


@pytest.mark.slow
def test_users_are_for_admins_and_nobody_without_a_token_reads_anything(people: People) -> None:
    url = people.settings.airflow_url
    people.ask("viewer", "GET", "/dags")
    for role in ROLES:
        people.ask(role, "GET", "/dags")
        answer = httpx.get(f"{url}/auth/fab/v1/users", headers={"authorization": f"Bearer {people.tokens[role]}"}, timeout=60)
        assert answer.status_code == (200 if role == "admin" else 403), role
    assert httpx.get(f"{url}/api/v2/dags", timeout=60).status_code == 401
    assert httpx.post(f"{url}/auth/token", json={"username": "a-admin", "password": "wrong"}, timeout=60).status_code == 401


def users(*words: str) -> Any:
    """What `portrait users ... --json` prints."""
    done = CliRunner().invoke(user_commands.users, [*words, "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_users_are_added_listed_and_removed(people: People, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("Wm2_Lx7TtK0vB4nq8Zr-\n")
    assert users("add", "ann", "--role", "viewer", "--password-file", str(file)) == {"name": "ann", "role": "viewer"}
    with AirflowClient(people.settings.airflow_url, "ann", "Wm2_Lx7TtK0vB4nq8Zr-") as ann:
        assert len(ann.dags()) == 8
    listed = {user["name"]: user for user in users("list")}
    assert (listed["ann"]["roles"], listed["ann"]["is_active"]) == (["viewer"], True) and listed["ann"]["last_login"]
    assert listed["admin"]["roles"] == listed["a-admin"]["roles"] == ["admin"]
    with pytest.raises(UserRefused, match=r"A user's name must be new\. Received 'ann', who is there"):
        users("add", "ann", "--role", "marketer")
    assert users("remove", "ann") == {"removed": "ann"}
    with pytest.raises(UnknownUser, match=r"one that `portrait users list` shows\. Received 'ann'"):
        users("remove", "ann")
    with (
        AirflowClient(people.settings.airflow_url, "ann", "Wm2_Lx7TtK0vB4nq8Zr-") as ann,
        pytest.raises(AirflowRefused, match=r"401"),
    ):
        ann.dags()
    made = users("add", "dan", "--role", "operator")
    assert len(made["password"]) == 24
    with AirflowClient(people.settings.airflow_url, "dan", made["password"]) as dan:
        assert dan.import_errors() == []


@pytest.mark.slow
def test_somebody_who_logs_in_on_the_page_changes_the_own_password_there(people: People) -> None:
    made, chosen = airflow_users.add(people.settings, "cleo", "viewer"), "Tk0_vB4nq8Zr-Wm2xLx7"
    with httpx.Client(base_url=people.settings.airflow_url, follow_redirects=True, timeout=60) as browser:
        _post(browser, "/auth/login/", username="cleo", password=made)
        assert "cleo" in browser.get("/auth/users/userinfo/").text
        _post(browser, "/auth/resetmypassword/form", password=chosen, conf_password=chosen)
    for password, status in ((made, 401), (chosen, 201)):
        asked = httpx.post(f"{people.settings.airflow_url}/auth/token", json={"username": "cleo", "password": password}, timeout=60)
        assert asked.status_code == status


def _post(browser: httpx.Client, path: str, **fields: str) -> None:
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', browser.get(path).text)
    answer = browser.post(path, data={**fields, **({"csrf_token": token[1]} if token else {})})
    assert answer.status_code == 200, answer.text


def test_a_user_needs_a_role_that_there_is_and_a_password_that_nobody_guesses(
    house: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PORTRAIT_LOGIN", "fab")
    get_settings.cache_clear()
    with pytest.raises(UserRefused, match=r"A role must be one of viewer, marketer, risk-officer, operator, admin\. Received 'king'"):
        airflow_users.add(get_settings(), "ann", "king")
    (tmp_path / "short").write_text("letmein-7")
    with pytest.raises(UserRefused, match=r"hard to guess\. The one in \S+/short has 9 characters, and 16 are the least") as refused:
        airflow_users.add(get_settings(), "ann", "viewer", tmp_path / "short")
    assert "letmein-7" not in str(refused.value)
    with pytest.raises(UserRefused, match="'admin' is the login of the house's own commands"):
        airflow_users.remove(get_settings(), "admin")


def test_a_house_with_one_login_has_no_users_to_add(house: Path) -> None:
    with pytest.raises(UserRefused, match=r"Users with roles need PORTRAIT_LOGIN=fab\. Received 'simple'"):
        airflow_users.add(get_settings(), "ann", "viewer")


def test_who_may_do_more_may_do_all_that_the_other_may() -> None:
    viewer, operator = ROLES["viewer"].permissions, ROLES["operator"].permissions
    for role in ("marketer", "risk-officer", "operator"):
        assert viewer < ROLES[role].permissions
    for role in ("marketer", "risk-officer"):  # what concerns one DAG, an operator may do to every DAG
        general = {"DAG": "DAGs", "DAG Run": "DAG Runs"}
        for action, resource in ROLES[role].permissions:
            assert (action, general.get(resource.split(":")[0], resource)) in operator


def test_the_dags_that_the_roles_name_exist_and_leave_access_to_the_roles() -> None:
    named = {resource.split(":")[1] for role in ROLES.values() for _, resource in role.permissions if ":" in resource}
    files = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "dags").glob("*.py")}
    assert named == {"campaign", "release"} <= files.keys()
    assert [name for name, text in files.items() if "access_control" in text] == []


@pytest.mark.slow
def test_the_doctor_knows_the_schema_that_this_airflow_makes(people: People) -> None:
    states = {line.check: line.state for line in doctor_stores.examine(people.settings)}
    assert (states["airflow schema"], states["airflow login schema"]) == ("ok", "ok")
