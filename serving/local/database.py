"""A question to a database that may be away: Postgres by its URL, or a SQLite file, which is never made by asking."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CONNECT_SECONDS = 3


class Away(Exception):
    """It does not answer, or refuses the password; the message says which and holds no secret."""


class Missing(Exception):
    """The server answers, and has no such database or table; or there is no such file."""


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """What the database answers.

    Raises:
        Away: no answer.
        Missing: no such database, table or file.
    """
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import OperationalError, ProgrammingError
    from sqlalchemy.pool import NullPool

    is_file = url.startswith("sqlite")
    if is_file and not Path(url.removeprefix("sqlite:///")).exists():
        raise Missing("no such file")
    try:
        engine = create_engine(url, poolclass=NullPool, connect_args={} if is_file else {"connect_timeout": CONNECT_SECONDS})
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]
    except (OperationalError, ProgrammingError) as error:
        said = str(error.orig)
        if "no such table" in said or "does not exist" in said:
            raise Missing("is not there") from error
        raise Away("refuses the password" if "authentication failed" in said else "does not answer") from error


def server_of(url: str) -> str:
    """Host and port, without user and password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (6379 if parts.scheme.startswith('redis') else 5432)}"


def newest_revision(folder: Path) -> str:
    """The one of Alembic's migrations in a folder that none follows; read as text, since importing them costs seconds."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.py"))]
    found = [dict(re.findall(r"^(revision|down_revision)\b[^=\n]*=\s*[\"']?(\w+)", text, flags=re.M)) for text in texts]
    [newest] = {one["revision"] for one in found if "revision" in one} - {one.get("down_revision") for one in found}
    return newest


def package_folder(package: str) -> Path:
    """Where a package lies; it is not imported, which would take seconds."""
    spec = find_spec(package)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else Path(package)
