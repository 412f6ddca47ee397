"""A house with servers starts only with users and with secrets that nobody guesses, and never says what a bad one is."""

import base64
import os
from pathlib import Path

import pytest

from serving import keys
from serving.local import airflow_home, house, preflight, production
from serving.local.commands import service
from serving.local.errors import NotStartable
from settings import Settings, get_settings

STRONG = "q8Zr-Wm2_Lx7TtK0vB4n"
SHORT = "Zk9-tw_8Qm"


def on_servers(monkeypatch: pytest.MonkeyPatch, password: str = STRONG, **values: str) -> Settings:
    server = f"postgresql+psycopg2://portrait:{password}@127.0.0.1:5433"
    given = {
        "PROFILE": "services",
        "LOGIN": "fab",
        "AIRFLOW_DATABASE_URL": f"{server}/airflow",
        "MLFLOW_DATABASE_URL": f"{server}/mlflow",
        "REGISTRY_URL": f"{server}/feast",
        "WAREHOUSE_URL": f"postgresql://portrait:{password}@127.0.0.1:5433/warehouse",
        "ONLINE_STORE": "redis",
        "REDIS": f"127.0.0.1:6380,db=0,password={password}",
        "BROKER_URL": f"redis://:{password}@127.0.0.1:6380/1",
    }
    for name, value in (given | values).items():
        monkeypatch.setenv(f"PORTRAIT_{name}", value)
    get_settings.cache_clear()
    return get_settings()


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("", "is empty"),
        (SHORT, "has 10 characters, and 16 are the least"),
        ("airflowairflowairflow", "is a well-known default"),
        ("Change-Me-Password-1", "is a well-known default"),
        ("postgres-admin-12345678", "is a well-known default"),
        ("46BKJoQYlPPOexq0OhDZnIlNepKFf87WFwLbfzqDDho=", "is a well-known default"),
        ("abababababababababab", "repeats 2 characters, and 6 different ones are the least"),
    ],
)
def test_a_secret_that_may_be_guessed_is_told_why(secret: str, words: str) -> None:
    assert production.weakness(secret) == words


def test_secrets_that_the_house_makes_are_never_called_weak(house: Path) -> None:
    for number in range(300):
        assert production.weakness(airflow_home.secrets.token_urlsafe(12)) is None, number
        assert production.weakness(os.urandom(16).hex()) is None, number


def test_a_house_of_files_is_asked_for_nothing(house: Path) -> None:
    assert production.problems(get_settings()) == []


def test_a_house_with_servers_and_strong_secrets_may_start(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = on_servers(monkeypatch)
    assert production.problems(settings) == []
    airflow_home.make_secrets()
    keys.make_secrets(settings)
    for group in ("airflow", "api", "feast", "mlflow"):
        assert production.problems(settings, group) == []


@pytest.mark.parametrize("profile", ["services", "compose"])
@pytest.mark.parametrize("secret", ["", "airflow", "changeme", SHORT, "adminadminadminadmin"])
def test_every_secret_that_the_settings_name_is_judged_and_never_repeated(
    house: Path, monkeypatch: pytest.MonkeyPatch, profile: str, secret: str
) -> None:
    found = production.problems(on_servers(monkeypatch, secret, PROFILE=profile, ADMIN_PASSWORD=secret))
    named = {"AIRFLOW_DATABASE_URL", "MLFLOW_DATABASE_URL", "REGISTRY_URL", "WAREHOUSE_URL", "BROKER_URL", "REDIS"}
    assert {line.split()[3].removeprefix("PORTRAIT_") for line in found if line.startswith("The password in")} == named
    assert len(found) == len(named) + bool(secret)
    assert all(line.count("\n") == 0 for line in found)
    if secret in (SHORT, "changeme", "adminadminadminadmin"):
        assert not any(secret in line for line in found)


@pytest.mark.parametrize("file", ["airflow/secrets/fernet_key", "airflow/secrets/jwt_secret", "api/house_key", "api/session_secret"])
@pytest.mark.parametrize("secret", ["", SHORT, "changemechangeme"])
def test_every_secret_of_the_house_is_judged_and_never_repeated(
    house: Path, monkeypatch: pytest.MonkeyPatch, file: str, secret: str
) -> None:
    settings = on_servers(monkeypatch)
    airflow_home.make_secrets()
    keys.make_secrets(settings)
    (house / file).write_text(secret)
    with pytest.raises(
        NotStartable, match=rf"(is empty|are the least|well-known default)\. Remove {house / file}; `portrait up`"
    ) as refused:
        production.check(settings)
    assert len(str(refused.value).splitlines()) == 1
    assert not secret or secret not in str(refused.value)


def test_a_fernet_key_that_is_none_is_found_before_airflow_fails_on_it(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = on_servers(monkeypatch)
    airflow_home.make_secrets()
    (house / "airflow" / "secrets" / "fernet_key").write_text(base64.urlsafe_b64encode(os.urandom(20)).decode())
    with pytest.raises(NotStartable, match="Airflow's fernet key must be 32 bytes in base64"):
        production.check(settings)


def test_one_login_for_everybody_and_doors_without_a_password_are_refused(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = on_servers(monkeypatch, LOGIN="simple")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    monkeypatch.setenv("AIRFLOW__FAB__AUTH_ROLE_PUBLIC", "Admin")
    simple, all_admins, public = production.problems(settings)
    assert "PORTRAIT_LOGIN is simple" in simple and simple.endswith("Set PORTRAIT_LOGIN=fab.")
    assert all_admins.endswith("Unset AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS.")
    assert public.endswith("Unset AIRFLOW__FAB__AUTH_ROLE_PUBLIC.")


def test_up_prepare_and_service_refuse_before_anything_is_made(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = on_servers(monkeypatch, "changeme", PROFILE="compose")
    for refuses in (lambda: preflight.check(settings), lambda: prepare(settings), lambda: service("airflow-scheduler")):
        with pytest.raises(NotStartable, match="The password in PORTRAIT_WAREHOUSE_URL has 8 characters"):
            refuses()
    assert list(house.iterdir()) == []


def prepare(settings: Settings) -> None:
    house.prepare(settings)


def test_a_service_does_not_start_in_a_house_that_nobody_prepared(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_servers(monkeypatch, PROFILE="compose")
    with pytest.raises(NotStartable, match="Airflow's fernet key is empty"):
        service("airflow-scheduler")
    with pytest.raises(NotStartable, match="The web page's session secret is empty"):
        service("api")


def test_a_service_is_asked_for_what_it_is_told_and_for_nothing_of_another(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container of Feast's knows the registry and Redis alone."""
    given = dict.fromkeys(("AIRFLOW_DATABASE_URL", "MLFLOW_DATABASE_URL", "WAREHOUSE_URL", "BROKER_URL"), "")
    settings = on_servers(monkeypatch, PROFILE="compose", LOGIN="simple", **given)
    assert production.problems(settings, "feast") == []
    assert production.problems(settings, "airflow")[0].endswith("Set PORTRAIT_LOGIN=fab.")
    redis = production.problems(on_servers(monkeypatch, PROFILE="compose", LOGIN="simple", **given, REDIS="cache:6379,db=0"), "feast")
    assert redis == ["The password in PORTRAIT_REDIS is empty. Give Redis another one (requirepass), and name it there."]
