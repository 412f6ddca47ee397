"""Where the published marts lie and how one is read with DuckDB: `offline_dir/<mart>/day=YYYY-MM-DD/part-0.parquet`.

Beside the days stands `schema.parquet`, which has the mart's columns and no rows, so that a mart without rows can be read like any other.
A mart's folder is a link into the newest *generation*, which `export.py` switches for all marts at once. A query resolves the link once,
when it is written, so it reads one generation from its first file to its last.
"""

from datetime import date
from pathlib import Path

import duckdb

from settings import get_settings

SCHEMA_FILE = "schema.parquet"
ROW_GROUP = 16_384  # rows: a reader holds one row group's column at a time, and histories are wide
MEMORY_LIMIT = "4GB"  # of one DuckDB connection; what does not fit goes to the house's temporary folder


def mart_dir(name: str) -> Path:
    """The folder of a mart, absolute, the same for every generation; DuckDB and Feast read every file below it."""
    return get_settings().offline_dir.resolve() / name


def is_published(name: str) -> bool:
    return (mart_dir(name) / SCHEMA_FILE).exists()


def from_clause(name: str) -> str:
    """A DuckDB table function over a published mart as it stands now. Raises FileNotFoundError where none was exported."""
    if not is_published(name):
        raise FileNotFoundError(
            f"A mart must be exported before it is read. Found nothing in {mart_dir(name)}. Run `portrait run ingest` first."
        )
    return "read_parquet('{}', hive_partitioning = false)".format(str(mart_dir(name).resolve()).replace("'", "''"))


def day_files(name: str, until: date) -> list[tuple[date, Path]]:
    """Files of a published mart as it stands now with the days that name them, newest first, none after `until`."""
    named = ((date.fromisoformat(file.parent.name.removeprefix("day=")), file) for file in mart_dir(name).resolve().glob("day=*/*.parquet"))
    return sorted(((day, file) for day, file in named if day <= until), reverse=True)


def connect() -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that spills to the house's own temporary folder."""
    temporary = get_settings().home.resolve() / "tmp" / "duckdb"
    temporary.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(temporary),
            "preserve_insertion_order": False,
        }  # queries say their order
    )
    connection.execute("set enable_progress_bar = false")  # it would go to standard output, where commands give their answers
    return connection
