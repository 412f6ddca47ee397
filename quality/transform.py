"""Landing tables to marts: `build` runs dbt on the warehouse and reports what it did.

dbt runs as a process of its own (it cannot be run twice in one) and in a fresh target folder, because what an interrupted run left
behind would mislead the next one, and dies with the process that asked for it. A build that does not end well leaves a note of its window,
so that the next starts at least as early.

A database's message may quote a row, so it goes into no error and no log: the full text stays in the attempt's folder, beside the
warehouse, until the next build.
"""

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from quality.errors import TransformFailed
from quality.postgres import built_until, copy_landing, dbt_environment, fetch_marts
from quality.warehouse import check_window, open_warehouse
from settings import ROOT, get_settings
from sources.durable import replace_text

PROJECT = ROOT / "dbt_project"

#: Events of one part of a build, by gigabyte of the warehouse's memory (two models at a time take 1.3 GB for a million).
EVENTS_PER_GB = 500_000


@dataclass(frozen=True)
class BuildReport:
    """What one build did: seconds of every model, rows of every mart (all of it, not only the window's), and how many tests passed."""

    start: date
    end: date
    models: dict[str, float]
    rows: dict[str, int]
    tests_passed: int
    seconds: float

    def as_text(self) -> str:
        """One line for the build, then one for each mart."""
        head = f"{self.start} to {self.end}: {len(self.models)} models built, {self.tests_passed} tests passed in {self.seconds:.1f} s"
        return "\n".join([head, *(f"{name:<24}{rows:>12,} rows" for name, rows in self.rows.items())])


def build(start: date, end: date, full_refresh: bool = False) -> BuildReport:
    """Brings staging, intermediate and marts up to date after the landing days `[start, end)` were loaded, and tests them.

    Every version that became known after `start` (or after the newest day of the last build, where that is earlier) is rebuilt, up to the
    newest day loaded; with `full_refresh`, all of them. The rows are the same either way.

    Raises:
        WindowInvalid: the window holds no day.
        WarehouseBusy: another process has the warehouse open.
        WarehouseUrlInvalid: `warehouse_url` names no Postgres server.
        TransformFailed: a model or test failed; the message names each with its error.
    """
    check_window(start, end)
    began = time.monotonic()
    unfinished = _dbt_home() / "unfinished"
    never_built = _never_built()
    first = min([start, *never_built, *([date.fromisoformat(unfinished.read_text())] if unfinished.exists() else [])])
    unfinished.write_text(first.isoformat())
    parts = parts_from(first if never_built and not full_refresh else date.min)
    variables = {"window_start": first.isoformat(), "parts": parts, "sequence_length": get_settings().sequence_length}
    arguments = ["--vars", json.dumps(variables)]
    if url := get_settings().warehouse_url:
        copy_landing(url)
    results = _run_dbt("build", [*arguments, *(["--full-refresh"] if full_refresh else [])])
    if url:
        fetch_marts(url)
    unfinished.unlink()
    return BuildReport(
        start=start,
        end=end,
        models={_name(result): result["execution_time"] for result in results if result["unique_id"].startswith("model.")},
        rows=_mart_rows(),
        tests_passed=sum(result["status"] == "pass" for result in results),
        seconds=time.monotonic() - began,
    )


def _never_built() -> list[date]:
    """The first day that no build has seen; none before the first build. Opens the warehouse, so that the landing tables stand."""
    with open_warehouse() as warehouse:
        if url := get_settings().warehouse_url:
            return built_until(url)
        there = "select 1 from information_schema.tables where table_schema = 'intermediate' and table_name = 'int_horizon'"
        if warehouse.execute(there).fetchone() is None:
            return []
        days = warehouse.execute("select horizon_at::date from intermediate.int_horizon where horizon_at is not null").fetchall()
        return [day for (day,) in days]


def parts_from(first: date) -> int:
    """In how many parts to build what changes from the day `first` on, so that the histories of one part's users fit the memory."""
    memory = get_settings().warehouse_memory
    gigabytes = float(memory[:-2]) / (1000 if memory.endswith("MB") else 1)
    changing = " or ".join(f"ds between date '{first}' - {days} and newest - {days}" for days in (0, 7, 30, 90))  # a window's edges
    with open_warehouse() as warehouse:
        events = warehouse.execute(f"""
            select count(*) from landing.events where user_id in (
                select user_id from landing.events cross join (select max(ds) as newest from landing.events) where {changing}
            )
        """).fetchall()[0][0]
    return max(1, math.ceil(events / (gigabytes * EVENTS_PER_GB)))


