"""Publishes the warehouse's marts as Parquet, a file a day: all that Feast, training and serving ever read.

dbt rebuilds every version with `created_at` after the window's start, whatever the window's end, so a feature view's partitions are
rewritten from the start on and those that no longer exist are dropped. Labels are small and rewritten whole. Each file appears at once
(written beside, then renamed), rows are sorted, and the same warehouse gives the same bytes.
"""

import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from feature_repo.contract import CREATED_AT, FEATURES_AT, Mart, marts
from feature_repo.published import SCHEMA_FILE, day_file, mart_dir
from settings import get_settings


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
    """Publishes every mart of the contract for the window `[start, end)`.

    Raises FileNotFoundError without a warehouse, LookupError where dbt has not built a mart, and ValueError where a row lacks the time
    whose day names its file or the window is empty.
    """
    if end <= start:
        raise ValueError(f"A window must end after it starts. Received [{start}, {end}). Give the day after the last one as its end.")
    warehouse = get_settings().warehouse
    if not warehouse.exists():
        raise FileNotFoundError(
            f"The warehouse must exist before marts are published. Found nothing at {warehouse}. Run ingest and features first."
        )
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return ExportReport(start, end, {mart.name: _export(connection, mart, start) for mart in marts().values()})


def _export(connection: duckdb.DuckDBPyConnection, mart: Mart, start: date) -> MartExport:
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
    rewritten = {day: rows for day, rows in days if not mart.entity or day >= start}
    _write(connection, f"select {columns} from marts.{mart.name} limit 0", mart_dir(mart.name) / SCHEMA_FILE)
    for day in rewritten:
        of_day = f"{mart.export} >= date '{day}' and {mart.export} < date '{day}' + 1"
        _write(connection, f"select {columns} from marts.{mart.name} where {of_day} order by {order}", day_file(mart.name, str(day)))
    dropped = _drop_others(mart, {str(day) for day, _ in days})
    return MartExport(sum(rewritten.values()), len(rewritten), dropped)


def _write(connection: duckdb.DuckDBPyConnection, query: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".tmp")
    connection.execute(f"copy ({query}) to '{str(beside).replace(chr(39), chr(39) * 2)}' (format parquet)")
    beside.replace(file)


def _drop_others(mart: Mart, days: set[str]) -> int:
    others = [folder for folder in sorted(mart_dir(mart.name).glob("day=*")) if folder.name.removeprefix("day=") not in days]
    for folder in others:
        shutil.rmtree(folder)
    return len(others)
