"""The finder of leaked secrets finds one that was planted, wherever a house may let it slip."""

import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import pytest

from serving import keys
from serving.local import airflow_home, processes
from settings import get_settings
from tests.end_to_end.secrets_of import leaks, secrets_of, told
from tests.serving.servers_house import live_in, running_servers


def furnished(house: Path) -> dict[str, str]:
    airflow_home.make_secrets()
    keys.make_secrets(get_settings())
    return secrets_of(house)


def test_a_house_that_keeps_its_secrets_has_no_leak(house: Path) -> None:
    secrets = furnished(house)
    assert secrets.keys() == {"fernet_key", "api_secret_key", "jwt_secret", "house_key", "session_secret", "password of admin"}
    assert all(len(secret) >= 16 for secret in secrets.values())
    assert leaks(house) == []


@pytest.mark.parametrize("file", ["logs/api.log", "airflow/logs/dag_id=train/attempt=1.log", "quality/docs/index.html", "notes"])
def test_a_secret_in_a_file_is_found_and_not_repeated(house: Path, file: str) -> None:
    secret = furnished(house)["fernet_key"]
    (house / file).parent.mkdir(parents=True, exist_ok=True)
    (house / file).write_bytes(b"\x00 key=" + secret.encode() + b"\n")
    assert leaks(house) == [f"fernet_key stands in {file}"]


def test_a_secret_in_what_was_printed_is_found_in_every_form() -> None:
    secrets = {"database": "a/b=c-123456789", "other": "zzz"}
    for form in ("a/b=c-123456789", "a%2Fb%3Dc-123456789", b"a/b=c-123456789".hex()):
        assert told(secrets, f'{{"url": "{form}"}}') == ["database"]
    assert told(secrets, "nothing") == []


def test_a_secret_on_a_command_line_is_found(house: Path) -> None:
    key = furnished(house)["house_key"]
    started = processes.start(processes.Command("page", (sys.executable, "-c", "import time; time.sleep(60)", key), {}), house)
    try:
        while key not in started.cmdline():  # until it has become its own program, its command line is ours
            time.sleep(0.05)
        assert leaks(house) == ["house_key stands in the command line of page"]
    finally:
        processes.stop(["page"], house)


@pytest.mark.slow
def test_a_secret_in_a_table_is_found_on_a_house_whose_servers_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_servers() as environment:
        settings = live_in(environment, monkeypatch)
        secrets = secrets_of(settings.home)
        assert {what.removesuffix("'s password") for what in secrets} >= {"PORTRAIT_WAREHOUSE_URL", "PORTRAIT_REDIS", "PORTRAIT_BROKER_URL"}
        assert leaks(settings.home) == []
        shown = subprocess.run([sys.executable, "-m", "cli", "status", "--json"], capture_output=True, text=True, check=False)
        assert '"postgres"' in shown.stdout and told(secrets, shown.stdout + shown.stderr) == []
        rendered = "x" * 5000 + secrets["PORTRAIT_REDIS's password"]  # long enough for Postgres to compress it
        with psycopg2.connect(settings.airflow_database_url.replace("+psycopg2", "")) as server, server.cursor() as cursor:
            cursor.execute("create table rendered_fields (fields json)")
            cursor.execute("insert into rendered_fields values (to_json(%s::text))", (rendered,))
        server.close()
        assert f"{_redis(secrets)} stands in 1 rows of airflow.public.rendered_fields" in leaks(settings.home)
    get_settings.cache_clear()


def _redis(secrets: dict[str, str]) -> str:
    return next(what for what in secrets if what.startswith("PORTRAIT_REDIS"))
