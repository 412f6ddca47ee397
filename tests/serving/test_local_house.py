"""Choosing a house, checking the machine, and bringing services up."""

import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.local import airflow_home, house, preflight, processes
from serving.local import services as catalogue
from serving.local.errors import NotHealthy, NotStartable
from serving.local.services import Service
from settings import ROOT, get_settings


def service(port: int, *arguments: str) -> Service:
    return Service(
        "page",
        "page server",
        "page",
        arguments,
        {},
        f"http://127.0.0.1:{port}",
        lambda: preflight.is_busy("127.0.0.1", port),
        {"PORTRAIT_API_PORT": port},
    )


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def with_services(monkeypatch: pytest.MonkeyPatch, *members: Service) -> None:
    for module in (house, preflight):
        monkeypatch.setattr(module, "services", lambda settings: list(members))


def test_every_service_binds_to_the_loopback_address_and_its_own_port(house: Path) -> None:
    found = catalogue.services(get_settings())
    ports = [port for one in found for port in one.ports.values()]
    assert sorted(ports) == [5000, 6566, 8000, 8080, 8500, 8501]
    assert all("0.0.0.0" not in " ".join(one.arguments) for one in found)
    assert {one.environment["PORTRAIT_HOME"] for one in found} == {str(house)}
    assert found[0].environment["AIRFLOW__API__HOST"] == "127.0.0.1"


def test_a_source_has_a_house_of_its_own_unless_one_is_named(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _choose("movielens").home == house
    monkeypatch.delenv("PORTRAIT_HOME")
    get_settings.cache_clear()
    try:
        assert _choose("movielens").home == ROOT / "var" / "movielens"
    finally:
        monkeypatch.delenv("PORTRAIT_HOME", raising=False)


def _choose(source: str) -> Any:
    from serving.local.house import choose

    return choose(source)


def test_a_house_in_use_elsewhere_is_stopped_before_another_moves_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    var = tmp_path / "var"
    (var / "old").mkdir(parents=True)
    (var / "current").symlink_to("old")
    monkeypatch.setattr(house, "CURRENT_HOUSE", var / "current")
    processes.start(processes.Command("sleeper", (sys.executable, "-c", "import time; time.sleep(60)"), {}), var / "old")
    monkeypatch.setenv("PORTRAIT_HOME", str(var / "new"))
    get_settings.cache_clear()
    house._move_in(get_settings())
    assert processes.started(var / "old") == []
    assert (var / "current").resolve() == (var / "new").resolve()


def test_up_starts_what_does_not_answer_and_leaves_the_rest(house: Path, monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    from serving.local.house import down, status, up

    page = service(free_port, sys.executable, "-m", "http.server", str(free_port), "--bind", "127.0.0.1")
    with_services(monkeypatch, page)
    said: list[str] = []
    up(said.append)
    first = processes.find("page", house)
    up(said.append)
    try:
        assert first is not None and processes.find("page", house) == first
        assert len(said) == 1 and said[0].startswith("page server answers after ")
        assert [row["state"] for row in status(get_settings())] == ["healthy"]
    finally:
        assert down(get_settings()) == ["page"]
    assert [row["state"] for row in status(get_settings())] == ["stopped"]


@pytest.mark.parametrize(("profile", "state"), [("compose", "healthy"), ("embedded", "stopped")])
def test_a_service_in_a_container_is_known_by_its_answer_alone(
    house: Path, monkeypatch: pytest.MonkeyPatch, free_port: int, profile: str, state: str
) -> None:
    from serving.local.house import status

    with_services(monkeypatch, service(free_port))
    monkeypatch.setenv("PORTRAIT_PROFILE", profile)
    get_settings.cache_clear()
    with socket.socket() as container:
        container.bind(("127.0.0.1", free_port))
        container.listen()
        assert [row["state"] for row in status(get_settings())] == [state]
    assert [row["state"] for row in status(get_settings())] == ["stopped"]


def test_a_service_that_ends_at_once_shows_the_end_of_its_log(house: Path, monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    from serving.local.house import up

    with_services(monkeypatch, service(free_port, sys.executable, "-c", "raise SystemExit('no such table')"))
    with pytest.raises(NotHealthy, match=r"page server ended while starting\.(.|\n)*no such table"):
        up(lambda line: None)


def test_a_busy_port_is_named_with_its_setting_and_holder_before_anything_starts(
    house: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    from serving.local.house import up

    with_services(monkeypatch, service(free_port, sys.executable, "-c", "pass"))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", free_port))
        holder.listen()
        with pytest.raises(
            NotStartable, match=rf"Port {free_port} \(page server\) is in use by .+\(pid \d+.*set PORTRAIT_API_PORT to a free port"
        ):
            up(lambda line: None)
    assert processes.started(house) == []


def test_a_full_disk_and_a_wrong_python_are_told_together(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_services(monkeypatch)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 2**29})())
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
    with pytest.raises(NotStartable) as error:
        preflight.check(get_settings())
    python, disk = str(error.value).splitlines()
    assert python.startswith("Portrait needs Python 3.11 or 3.12.")
    assert disk.startswith("A house needs 2 GB of free disk.") and "0.5 GB" in disk


def test_secrets_are_made_once_for_a_house_and_readable_by_its_owner_alone(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_ADMIN_PASSWORD", "")  # `make secrets` may have written one into .env
    get_settings.cache_clear()
    assert airflow_home.environment()["AIRFLOW__CORE__FERNET_KEY"] == airflow_home.password() == ""
    assert not (house / "airflow").exists()
    airflow_home.make_secrets()
    first = airflow_home.environment()
    airflow_home.make_secrets()
    assert airflow_home.environment() == first
    kept = [first[f"AIRFLOW__{name}"] for name in ("CORE__FERNET_KEY", "API_AUTH__JWT_SECRET", "API__SECRET_KEY")]
    assert len(set(kept)) == 3 and all(len(secret) == 44 for secret in kept)
    files = [*(house / "airflow" / "secrets").iterdir(), house / "airflow" / "passwords.json"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert len(airflow_home.password()) >= 16
    assert "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS" not in first


def test_a_password_of_the_settings_is_the_houses_and_replaces_an_older_one(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("first password", "second password"):
        monkeypatch.setenv("PORTRAIT_ADMIN_PASSWORD", given)
        get_settings.cache_clear()
        assert airflow_home.password() == ("first password" if given == "second password" else given)
        airflow_home.make_secrets()
        assert airflow_home.password() == given
