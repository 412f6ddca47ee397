"""Publishes the warehouse's marts as Parquet, a file a day: all that Feast, training and serving ever read.

dbt rebuilds every version with `created_at` after the window's start, whatever the window's end, so a feature view's partitions are
rewritten from the start on and those that no longer exist are dropped. Labels are small and rewritten whole. Rows are sorted, and the same
warehouse gives the same bytes.

Readers see the marts as they were or as they are, never a mixture: a *generation*, `offline_dir/.generations/<number>/<mart>/`, is made
whole beside the one in use (unchanged days are hard links), then one link is switched. The generation before stays for queries that are
reading it, until the next export begins; an export that was killed leaves one that nobody reads, removed by the next.
"""

import os
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from feature_repo.contract import CREATED_AT, FEATURES_AT, Mart, marts, views
from feature_repo.published import ROW_GROUP, SCHEMA_FILE, connect, mart_dir
from settings import get_settings

GENERATIONS = ".generations"
CURRENT = ".current"


@dataclass(frozen=True)
class MartExport:
    """What was done for one mart: rows and days written, days dropped."""

    rows: int
    days_written: int
    days_dropped: int


@dataclass(frozen=True)
class ExportReport:
    """What was published, by mart."""

    start: date
    end: date
    marts: dict[str, MartExport]

    def as_text(self) -> str:
        """One line a mart."""
        lines = [f"published the marts from {self.start} on (window to {self.end})"]
        lines += [
            f"  {name}: {done.rows} rows in {done.days_written} days, {done.days_dropped} days dropped" for name, done in self.marts.items()
        ]
        return "\n".join(lines)


def export_marts(start: date, end: date) -> ExportReport:
    """Publishes every mart of the contract for the window `[start, end)`, all at once.

    Raises FileNotFoundError without a warehouse, LookupError where dbt has not built a mart, and ValueError where a row lacks the time
    whose day names its file or the window is empty; then what was published before stands.
    """
    if end <= start:
        raise ValueError(f"A window must end after it starts. Received [{start}, {end}). Give the day after the last one as its end.")
    warehouse = get_settings().warehouse
    if not warehouse.exists():
        raise FileNotFoundError(
            f"The warehouse must exist before marts are published. Found nothing at {warehouse}. Run ingest and features first."
        )
    generation = _new_generation()
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        report = ExportReport(start, end, {mart.name: _export(connection, mart, start, generation) for mart in marts().values()})
    _switch_to(generation)
    _publish_empty_views()
    return report


def _new_generation() -> Path:
    """An empty folder for the next generation; all but the one in use are removed."""
    offline = get_settings().offline_dir.resolve()
    (offline / GENERATIONS).mkdir(parents=True, exist_ok=True)
    in_use = (offline / CURRENT).resolve()
    numbers = [0]
    for folder in (offline / GENERATIONS).iterdir():
        numbers.append(int(folder.name))
        if folder != in_use:
            shutil.rmtree(folder)
    generation = offline / GENERATIONS / f"{max(numbers) + 1:06d}"
    generation.mkdir()
    return generation


def _switch_to(generation: Path) -> None:
    """One rename switches every mart: `<mart>` links to `.current/<mart>`, and `.current` to the generation."""
    offline = generation.parent.parent
    beside = offline / f"{CURRENT}.new"
    beside.unlink(missing_ok=True)
    beside.symlink_to(generation.relative_to(offline))
    beside.replace(offline / CURRENT)
    for name in marts():
        folder = offline / name
        if folder.is_dir() and not folder.is_symlink():  # published before there were generations
            shutil.rmtree(folder)
        if not folder.is_symlink():
            folder.symlink_to(Path(CURRENT) / name)


def _publish_empty_views() -> None:
    """Views that dbt does not make, and that nobody has published yet, are readable and empty."""
    for name in views().keys() - marts().keys():
        if not (mart_dir(name) / SCHEMA_FILE).exists():
            columns = ", ".join(f"null::{column.data_type} as {column.name}" for column in views()[name].columns)
            with connect() as connection:
                _write(connection, f"select {columns} limit 0", mart_dir(name) / SCHEMA_FILE)


def _export(connection: duckdb.DuckDBPyConnection, mart: Mart, start: date, generation: Path) -> MartExport:
    present = "select count(*) from information_schema.tables where table_schema = 'marts' and table_name = ?"
    if connection.execute(present, [mart.name]).fetchone() == (0,):
        raise LookupError(
            f"Every mart must be built before it is published. Found no marts.{mart.name} in the warehouse. Run dbt build first."
        )
    days = connection.execute(f"select {mart.export}::date, count(*) from marts.{mart.name} group by 1 order by 1").fetchall()
    if without := sum(rows for day, rows in days if day is None):
        raise ValueError(f"Every row of {mart.name} must have {mart.export}. Received {without} without. Correct the dbt model.")

    columns = ", ".join(f"{column.name}::{column.data_type} as {column.name}" for column in mart.columns)
    order = f"{mart.key}, {FEATURES_AT}, {CREATED_AT}" if mart.entity else "all"
    before = {file.parent.name: file for file in mart_dir(mart.name).glob("day=*/*.parquet")}
    _write(connection, f"select {columns} from marts.{mart.name} limit 0", generation / mart.name / SCHEMA_FILE)
    rewritten = []
    for day, rows in days:
        file = generation / mart.name / f"day={day}" / "part-0.parquet"
        if mart.entity and day < start and file.parent.name in before:
            file.parent.mkdir(parents=True)
            os.link(before[file.parent.name].resolve(), file)
            continue
        of_day = f"{mart.export} >= date '{day}' and {mart.export} < date '{day}' + 1"
        _write(connection, f"select {columns} from marts.{mart.name} where {of_day} order by {order}", file)
        rewritten.append(rows)
    dropped = before.keys() - {f"day={day}" for day, _ in days}
    return MartExport(sum(rewritten), len(rewritten), len(dropped))


def _write(connection: duckdb.DuckDBPyConnection, query: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".tmp")
    connection.execute(f"copy ({query}) to '{str(beside).replace(chr(39), chr(39) * 2)}' (format parquet, row_group_size {ROW_GROUP})")
    beside.replace(file)
