"""The files of a window: found, opened, and refused by name where a table could not be read from them.

A day's rows come from up to three folders: `<table>/ds=D/` (a source's, replaced when it delivers again), `live_events/ds=D/` (events that
the API took; nothing replaces them) and `_released/<table>/ds=D/` (rows that were fixed and released from quarantine).

Files are grouped by their exact schema, and each group is read by itself, so a file's columns and types never change what another file
means, and a day's rows are the same in whichever window it is loaded.
"""

import json
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from quality.errors import DeliveryRefused
from sources.landing import LANDING, LandingTable

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

DELIVERY_FILE = "_delivery.json"
LIVE_EVENTS = "live_events"
RELEASED = "_released"


@dataclass(frozen=True)
class DayFile:
    """One Parquet file and the day that brought it."""

    path: str
    ds: date


def roots(landing_dir: Path, table: LandingTable) -> list[Path]:
    """The folders that hold days of a table; where nothing else decides between rows of one key, a later folder's row wins."""
    live = [landing_dir / LIVE_EVENTS] if table.name == "events" else []
    return [*live, landing_dir / table.name, landing_dir / RELEASED / table.name]


def day_files(landing_dir: Path, table: LandingTable, start: date, end: date) -> list[DayFile]:
    """The table's files of the days in `[start, end)`, by day, then by folder, then by name."""
    found = [
        (ds, place, path)
        for place, root in enumerate(roots(landing_dir, table))
        for ds, folder in _days(root)
        if start <= ds < end
        for path in folder.glob("*.parquet")
    ]
    return [DayFile(str(path), ds) for ds, _, path in sorted(found)]


def held_still(landing_dir: Path, files: list[DayFile], folder: Path) -> list[DayFile]:
    """The same files as they are now, where serving may replace them by longer ones meanwhile: decisions and live events, by links in
    `folder`, or copies where that lies on another disk."""
    growing = [landing_dir / LIVE_EVENTS, landing_dir / "decisions"]
    return [_held(file, folder) if any(Path(file.path).is_relative_to(root) for root in growing) else file for file in files]


def _held(file: DayFile, folder: Path) -> DayFile:
    place = folder / f"ds={file.ds}" / Path(file.path).name
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.hardlink_to(file.path)
    except OSError:
        shutil.copyfile(file.path, place)
    return DayFile(str(place), file.ds)


def _days(root: Path) -> list[tuple[date, Path]]:
    days = []
    for folder in root.glob("ds=*"):
        try:
            days.append((date.fromisoformat(folder.name.removeprefix("ds=")), folder))
        except ValueError:
            raise DeliveryRefused(
                f"A landing folder is named ds=YYYY-MM-DD. Received {root.name}/{folder.name}. Rename it, or take it away."
            ) from None
    return days


def delivered_period(landing_dir: Path) -> tuple[date, date] | None:
    """The first and the last day of which any table has a folder."""
    days = [ds for table in LANDING.values() for root in roots(landing_dir, table) for ds, _ in _days(root)]
    return (min(days), max(days)) if days else None


def absent_tables(landing_dir: Path) -> dict[str, str]:
    """`{table: reason}` for every landing table without a folder; the reason is the source's own where it gave one.

    Raises:
        DeliveryRefused: the folder holds no landing table at all.
    """
    absent = [name for name, table in LANDING.items() if not any(root.is_dir() for root in roots(landing_dir, table))]
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


def is_not_utf8(error: Exception) -> bool:
    """True where DuckDB stopped at a text column whose bytes are not UTF-8."""
    return "not valid UTF8" in str(error)


def texts_as_bytes(files: list[DayFile], folder: Path) -> list[DayFile]:
    """The same files, where those whose texts are not UTF-8 are replaced by copies in `folder` that hold these texts as bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    copies = []
    for number, file in enumerate(files):
        table = pq.read_table(file.path, partitioning=None)
        spoiled = [name for name in table.column_names if pa.types.is_string(table.schema.field(name).type) and _is_spoiled(table[name])]
        if not spoiled:
            copies.append(file)
            continue
        for name in spoiled:
            table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.binary()))
        path = folder / f"{number}-{Path(file.path).name}"
        pq.write_table(table, path)
        copies.append(DayFile(str(path), file.ds))
    return copies


def _is_spoiled(column: "pa.ChunkedArray") -> bool:
    try:
        column.validate(full=True)
    except ValueError:
        return True
    return False
