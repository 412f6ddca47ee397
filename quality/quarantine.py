"""Rows in quarantine: listed without their values, shown one at a time, fixed, judged again, and released back to their day.

A row's id is a hash of its table, day and content, so it stays the same however often the day is loaded. A released row is written to
`landing/_released/<table>/ds=D/<id>.parquet`, and loading day D again brings it in; the row as it came stays in quarantine, closed.
`open_rows` and `summary` hold no value of any row; `show` does, for the operator's own terminal: neither it nor its text goes to a log.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quality.delivered import RELEASED, DayFile
from quality.errors import NotInQuarantine, ReleaseRefused
from quality.repairs import add_functions
from quality.row_rules import BURST, BURST_EVENTS, SUPERSEDED
from quality.staging import create_staged, insert_group
from quality.warehouse import open_warehouse
from settings import get_settings
from sources.landing import LANDING, LandingTable

if TYPE_CHECKING:
    import duckdb

_OPEN = "from quarantine.rows where id not in (select id from quarantine.releases)"
_ASKED = "and ($table is null or landing_table = $table) and ($rule is null or rule = $rule)"
#: Where a released file says what was changed in its row.
_FIXES = "portrait_fixes"


@dataclass(frozen=True)
class QuarantinedRow:
    """One row in quarantine; `detail` names every rule it broke. `row` is the row as delivered, only where it was asked for."""

    id: str
    table: str
    ds: date
    rule: str
    detail: str
    row: Mapping[str, Any] | None = None

    def as_text(self) -> str:
        """One line, and one for every cell of `row`."""
        head = f"{self.id}  {self.table}  {self.ds}  {self.rule}"
        cells = [f"  {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in (self.row or {}).items()]
        return "\n".join([head, *([f"  broken: {self.detail}"] if cells else []), *cells])


@dataclass(frozen=True)
class QuarantineCount:
    """How many open rows of a table broke a rule, and between which days."""

    table: str
    rule: str
    rows: int
    first_ds: date
    last_ds: date

    def as_text(self) -> str:
        return f"{self.table}  {self.rule}: {self.rows} row{'' if self.rows == 1 else 's'}, {self.first_ds} to {self.last_ds}"


@dataclass(frozen=True)
class QuarantineListing:
    """What waits, counted by table and rule, and the newest rows of it."""

    counts: tuple[QuarantineCount, ...]
    rows: tuple[QuarantinedRow, ...]

    def as_text(self) -> str:
        """One line a count, then one a row, and how many rows are not among them."""
        left = sum(count.rows for count in self.counts) - len(self.rows)
        lines = [count.as_text() for count in self.counts] + [row.as_text() for row in self.rows]
        return "\n".join([*lines, *([f"and {left} more: see them with --limit, or fewer with --table and --rule"] if left else [])])


@dataclass(frozen=True)
class ReleaseReport:
    """What was released; loading `[start, end)` again brings it in."""

    ids: tuple[str, ...]
    tables: tuple[str, ...]
    start: date
    end: date

    def as_text(self) -> str:
        rows = f"{len(self.ids)} row{'' if len(self.ids) == 1 else 's'}"
        return (
            f"Released {rows} of {', '.join(self.tables)}. Each comes in when its day is loaded again: "
            f"`portrait load {self.start} {self.end}`."
        )


def open_rows(table: str | None = None, rule: str | None = None, limit: int = 50) -> list[QuarantinedRow]:
    """Rows that wait in quarantine, newest day first, without their values."""
    with open_warehouse() as connection:
        rows = connection.execute(
            f"select id, landing_table, ds, rule, detail {_OPEN} {_ASKED} order by ds desc, landing_table, rule, id limit $limit",
            {"table": table, "rule": rule, "limit": limit},
        ).fetchall()
    return [QuarantinedRow(*row) for row in rows]


def summary(table: str | None = None, rule: str | None = None) -> list[QuarantineCount]:
    """Open rows by table and rule, most first."""
    with open_warehouse() as connection:
        return _summary(connection, table, rule)


def _summary(connection: "duckdb.DuckDBPyConnection", table: str | None = None, rule: str | None = None) -> list[QuarantineCount]:
    rows = connection.execute(
        f"select landing_table, rule, count(*) as rows, min(ds), max(ds) {_OPEN} {_ASKED} group by all "
        "order by rows desc, landing_table, rule",
        {"table": table, "rule": rule},
    ).fetchall()
    return [QuarantineCount(*row) for row in rows]


def store_counts(connection: "duckdb.DuckDBPyConnection") -> None:
    """Leaves the counts in `quality/quarantine.json` for readers that must not open the warehouse; a load ends with it."""
    path = get_settings().quality_dir / "quarantine.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps([asdict(count) for count in _summary(connection)], default=str, indent=1) + "\n")
    partial.replace(path)


def stored_counts() -> list[QuarantineCount] | None:
    """The counts as the last load left them; None before any."""
    path = get_settings().quality_dir / "quarantine.json"
    if not path.exists():
        return None
    rows = json.loads(path.read_text())
    return [QuarantineCount(**row | {name: date.fromisoformat(row[name]) for name in ("first_ds", "last_ds")}) for row in rows]


def listing(table: str | None = None, rule: str | None = None, limit: int = 50) -> QuarantineListing:
    """`summary` and `open_rows` of the same table and rule."""
    return QuarantineListing(tuple(summary(table, rule)), tuple(open_rows(table, rule, limit)))


def show(id: str) -> QuarantinedRow:
    """One row with its values, as delivered. `id` may be cut short where that names one row.

    Raises:
        NotInQuarantine: no row, or more than one, has that id.
    """
    with open_warehouse() as connection:
        return _find(connection, id)


def _find(connection: "duckdb.DuckDBPyConnection", id: str) -> QuarantinedRow:
    found = connection.execute(
        "select id, landing_table, ds, rule, detail, row_json from quarantine.rows where starts_with(id, ?) limit 2", [id]
    ).fetchall()
    if not id or len(found) != 1:
        raise NotInQuarantine(
            f"An id must name one row in quarantine. Received {id!r}, which names {'several' if found else 'none'}. "
            "`portrait quarantine list` shows the ids."
        )
    id, table, ds, rule, detail, row_json = found[0]
    return QuarantinedRow(id, table, ds, rule, detail, json.loads(row_json))


def release(ids: Sequence[str], fixes: Mapping[str, str | None]) -> ReleaseReport:
    """Puts `fixes` into every row named and hands them in again for their days; all of them or none.

    Releasing a row a second time replaces what was released before.

    Raises:
        NotInQuarantine: no row, or more than one, has one of the ids.
        ReleaseRefused: a fix names a column that the table lacks, or a row still breaks a rule or would be superseded again.
        WarehouseBusy: another process has the warehouse open.
    """
    landing_dir = get_settings().landing_dir
    with open_warehouse() as connection, tempfile.TemporaryDirectory(dir=landing_dir, prefix=".release-") as folder:
        rows = [_find(connection, id) for id in dict.fromkeys(ids)]
        if not rows:
            raise NotInQuarantine("A release names at least one row. Received no id. `portrait quarantine list` shows the ids.")
        for row in rows:
            _refuse_where_it_loses_again(row, fixes)
        written = [_write_fixed(row, fixes, Path(folder)) for row in rows]
        add_functions(connection)
        for row, path in zip(rows, written, strict=True):
            _refuse_where_broken(connection, row, path)
        files = []
        for row, path in zip(rows, written, strict=True):
            target = landing_dir / RELEASED / row.table / f"ds={row.ds}" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            files.append(DayFile(str(target), row.ds))
        remember_releases(connection, files)
    days = [row.ds for row in rows]
    tables = tuple(sorted({row.table for row in rows}))
    return ReleaseReport(tuple(row.id for row in rows), tables, min(days), max(days) + timedelta(days=1))


def _write_fixed(row: QuarantinedRow, fixes: Mapping[str, str | None], folder: Path) -> Path:
    """The row with its fixes as a landing file; every cell stays the text it was, and is read as any delivered text is."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = LANDING[row.table]
    cells = dict(row.row or {})
    covariates = json.loads(cells.pop("covariates", None) or "{}") if table.free_prefix else {}
    for name, value in fixes.items():
        if name in table.names:
            cells[name] = value
        elif table.free_prefix and name.startswith(table.free_prefix):
            covariates[name] = value
        else:
            raise ReleaseRefused(
                f"A fix names a column of {row.table}: {', '.join(table.names)}. Received {name!r}. Nothing was released; name one of "
                "these."
            )
    path = folder / f"{row.id}.parquet"
    content = pa.Table.from_pylist(
        [{name: cells.get(name) for name in table.names}], schema=pa.schema([(n, pa.string()) for n in table.names])
    )
    for name, value in covariates.items():
        content = content.append_column(name, pa.array([value]))
    pq.write_table(content.replace_schema_metadata({_FIXES: json.dumps(dict(fixes), sort_keys=True)}), path)
    return path


