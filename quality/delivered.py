"""The files a shop delivered for a window: found, opened, and refused by name where a table could not be read from them.

Files are grouped by their exact schema, and each group is read by itself, so a file's columns and types never change what another file
means, and a day's rows are the same in whichever window it is loaded.
"""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from quality.errors import DeliveryRefused
from sources.landing import LANDING, LandingTable

if TYPE_CHECKING:
    import duckdb

DELIVERY_FILE = "_delivery.json"


@dataclass(frozen=True)
class DayFile:
    """One Parquet file and the day that brought it."""

    path: str
    ds: date


def day_files(landing_dir: Path, table: LandingTable, start: date, end: date) -> list[DayFile]:
    """The table's files of the days in `[start, end)`, by day, then by name."""
    files = []
    for folder in sorted((landing_dir / table.name).glob("ds=*")):
        try:
            ds = date.fromisoformat(folder.name.removeprefix("ds="))
        except ValueError:
            raise DeliveryRefused(
                f"A landing folder is named ds=YYYY-MM-DD. Received {table.name}/{folder.name}. Rename it, or take it away."
            ) from None
        if start <= ds < end:
            files += [DayFile(str(path), ds) for path in sorted(folder.glob("*.parquet"))]
    return files


def absent_tables(landing_dir: Path) -> dict[str, str]:
    """`{table: reason}` for every landing table without a folder; the reason is the source's own where it gave one.

    Raises:
        DeliveryRefused: the folder holds no landing table at all.
    """
    absent = [name for name in LANDING if not (landing_dir / name).is_dir()]
    if len(absent) == len(LANDING):
        raise DeliveryRefused(
            f"A landing folder holds at least one table, as <table>/ds=YYYY-MM-DD/*.parquet. Received {landing_dir.name}/ without any of "
            f"{', '.join(LANDING)}. Deliver into it first, or name the right folder."
        )
    delivery = landing_dir / DELIVERY_FILE
    reasons = json.loads(delivery.read_text()).get("missing", {}) if delivery.exists() else {}
    return {name: reasons.get(name, f"no folder {name}/ in the delivery") for name in absent}


def schema_groups(connection: "duckdb.DuckDBPyConnection", table: LandingTable, files: list[DayFile]) -> list[list[str]]:
    """The files' paths, grouped by exact schema; every group has all required columns.

    Raises:
        DeliveryRefused: a file cannot be opened, or lacks a required column.
    """
    import duckdb

    try:
        groups = connection.execute(
            """
            with schemas as (
                select
                    file_name,
                    string_agg(
                        concat_ws(':', name, type, duckdb_type, converted_type, logical_type, num_children), ',' order by column_id
                    ) as signature,
                from parquet_schema(?)
                group by file_name
            )
            select list(file_name order by file_name) from schemas group by signature order by min(file_name)
            """,
            [[file.path for file in files]],
        ).fetchall()
    except duckdb.Error as error:
        raise unreadable(table, error) from error
    for (paths,) in groups:
        columns = {name.lower() for name in column_types(connection, paths)}
        for name in table.required:
            if name not in columns:
                file = Path(paths[0])
                raise DeliveryRefused(
                    f"Every file of {table.name} must have the column {name}. Received {table.name}/{file.parent.name}/{file.name} "
                    f"without it (it has {', '.join(sorted(columns))}). Add the column to that file and load again; nothing was changed."
                )
    return [paths for (paths,) in groups]


def column_types(connection: "duckdb.DuckDBPyConnection", paths: list[str]) -> dict[str, str]:
    """`{column: DuckDB type}` of one schema group, as the files spell them."""
    rows = connection.execute("describe select * from read_parquet(?, hive_partitioning = false)", [paths[:1]]).fetchall()
    return {name: kind for name, kind, *_ in rows}


def unreadable(table: LandingTable, error: Exception) -> DeliveryRefused:
    """The refusal of a file that DuckDB could not read; DuckDB's first line names the file and the fault."""
    return DeliveryRefused(
        f"Every file of {table.name} must be a whole Parquet file. Received: {str(error).splitlines()[0]}. "
        "Deliver that file again, or take it away; nothing was changed."
    )
