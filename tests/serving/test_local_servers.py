"""What makes a house one with servers: its `house.env`, and the services that follow from it."""

import stat
from pathlib import Path

import pytest

from serving.local import airflow_home, servers
from serving.local.errors import NotStartable
from serving.local.services import services
from settings import Settings, get_settings


@pytest.fixture
def settled(house: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PORTRAIT_PROFILE", "services")
    get_settings.cache_clear()
    settings = servers.settle(get_settings())
    monkeypatch.delenv("PORTRAIT_PROFILE")
    get_settings.cache_clear()
    return settings


def test_a_house_is_settled_once_and_known_to_every_later_command(settled: Settings) -> None:
    before = settled.house_file.read_text()
    later = get_settings()
    assert later == settled
    assert (later.profile, later.online_store, later.login) == ("services", "redis", "fab")
    assert servers.settle(later) == settled
    assert settled.house_file.read_text() == before


def test_the_environment_wins_over_the_house(settled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_BROKER_URL", "redis://elsewhere/1")
    get_settings.cache_clear()
    assert get_settings().broker_url == "redis://elsewhere/1"
    assert get_settings().warehouse_url == settled.warehouse_url


def test_passwords_lie_in_private_files_and_on_no_command_line(settled: Settings) -> None:
    for file in (settled.house_file, settled.home / "redis" / "redis.conf"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    passwords = {settled.redis.rpartition("password=")[2], settled.broker_url.split(":")[2].split("@")[0]}
    assert len(passwords) == 1
    passwords.add(settled.warehouse_url.split(":")[2].split("@")[0])
    assert all(len(password) >= 32 for password in passwords)
    told = " ".join(" ".join((*one.arguments, *one.prepare)) for one in services(settled))
    assert not [password for password in passwords if password in told]


@pytest.mark.parametrize(
    ("made_for", "asked"),
    [("services", "embedded"), ("services", "compose"), ("embedded", "services"), ("embedded", "compose")],
)
def test_a_house_keeps_its_profile(house: Path, made_for: str, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if made_for == "services":
        servers.settle(Settings(profile="services"))
    else:
        Settings().warehouse.touch()
        (house / "airflow").mkdir()
        (house / "airflow" / "airflow.db").touch()
    with pytest.raises(NotStartable, match=f"is of the profile {made_for}, and PORTRAIT_PROFILE is {asked}"):
        servers.settle(Settings(profile=asked))


def test_a_house_on_servers_that_others_keep_is_taken_up_again(house: Path) -> None:
    settings = Settings(profile="compose")
    settings.warehouse.touch()  # of its first load
    assert servers.settle(settings) is settings


def test_servers_come_first_and_every_queue_has_its_workers(settled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_GPU_WORKERS", "2")
    get_settings.cache_clear()
    found = services(get_settings())
    assert [one.name for one in found][:2] == ["postgres", "redis"]
    workers = {one.name: one.arguments for one in found if one.name.startswith("worker-")}
    assert list(workers) == ["worker-default-1", "worker-gpu-1", "worker-gpu-2"]
    assert all(arguments[arguments.index("--queues") + 1] == name.split("-")[1] for name, arguments in workers.items())
    assert airflow_home.pools() == {"warehouse": 1, "training": 2}
    assert airflow_home.environment()["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"


def test_an_embedded_house_has_neither_servers_nor_workers(house: Path) -> None:
    names = [one.name for one in services(get_settings())]
    assert not [name for name in names if name in ("postgres", "redis") or name.startswith("worker-")]
    assert airflow_home.environment()["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert airflow_home.pools() == {"warehouse": 1, "training": 1}


def test_what_the_machine_lacks_is_named_with_its_package(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_find", lambda program: None)
    monkeypatch.setattr(servers.shutil, "which", lambda program: None)
    monkeypatch.setattr(servers.os, "geteuid", lambda: 1000)
    assert [line.rpartition(" ")[2] for line in servers.missing(get_settings())] == ["postgresql", "redis-server"]


def test_root_is_told_where_postgres_cannot_pass(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house.parent.chmod(0o700)
    monkeypatch.setattr(servers.os, "geteuid", lambda: 0)
    assert any("its user cannot pass through" in line for line in servers.missing(get_settings()))
