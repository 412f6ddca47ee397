"""Where a house's secrets appear that no secret may: files, tables of its databases, command lines of its processes, and what was printed.

`assert leaks(home) == []` after a run on a house of any profile; `told(secrets_of(home), text)` for what a command printed.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import psutil

from serving.local import processes

#: Where each secret belongs: readable by its owner alone, and searched by nobody.
HOLDERS = (
    "house.env",
    "redis/redis.conf",
    "airflow/passwords.json",
    "airflow/secrets/*",
    "api/house_key",
    "api/session_secret",
    "secrets/*",
)
_TABLES = (
    "select table_schema, table_name from information_schema.tables where table_type = 'BASE TABLE' "
    "and table_schema not in ('pg_catalog', 'information_schema') order by 1, 2"
)


def secrets_of(home: Path) -> dict[str, str]:
    """Every secret of a house by what it is for."""
    found = {}
    for name, value in _house_file(home).items():
        if "://" in value and (password := urlsplit(value).password):
            found[f"{name}'s password"] = unquote(password)
        found |= {f"{name}'s password": option[9:] for option in value.split(",") if option.startswith("password=")}
    for file in (*(home / "airflow" / "secrets").glob("*"), home / "api" / "house_key", home / "api" / "session_secret"):
        if file.is_file():
            found[file.name] = file.read_text(encoding="utf-8").strip()
    if (passwords := home / "airflow" / "passwords.json").exists():
        found |= {f"password of {user}": password for user, password in json.loads(passwords.read_text()).items()}
    for file in (home / "secrets").glob("*.pem"):
        found[file.name] = file.read_text(encoding="utf-8").splitlines()[1]
    return found


def leaks(home: Path) -> list[str]:
    """One line for each place in which a secret stands and does not belong; never the secret itself."""
    secrets = secrets_of(home)
    return [*_in_files(home, secrets), *_in_databases(home, secrets), *_in_command_lines(home, secrets)]


def told(secrets: dict[str, str], text: str) -> list[str]:
    """The secrets that a text holds, by what they are for."""
    return [what for what, secret in secrets.items() if any(form in text for form in _forms(secret))]


def _forms(secret: str) -> set[str]:
    """As it is, in a URL, and in the hexadecimal text of bytes."""
    return {secret, quote(secret, safe=""), secret.encode().hex()}


def _in_files(home: Path, secrets: dict[str, str]) -> Iterator[str]:
    held = {file for pattern in HOLDERS for file in home.glob(pattern)}
    for file in sorted(home.rglob("*")):
        if file.is_file() and not file.is_symlink() and file not in held:
            content = file.read_bytes()
            for what, secret in secrets.items():
                if any(form.encode() in content for form in _forms(secret)):
                    yield f"{what} stands in {file.relative_to(home)}"


def _in_databases(home: Path, secrets: dict[str, str]) -> Iterator[str]:
    """Every row of every table as text: a database's own files hold long values compressed."""
    import psycopg2

    for url in dict.fromkeys(value for value in _house_file(home).values() if value.startswith("postgresql")):
        address = "postgresql://" + url.split("://", 1)[1]
        with psycopg2.connect(address) as server, server.cursor() as cursor:
            cursor.execute(_TABLES)
            for schema, table in cursor.fetchall():
                for what, secret in secrets.items():
                    held = " or ".join(["position(%s in row_::text) > 0"] * len(_forms(secret)))
                    cursor.execute(f'select count(*) from "{schema}"."{table}" as row_ where {held}', sorted(_forms(secret)))
                    if count := cursor.fetchone()[0]:
                        yield f"{what} stands in {count} rows of {urlsplit(address).path[1:]}.{schema}.{table}"
        server.close()


def _in_command_lines(home: Path, secrets: dict[str, str]) -> Iterator[str]:
    """Everybody on a machine may read them."""
    for name in processes.started(home):
        process = processes.find(name, home)
        for member in [process, *process.children(recursive=True)] if process else ():
            try:
                line = " ".join(member.cmdline())
            except psutil.NoSuchProcess:
                continue
            for what in told(secrets, line):
                yield f"{what} stands in the command line of {name}"


def _house_file(home: Path) -> dict[str, str]:
    file = home / "house.env"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {name: value for name, _, value in (line.partition("=") for line in lines)}
