"""The same project on a real Postgres server gives the same marts, row for row.

The server is the one that PORTRAIT_TEST_POSTGRES names (a postgresql:// URL of an empty database), else one started from the distribution's
packages: in a folder of its own, on loopback, with a password, stopped by its pid.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from quality.errors import WarehouseUrlInvalid
from quality.postgres import connect, dbt_environment
from quality.transform import build
from settings import get_settings
from tests.dbt_project.built_shop import KEYS, Mart, read_marts
from tests.dbt_project.small_shop import FIRST, LAST, deliveries, load

pytest.importorskip("psycopg2", reason="needs psycopg2, which dbt-postgres brings")


def same(left: object, right: object) -> bool:
    """Equal; numbers, also in lists, to 1e-9."""
    if isinstance(left, float) and isinstance(right, float):
        return left == pytest.approx(right, abs=1e-9, rel=1e-9)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(one, other) for one, other in zip(left, right, strict=True))
    return left == right


def test_the_url_is_taken_apart_and_never_repeated() -> None:
    assert dbt_environment("postgresql://ann:p%40ss@db.shop:5433/house") == {
        "PORTRAIT_DBT_TARGET": "postgres",
        "PORTRAIT_DBT_POSTGRES_HOST": "db.shop",
        "PORTRAIT_DBT_POSTGRES_PORT": "5433",
        "PORTRAIT_DBT_POSTGRES_USER": "ann",
        "PORTRAIT_DBT_POSTGRES_PASSWORD": "p@ss",
        "PORTRAIT_DBT_POSTGRES_DATABASE": "house",
    }
    with pytest.raises(WarehouseUrlInvalid, match=r"must read postgresql://.* Received the scheme 'mysql' and no database") as refused:
        dbt_environment("mysql://ann:sentinel@db.shop")
    assert "sentinel" not in str(refused.value)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a running server with an empty database."""
    if given := os.environ.get("PORTRAIT_TEST_POSTGRES"):
        yield given
        return
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = str(installed[-1]) if installed else shutil.which("initdb")
    if found is None:
        pytest.skip("needs Postgres: no initdb in /usr/lib/postgresql/*/bin nor on the path, and PORTRAIT_TEST_POSTGRES names no server")
    folder = Path(tempfile.mkdtemp(prefix="portrait-postgres-"))
    someone: dict = {}
    if os.geteuid() == 0:  # Postgres refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        someone = {"user": "postgres", "group": "postgres", "extra_groups": []}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    password, secret, data = secrets.token_hex(16), folder / "password", folder / "data"
    secret.write_text(password)
    secret.chmod(0o644)  # within a folder that only its owner can enter
    prepare = [found, "-D", str(data), "-U", "portrait", "-A", "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8", "--no-sync"]
    subprocess.run(prepare, check=True, capture_output=True, cwd="/", **someone)
    command = [str(Path(found).with_name("postgres")), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **someone)
    try:
        url = f"postgresql://portrait:{password}@127.0.0.1:{port}/postgres"
        _wait(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        shutil.rmtree(folder)


def _wait(url: str, process: subprocess.Popen) -> None:
    import psycopg2

    for _ in range(300):
        try:
            connect(url).close()
            return
        except psycopg2.OperationalError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
    raise AssertionError("the server did not answer within 30 s")


def built(home: Path, url: str, patch: pytest.MonkeyPatch) -> dict[str, Mart]:
    """Marts after two builds, the second of them incremental and of days that the first has already brought in another form."""
    patch.setenv("PORTRAIT_HOME", str(home))
    patch.setenv("PORTRAIT_SEQUENCE_LENGTH", "4")
    patch.setenv("PORTRAIT_WAREHOUSE_URL", url)
    get_settings.cache_clear()
    whole, end = deliveries(), LAST + timedelta(days=1)
    corrected = date(2024, 1, 15)
    without = {ds: {table: rows[::2] for table, rows in tables.items()} if ds >= corrected else tables for ds, tables in whole.items()}
    load(without, FIRST, date(2024, 1, 25))
    build(FIRST, date(2024, 1, 25))
    load(whole, corrected, end)
    build(corrected, end)
    return read_marts()


@pytest.mark.slow
def test_postgres_gives_the_same_marts_row_for_row(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_duckdb = built(tmp_path / "duckdb", "", monkeypatch)
    on_postgres = built(tmp_path / "postgres", server, monkeypatch)
    get_settings.cache_clear()
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from marts.user_features")
        assert cursor.fetchone() == (len(on_duckdb["user_features"]),)
    for mart in KEYS:
        assert on_duckdb[mart].keys() == on_postgres[mart].keys(), mart
        for key, row in on_duckdb[mart].items():
            other = on_postgres[mart][key]
            assert {name: (value, other[name]) for name, value in row.items() if not same(value, other[name])} == {}, (mart, key)