def document() -> Path | None:
    """Writes dbt's documentation of this warehouse as one page, `dbt/docs/static_index.html`; None where the page there is of the same
    project. It is a description of tables, columns and tests: no row of a table stands in it, and a load changes nothing of it.

    Raises as `build` does.
    """
    page = _dbt_home() / "docs" / "static_index.html"
    state = page.with_name("project.sha256")
    project = _project_hash()
    if page.exists() and state.exists() and state.read_text() == project:
        return None
    attempt = _dbt_home() / "docs.new"
    shutil.rmtree(attempt, ignore_errors=True)
    _run_dbt("docs", ["generate", "--static"], attempt)
    page.parent.mkdir(exist_ok=True)
    (attempt / page.name).replace(page)
    replace_text(state, project)
    shutil.rmtree(attempt)
    return page


def _project_hash() -> str:
    files = sorted(path for path in PROJECT.rglob("*") if path.suffix in (".sql", ".yml") and "target" not in path.parts)
    return hashlib.sha256(
        "".join(f"{path.relative_to(PROJECT)}\n{path.read_text(encoding='utf-8')}" for path in files).encode()
    ).hexdigest()


def _dbt_home() -> Path:
    folder = get_settings().home / "dbt"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run_dbt(command: str, arguments: list[str], target: Path | None = None) -> list[dict]:
    """The results of one dbt command, one dict a node, as dbt writes them to `run_results.json`."""
    settings = get_settings()
    attempts = _dbt_home() / "attempts"
    shutil.rmtree(attempts, ignore_errors=True)  # one process at a time has the warehouse, so nobody reads the last one's
    attempts.mkdir()
    attempt = Path(tempfile.mkdtemp(prefix=f"{command}-", dir=attempts))
    target = target or attempt
    environment = os.environ | {
        "PORTRAIT_DBT_WAREHOUSE": str(settings.warehouse),
        "PORTRAIT_DBT_THREADS": str(settings.dbt_threads),
        "PORTRAIT_DBT_MEMORY": settings.warehouse_memory,
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        **(dbt_environment(settings.warehouse_url) if settings.warehouse_url else {}),
    }
    done = subprocess.run(
        [
            *("setpriv", "--pdeathsig", "KILL"),  # without its parent dbt would go on, and hold the warehouse's lock
            *(str(Path(sys.executable).with_name("dbt")), "--no-use-colors", "--no-version-check", command, *arguments),
            *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
            *("--target-path", str(target), "--log-path", str(attempt)),
        ],
        env=environment,
        capture_output=True,
        text=True,
    )
    written = target / "run_results.json"
    results = json.loads(written.read_text())["results"] if written.exists() else []
    if done.returncode:
        raise TransformFailed(_failure(results, done.stdout + done.stderr, attempt.relative_to(settings.home)))
    return results


def _failure(results: list[dict], output: str, attempt: Path) -> str:
    """What failed, why, and the way out."""
    failed = [f"{_name(result)}: {_without_values(result)}" for result in results if result["status"] in ("error", "fail")]
    is_before_any_row = not results and " START " not in output
    itself = output.strip()[-2000:] if is_before_any_row else "ended in the middle (text withheld: it may quote a row)"
    what = "; ".join(failed) or f"dbt itself: {itself}"
    return (
        f"Every dbt model and test must pass. Received {what}. Correct its cause and build the same window again. "
        f"The full text is in {attempt}/dbt.log of the house until then."
    )


def _without_values(result: dict) -> str:
    """dbt's own words, which are of counts, columns and fixtures; of a database's only the kind of error."""
    message = str(result["message"])
    if result["status"] == "fail" or message.startswith("Compilation Error"):
        return " ".join(message.split())
    kinds = [kind for line in message.splitlines()[:2] for kind in re.findall(r"^\s*((?:[A-Z]\w+ )+Error)(?: in |: )", line)]
    return f"{', '.join(kinds)} (text withheld: it may quote a row)".lstrip()


def _name(result: dict) -> str:
    """`user_features` of `model.portrait.user_features`; `test_x` of `unit_test.portrait.model.test_x`."""
    parts = result["unique_id"].split(".")
    return parts[3] if parts[0] == "unit_test" else parts[2]


def _mart_rows() -> dict[str, int]:
    with open_warehouse() as warehouse:
        marts = warehouse.execute("select table_name from information_schema.tables where table_schema = 'marts' order by 1").fetchall()
        return {mart: warehouse.execute(f"select count(*) from marts.{mart}").fetchall()[0][0] for (mart,) in marts}
