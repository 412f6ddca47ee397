"""The gates: `check("landing", start, end)` and `check("marts", start, end)` let nothing pass to the next stage while a rule is broken.

Great Expectations suites run as SQL in the warehouse. Results are stored before anything is raised. A table that the shop did not deliver
is skipped by name, with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

from quality.errors import GateFailed
from quality.results import GateReport, described, docs_address, render_docs, rule_results, store_report, without_values
from quality.warehouse import check_window, open_warehouse
from settings import get_settings
from sources.landing import LANDING

if TYPE_CHECKING:
    import duckdb
    from great_expectations import ExpectationSuite

Stage = Literal["landing", "marts"]

#: Counts only: no value of a row may reach a result, a log or a page.
_COUNTS_ONLY = {"result_format": "BASIC", "exclude_unexpected_values": True, "partial_unexpected_count": 0}
#: What a person can do about a broken rule; no row of a mart is in quarantine.
_WAY_OUT: dict[Stage, str] = {
    "landing": "Bad rows wait in quarantine (`portrait quarantine list`): correct the delivery, or accept what has really changed "
    "(`portrait quality accept`)",
    "marts": "Rows of marts are made of accepted rows: correct the model in dbt_project/, or the delivery that it counts",
}

_KNOWN_USERS = "select * from landing.events where user_id is not null"
#: Events of known users that no earlier day had: they must leave new versions in every mart made of events.
_NEW_EVENTS = """
select 1 from landing.events where user_id is not null and ds >= date '{start}' and ds < date '{end}'
and event_id not in (select event_id from landing.events where ds < date '{start}')
"""
_INSTRUMENTS = "select * from landing.orders where coalesce(user_id, payment_id, device_id, address_id) is not null"
#: What must make rows in a mart: `(landing tables, the rows in SQL)`. An empty mart is skipped only where there are none.
_MART_NEEDS = {
    "user_features": (("events",), _KNOWN_USERS),
    "user_sequences": (("events",), _KNOWN_USERS),
    "user_daily": (("events",), _KNOWN_USERS),
    "user_portraits": (("portraits",), "select * from landing.portraits"),
    "item_features": (("items", "events"), "select item_id from landing.items union all select item_id from landing.events"),
    "user_consents": (("users",), "select * from landing.users"),
    "trait_labels": (("user_traits",), "select * from landing.user_traits"),
    "next_purchase_labels": (
        ("events",),
        f"select 1 from ({_KNOWN_USERS}) having greatest(min(known_at), min(occurred_at)) < max(known_at) - interval 37 day",
    ),
    "campaign_outcomes": (("campaign_exposures",), "select * from landing.campaign_exposures"),
    "credit_behaviour": (
        ("users", "events"),
        "select 1 from landing.users where consent_credit and user_id in (select user_id from landing.events)",
    ),
    "credit_outcomes": (("credit_applications",), "select * from landing.credit_applications"),
    "category_days": (("events",), "select * from landing.events"),
    "decision_outcomes": (("decisions",), "select * from landing.decisions"),
    "order_features": (("orders",), "select * from landing.orders"),
    "order_labels": (("orders",), "select * from landing.orders"),
    "instrument_orders": (("orders",), _INSTRUMENTS),
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
        inspections, skipped = (_landing if stage == "landing" else _marts)(connection, start, end)
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
    render_docs(context, report, results, settings.quality_dir)
    if report.broken:
        raise GateFailed(
            f"Nothing passes the gate {stage} while a rule is broken. Received {len(report.broken)} broken in [{start}, {end}): "
            f"{'; '.join(described(rule) for rule in report.broken)}. See {docs_address()}. {_WAY_OUT[stage]}, and run the window again."
        )
    return report


def _landing(connection: "duckdb.DuckDBPyConnection", start: date, end: date) -> tuple[list[_Inspection], Mapping[str, str]]:
    """Every table of which the ledger has rows in the window, the ledger (without released rows), days against days before."""
    from quality.distribution import compare
    from quality.suites import comparison_suite, judged, landing_key, landing_suite, quarantine_suite

    inside = f"where ds >= date '{start}' and ds < date '{end}'"
    ledger = f"""
        select landing_table, sum(rows_in)::bigint as rows_in, (sum(quarantined) - any_value(coalesce(released, 0)))::bigint as quarantined
        from landing._loads
        left join (
            select landing_table, count(*) as released from quarantine.rows {inside} and id in (select id from quarantine.releases)
            group by landing_table
        ) using (landing_table)
        {inside} group by landing_table
    """
    loads = {table: (rows_in, quarantined) for table, rows_in, quarantined in connection.execute(f"{ledger} order by 1").fetchall()}
    absent = _absent(connection)
    inspections, skipped = [], {}
    for name, table in LANDING.items():
        if loads.get(name, (0, 0))[0]:
            query = judged(f"select * from landing.{name} {inside}", landing_key(table), {})
            inspections.append(_Inspection(f"landing.{name}", query, landing_suite(table, end)))
        else:
            skipped[f"landing.{name}"] = absent.get(
                name, "no row of it came in this window" if name in loads else "no day of it in this window"
            )
    inspections.append(_Inspection("landing._loads", judged(ledger, ("landing_table",), {}), quarantine_suite(loads)))
    judgement = compare(connection, start, end)
    if judgement.comparisons:
        query = judged(f"select * from landing._comparisons {inside}", ("landing_table", "ds", "rule"), {})
        inspections.append(_Inspection("landing._comparisons", query, comparison_suite(judgement)))
    return inspections, skipped | dict(judgement.skipped)


def _marts(connection: "duckdb.DuckDBPyConnection", start: date, end: date) -> tuple[list[_Inspection], Mapping[str, str]]:
    """Every mart of the contract that has rows, or should have: where its rows have versions, those that the window built."""
    from quality.suites import MART_KEYS, judged, mart_checks, mart_columns, mart_suite

    absent = _absent(connection)
    there = {name for (name,) in connection.execute("select table_name from duckdb_tables() where schema_name = 'marts'").fetchall()}
    inspections, skipped = [], {}
    for mart, columns in mart_columns().items():
        tables, needed = _MART_NEEDS[mart]
        built = f"select * from marts.{mart}"
        if "created_at" in columns and mart in there and _any(connection, f"{built} where created_at <= timestamp '{start}'"):
            built += f" where created_at > timestamp '{start}'"
            needed = _NEW_EVENTS.format(start=start, end=end) if "events" in tables else "select 1 where false"
        if mart not in there or _any(connection, built) or _any(connection, needed):
            rows = judged(built, MART_KEYS[mart], mart_checks(mart, columns))
            inspections.append(_Inspection(f"marts.{mart}", rows, mart_suite(mart, columns)))
        elif "where" in built:
            skipped[f"marts.{mart}"] = "this window changed nothing in it"
        else:
            reasons = [f"{table}: {absent.get(table, 'not enough of it delivered yet')}" for table in tables]
            skipped[f"marts.{mart}"] = "; ".join(reasons)
    return inspections, skipped


def _any(connection: "duckdb.DuckDBPyConnection", query: str) -> bool:
    return connection.execute(f"from ({query}) limit 1").fetchone() is not None


def _absent(connection: "duckdb.DuckDBPyConnection") -> dict[str, str]:
    return dict(connection.execute("select landing_table, reason from landing._absent").fetchall())
