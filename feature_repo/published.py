"""Where the published marts lie and how one is read with DuckDB: `offline_dir/<mart>/day=YYYY-MM-DD/part-0.parquet`.

Beside the days stands `schema.parquet`, which has the mart's columns and no rows, so that a mart without rows can be read like any other.
"""

from pathlib import Path

from settings import get_settings

SCHEMA_FILE = "schema.parquet"


def mart_dir(name: str) -> Path:
    """The folder of a mart, absolute; DuckDB and Feast read every file below it."""
    return get_settings().offline_dir.resolve() / name


def day_file(name: str, day: str) -> Path:
    return mart_dir(name) / f"day={day}" / "part-0.parquet"


def from_clause(name: str) -> str:
    """A DuckDB table function over a published mart. Raises FileNotFoundError where none was exported."""
    if not (mart_dir(name) / SCHEMA_FILE).exists():
        raise FileNotFoundError(
            f"A mart must be exported before it is read. Found nothing in {mart_dir(name)}. Run feature_repo.export.export_marts first."
        )
    return "read_parquet('{}', hive_partitioning = false)".format(str(mart_dir(name)).replace("'", "''"))
