"""The same dbt project on Postgres: where its server is, and the house's landing schema copied there.

The house loads and judges in its DuckDB file, whatever builds the marts; with `warehouse_url` set, `quality.transform.build` copies
what was loaded into the server's schema `landing`, lets dbt build there, and fetches the marts.
"""

import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from quality.errors import WarehouseUrlInvalid
from quality.warehouse import landing_columns, open_warehouse
from settings import ROOT
from sources.landing import LANDING

MART_CONTRACT = ROOT / "dbt_project" / "models" / "marts" / "_marts.yml"

#: Landing types that Postgres names differently.
_SPELLED = {"double": "double precision", "double[]": "double precision[]"}
_LOADS = {"landing_table": "varchar", "ds": "date"}


def postgres_server(url: str) -> dict[str, str | int]:
    """`host`, `port`, `user`, `password` and `database` of `postgresql://user:password@host:port/database`.

    Raises:
        WarehouseUrlInvalid: another scheme, or no host, user or database in it. The message never repeats the URL: it holds a password.
    """
    parts = urlsplit(url)
    lacking = [
        name for name, value in (("host", parts.hostname), ("user", parts.username), ("database", parts.path.strip("/"))) if not value
    ]
    if parts.scheme not in ("postgresql", "postgres") or lacking:
        raise WarehouseUrlInvalid(
            "PORTRAIT_WAREHOUSE_URL must read postgresql://user:password@host:port/database. Received the scheme "
            f"{parts.scheme or 'none'!r}{' and no ' + ', '.join(lacking) if lacking else ''}. Leave it empty for the house's DuckDB file."
        )
    return {
        "host": str(parts.hostname),
        "port": parts.port or 5432,
        "user": unquote(str(parts.username)),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path.strip("/")),
    }


def dbt_environment(url: str) -> dict[str, str]:
    """The variables by which dbt's profile finds the server; raises as `postgres_server`."""
    server = {f"PORTRAIT_DBT_POSTGRES_{name.upper()}": str(value) for name, value in postgres_server(url).items()}
    return {"PORTRAIT_DBT_TARGET": "postgres", **server}


def connect(url: str) -> Any:
    """A psycopg2 connection to the server; its `with` block is one transaction."""
    import psycopg2

    return psycopg2.connect(**postgres_server(url))


def copy_landing(url: str) -> dict[str, int]:
    """Replaces the server's schema `landing` by that of the house's warehouse, in one transaction; rows by table.

    Raises:
        WarehouseUrlInvalid: no URL of a Postgres server.
        WarehouseBusy: another process has the house's warehouse open.
    """
    tables = {name: landing_columns(table) for name, table in LANDING.items()} | {"_loads": _LOADS}
    with open_warehouse() as warehouse, connect(url) as server, server.cursor() as cursor:
        return {name: replace_table(cursor, "landing", name, columns, warehouse, f"landing.{name}") for name, columns in tables.items()}


def replace_table(cursor: Any, schema: str, name: str, columns: Mapping[str, str], connection: Any, source: str) -> int:
    """Replaces the rows of a table on the server, made where it is missing, by those of `source` on a DuckDB connection; their number."""
    with tempfile.NamedTemporaryFile("w+", suffix=".csv", encoding="utf-8") as rows:
        chosen = ", ".join(_as_text(column, kind) for column, kind in columns.items())
        connection.execute(
            f"copy (select {chosen} from {source}) to '{rows.name}' (format csv, header false, nullstr '\\N', force_quote *)"
        )
        declared = ", ".join(f'"{column}" {_SPELLED.get(kind, kind)}' for column, kind in columns.items())
        cursor.execute(f"create schema if not exists {schema}")
        cursor.execute(f"create table if not exists {schema}.{name} ({declared})")
        cursor.execute(f"truncate {schema}.{name}")
        with Path(rows.name).open(encoding="utf-8") as sent:
            cursor.copy_expert(f"copy {schema}.{name} from stdin (format csv, null '\\N')", sent)
        return int(cursor.rowcount)


def built_until(url: str) -> list[date]:
    """The first day that no build on the server has seen; none before the first build."""
    with connect(url) as server, server.cursor() as cursor:
        cursor.execute("select to_regclass('intermediate.int_horizon')")
        if cursor.fetchone() == (None,):
            return []
        cursor.execute("select horizon_at::date from intermediate.int_horizon where horizon_at is not null")
        return [day for (day,) in cursor.fetchall()]


def fetch_marts(url: str) -> dict[str, int]:
    """Replaces the marts in the house's warehouse by the server's, for the gates and the export; rows by mart.

    Raises:
        WarehouseUrlInvalid: no URL of a Postgres server.
        WarehouseBusy: another process has the house's warehouse open.
    """
    fetched = {}
    models = yaml.safe_load(MART_CONTRACT.read_text(encoding="utf-8"))["models"]
    with tempfile.TemporaryDirectory() as scratch, open_warehouse() as warehouse, connect(url) as server, server.cursor() as cursor:
        warehouse.begin()
        warehouse.execute("create schema if not exists marts")
        for model in models:
            name, file = model["name"], Path(scratch) / f"{model['name']}.csv"
            kinds = {column["name"]: column["data_type"] for column in model["columns"]}
            sent = ", ".join(f'to_json("{column}")' if kind.endswith("[]") else f'"{column}"' for column, kind in kinds.items())
            with file.open("w", encoding="utf-8") as rows:
                cursor.copy_expert(f"copy (select {sent} from marts.{name}) to stdout (format csv, null '\\N', force_quote *)", rows)
            read = ", ".join(
                f'"{column}"::json::{kind}' if kind.endswith("[]") else f'"{column}"::{kind}' for column, kind in kinds.items()
            )
            warehouse.execute(f"create or replace table marts.{name} ({', '.join(f'{column} {kind}' for column, kind in kinds.items())})")
            texts = dict.fromkeys(kinds, "varchar")
            warehouse.execute(
                f"insert into marts.{name} select {read} from read_csv($file, header = false, columns = {texts}, nullstr = '\\N', "
                "allow_quoted_nulls = false, quote = '\"', escape = '\"', delim = ',', auto_detect = false, max_line_size = 16777216)",
                {"file": str(file)},
            )
            fetched[name] = warehouse.execute(f"select count(*) from marts.{name}").fetchall()[0][0]
            file.unlink()
        warehouse.commit()
    return fetched


def _as_text(column: str, kind: str) -> str:
    """A list as Postgres writes an array; all else as DuckDB writes it."""
    if not kind.endswith("[]"):
        return f'"{column}"'
    # an item goes in quotes, with its own quotes and backslashes escaped
    quoted = "'\"' || replace(replace(item::varchar, '\\', '\\\\'), '\"', '\\\"') || '\"'"
    items = f"array_to_string([coalesce({quoted}, 'NULL') for item in \"{column}\"], ',')"
    return f"""case when "{column}" is not null then '{{' || {items} || '}}' end as "{column}" """
