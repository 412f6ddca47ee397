"""The gates: `check("landing", start, end)` and `check("marts", start, end)` let nothing pass to the next stage while a rule is broken.

Great Expectations suites run as SQL in the warehouse. Results are stored before anything is raised. A table that the shop did not deliver
is skipped by name, with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

from quality.errors import GateFailed
from quality.results import GateReport, described, render_docs, rule_results, store_report, without_values
from quality.warehouse import check_window, open_warehouse
from settings import get_settings
from sources.landing import LANDING

if TYPE_CHECKING:
    import duckdb
    from great_expectations import ExpectationSuite

Stage = Literal["landing", "marts"]

#: Counts only: no value of a row may reach a result, a log or a page.
_COUNTS_ONLY = {"result_format": "BASIC", "exclude_unexpected_values": True, "partial_unexpected_count": 0}

_KNOWN_USERS = "select * from landing.events where user_id is not null"
#: What must make rows in a mart: `(landing tables, the rows in SQL)`. An empty mart is skipped only where there are none.
_MART_NEEDS = {
    "user_features": (("events",), _KNOWN_USERS),
    "user_sequences": (("events",), _KNOWN_USERS),
    "item_features": (("items", "events"), "select item_id from landing.items union all select item_id from landing.events"),
    "trait_labels": (("user_traits",), "select * from landing.user_traits"),
    "next_purchase_labels": (
        ("events",),
        f"select 1 from ({_KNOWN_USERS}) having greatest(min(known_at), min(occurred_at)) < max(known_at) - interval 37 day",
    ),
    "campaign_outcomes": (("campaign_exposures",), "select * from landing.campaign_exposures"),
}


@dataclass(frozen=True)
class _Inspection:
    """One table to judge: the rows in SQL, and the suite."""

    table: str
    query: str
    suite: "ExpectationSuite"


def check(stage: Stage, start: date, end: date) -> GateReport:
    """Judges the days `[start, end)` of the landing tables, or the marts as they stand after that window was built.

    Leaves `quality/results/<stage>-<start>-<end>.json` and `quality/docs/index.html` in the house, whatever the verdict.

    Raises:
        GateFailed: a rule is broken; the message names rule, table and count.
        WindowInvalid: the window holds no day.
        WarehouseBusy: another process has the warehouse open.
    """
    from quality.engine import open_context, open_datasource
    from quality.suites import check_suite

    check_window(start, end)
    settings = get_settings()
    with open_warehouse() as connection:
        inspections, skipped = _landing(connection, start, end) if stage == "landing" else _marts(connection)
    context = open_context(settings.quality_dir)
    results = {}
    with open_datasource(context, settings.warehouse) as warehouse:
        for inspection in inspections:
            check_suite(inspection.suite)
            batch = warehouse.add_query_asset(inspection.table, inspection.query).add_batch_definition_whole_table("window").get_batch()
            results[inspection.table] = without_values(batch.validate(inspection.suite, result_format=_COUNTS_ONLY))
    rules = [rule for table, result in results.items() for rule in rule_results(table, result)]
    report = GateReport(stage, start, end, tuple(rules), skipped)
    store_report(report, settings.quality_dir / "results")
    render_docs(context, report, results)
    if report.broken:
        raise GateFailed(
            f"Nothing passes the gate {stage} while a rule is broken. Received {len(report.broken)} broken in [{start}, {end}): "
            f"{'; '.join(described(rule) for rule in report.broken)}. See quality/docs/index.html of this house (bad rows wait in the "
            "warehouse's quarantine.rows), correct the delivery or the model, and run the window again."
        )
    return report


def _landing(connection: "duckdb.DuckDBPyConnection", start: date, end: date) -> tuple[list[_Inspection], Mapping[str, str]]:
    """Every table that the ledger has a day of in the window, then the ledger itself."""
    from quality.suites import landing_suite, quarantine_suite

    inside = f"where ds >= date '{start}' and ds < date '{end}'"
    counts = "sum(rows_in)::bigint as rows_in, sum(quarantined)::bigint as quarantined"
    ledger = f"select landing_table, {counts} from landing._loads {inside} group by landing_table"
    loads = {table: (rows_in, quarantined) for table, rows_in, quarantined in connection.execute(f"{ledger} order by 1").fetchall()}
    inspections = [
        _Inspection(f"landing.{name}", f"select * from landing.{name} {inside}", landing_suite(table, end))
        for name, table in LANDING.items()
        if name in loads
    ]
    absent = _absent(connection)
    skipped = {f"landing.{name}": absent.get(name, "no day of it in this window") for name in LANDING if name not in loads}
    return [*inspections, _Inspection("landing._loads", ledger, quarantine_suite(loads))], skipped


def _marts(connection: "duckdb.DuckDBPyConnection") -> tuple[list[_Inspection], Mapping[str, str]]:
    """Every mart of the contract that has rows, or should have."""
    from quality.suites import mart_columns, mart_suite

    absent = _absent(connection)
    there = {name for (name,) in connection.execute("select table_name from duckdb_tables() where schema_name = 'marts'").fetchall()}
    inspections, skipped = [], {}
    for mart, columns in mart_columns().items():
        tables, needed = _MART_NEEDS[mart]
        if mart not in there or _any(connection, f"select * from marts.{mart}") or _any(connection, needed):
            inspections.append(_Inspection(f"marts.{mart}", f"select * from marts.{mart}", mart_suite(mart, columns)))
        else:
            reasons = [f"{table}: {absent.get(table, 'not enough of it delivered yet')}" for table in tables]
            skipped[f"marts.{mart}"] = "; ".join(reasons)
    return inspections, skipped


def _any(connection: "duckdb.DuckDBPyConnection", query: str) -> bool:
    return connection.execute(f"from ({query}) limit 1").fetchone() is not None


def _absent(connection: "duckdb.DuckDBPyConnection") -> dict[str, str]:
    return dict(connection.execute("select landing_table, reason from landing._absent").fetchall())