def _refuse_where_it_loses_again(row: QuarantinedRow, fixes: Mapping[str, str | None]) -> None:
    """A row that gave way to a later `received_at` of the same key and day, or one of a burst, would be refused again, and nobody would see
    it any more."""
    if row.rule == BURST and not {"occurred_at", "user_id"} & set(fixes):
        raise ReleaseRefused(
            f"A row of a burst comes in only with another occurred_at or user_id. Received {row.id}, one of more than {BURST_EVENTS:,} "
            "events of one user in one second. Nothing was released; set one of these too, or deliver the day again with true times."
        )
    deciding = ("received_at", *LANDING[row.table].key)
    if row.rule == SUPERSEDED and "received_at" in LANDING[row.table].names and not set(deciding) & set(fixes):
        raise ReleaseRefused(
            f"A superseded row comes in only with another {' or '.join(deciding)}. Received {row.id}, to which one of the same key with a "
            "later received_at was preferred. Nothing was released; set one of these too, such as --set received_at=TIME."
        )


def _refuse_where_broken(connection: "duckdb.DuckDBPyConnection", row: QuarantinedRow, path: Path) -> None:
    broken = _broken_rules(connection, LANDING[row.table], DayFile(str(path), row.ds))
    if broken:
        raise ReleaseRefused(
            f"A row released from quarantine must keep every rule of {row.table}. Received {row.id}, which still breaks "
            f"{', '.join(broken)}. Nothing was released; fix these columns too."
        )


def _broken_rules(connection: "duckdb.DuckDBPyConnection", table: LandingTable, file: DayFile) -> list[str]:
    """The names of the rules that the one row of `file` breaks."""
    from quality.delivered import column_types

    connection.execute(
        "create or replace temp table delivered_files as select ? as path, ?::date as ds, 0 as file_number", [file.path, file.ds]
    )
    connection.execute(create_staged(table))
    connection.execute(insert_group(table, column_types(connection, [file.path])), [[file.path]])
    return connection.execute("select broken from staged").fetchall()[0][0] or []


def remember_releases(connection: "duckdb.DuckDBPyConnection", files: Sequence[DayFile]) -> None:
    """Notes in `quarantine.releases` which of `files` are released rows, so that a new warehouse knows them from the files alone."""
    for file in files:
        path = Path(file.path)
        if path.parent.parent.parent.name == RELEASED:
            connection.execute("delete from quarantine.releases where id = ?", [path.stem])
            connection.execute(
                """
                insert into quarantine.releases
                select $id, $ds, (select decode(value) from parquet_kv_metadata($path) where decode(key) = $fixes)
                """,
                {"id": path.stem, "ds": file.ds, "path": file.path, "fixes": _FIXES},
            )
