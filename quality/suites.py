"""The suites of both gates: landing suites from `sources/landing.py` and the limits of the row rules, mart suites from `_marts.yml`.

Every expectation carries its rule's name in `meta["rule"]`. No suite may pass without looking: `check_suite` demands that each asks for
rows, columns and values that are not null.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from itertools import pairwise

import yaml

from quality.distribution import Comparison, Judgement
from quality.engine import RowColumn, gx, gxe
from quality.errors import SuiteIncomplete
from quality.row_rules import ALLOWED, RANGES, SHOP_OPENED
from quality.warehouse import landing_columns, stored_name
from settings import ROOT
from sources.landing import LandingTable

MART_CONTRACT = ROOT / "dbt_project" / "models" / "marts" / "_marts.yml"

#: The column of the key's hash in the rows that a suite judges.
ROW_KEY = "row_key"

#: What makes a row of a mart one row: no two rows may share it.
MART_KEYS = {
    "user_features": ("user_id", "features_at", "created_at"),
    "user_sequences": ("user_id", "features_at", "created_at"),
    "user_daily": ("user_id", "features_at", "created_at"),
    "user_portraits": ("user_id", "features_at", "created_at"),
    "item_features": ("item_id", "features_at", "created_at"),
    "user_consents": ("user_id", "known_at"),
    "trait_labels": ("user_id", "trait"),
    "next_purchase_labels": ("user_id", "label_at"),
    "campaign_outcomes": ("campaign_id", "user_id"),
    "credit_behaviour": ("user_id", "features_at", "created_at"),
    "credit_outcomes": ("application_id",),
    "category_days": ("day_at", "top_category"),
    "decision_outcomes": ("decision_id",),
    "order_features": ("order_id",),
    "order_labels": ("order_id",),
    "instrument_orders": ("instrument_id", "features_at", "created_at"),
}
#: `(earlier, later)` times of a mart's row.
_MART_TIME_ORDER = (("features_at", "created_at"), ("label_at", "known_at"), ("placed_at", "charged_back_known_at"))
#: Lists that stand by themselves: they are as long as no other list of their row.
_ALONE = ("user_ids",)
#: Marts whose every row stands for something that happened: their lists are never null nor empty.
_NEVER_EMPTY = ("user_sequences", "user_daily")
_WINDOWS = ("7d", "30d", "90d", "total")
#: What is absurd in a row was told at the landing border; sums over any number of sound rows have no bound, they are only finite.
_LARGEST = sys.float_info.max

#: So many days of a broken comparison are told.
_DETAILS = 3

#: A table may have this share of a window's rows in quarantine, or this many rows where that is more: one bad row in ten is no verdict.
QUARANTINE_SHARE = 0.05
QUARANTINE_ROWS = 5


def mart_columns() -> dict[str, dict[str, str]]:
    """`{mart: {column: SQL type}}` of the contract."""
    models = yaml.safe_load(MART_CONTRACT.read_text())["models"]
    return {model["name"]: {column["name"]: column["data_type"] for column in model["columns"]} for model in models}


def judged(query: str, key: tuple[str, ...], checks: Mapping[str, str]) -> str:
    """The rows of `query` with what suites judge beside the columns: `row_key`, a hash of the key, and every check as true or false.

    Distinct keys may share a hash: with 20 million rows, one gate in a hundred thousand would report a key twice that is not. A key that is
    there twice is always found.
    """
    columns = [f"hash({', '.join(key)}) as {ROW_KEY}", *(f"coalesce({sql}, false) as {name}" for name, sql in checks.items())]
    return f"select *, {', '.join(columns)} from ({query})"


def _always(columns: Iterable[str], key: tuple[str, ...], not_null: set[str], checks: Iterable[str] = ()) -> list[gxe.Expectation]:
    """What every suite asks: rows, the contract's columns, no nulls where none may be, one row per key, and its own checks.

    Uniqueness is one `count(distinct)` among the other aggregates of one pass; Great Expectations' own rule sorts the table by its key.
    """
    names = [*columns, ROW_KEY, *checks]
    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=1, meta={"rule": "has_rows"}),
        gxe.ExpectTableColumnsToMatchSet(column_set=names, exact_match=True, meta={"rule": "columns_as_in_contract"}),
        gxe.ExpectColumnProportionOfUniqueValuesToBeBetween(column=ROW_KEY, min_value=1, meta={"rule": "one_row_per_" + "_".join(key)}),
        *(gxe.ExpectColumnValuesToNotBeNull(column=name, meta={"rule": f"{name}_not_null"}) for name in columns if name in not_null),
        *(gxe.ExpectColumnValuesToBeInSet(column=name, value_set=[True], meta={"rule": name}) for name in checks),
    ]


def _between(column: str, low: float | datetime, high: float | datetime | None = None, *, above_low: bool = False) -> gxe.Expectation:
    """Bounds on a column; NaN and infinities lie outside any bounds, so a bounded number is a finite one."""
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, strict_min=above_low, meta={"rule": f"{column}_in_range"}
    )


def landing_key(table: LandingTable) -> tuple[str, ...]:
    """What makes a row of a landing table one row of its day."""
    return ("ds", *(stored_name(name) for name in table.key))


def landing_suite(table: LandingTable, end: date) -> gx.ExpectationSuite:
    """The suite of one landing table over the days of a window that ends at `end`, for rows as `judged` gives them."""
    columns = landing_columns(table)
    not_null = {stored_name(name) for name in (*table.required, *table.key)} | ({"ds", "known_at", "covariates"} & set(columns))
    rules = _always(columns, landing_key(table), not_null)
    latest = datetime.combine(end, datetime.min.time()) + timedelta(days=1)
    for column in table.columns:
        name = stored_name(column.name)
        if column.name == "propensity":
            rules.append(_between(name, 0.0, 1.0, above_low=True))
        elif column.name in RANGES:
            rules.append(_between(name, *RANGES[column.name]))
        elif column.name in ALLOWED:
            rules.append(gxe.ExpectColumnValuesToBeInSet(column=name, value_set=list(ALLOWED[column.name]), meta={"rule": f"{name}_known"}))
        elif column.kind == "timestamp" and not column.nullable:
            rules.append(_between(name, datetime.fromisoformat(SHOP_OPENED), latest))
    return gx.ExpectationSuite(name=f"landing.{table.name}", expectations=rules)


def quarantine_suite(loads: Mapping[str, tuple[int, int]]) -> gx.ExpectationSuite:
    """The suite of the window's ledger: no table has too many rows in quarantine. `loads[table]` is (rows in, quarantined)."""
    columns = ("landing_table", "rows_in", "quarantined")
    rules = _always(columns, columns[:1], set(columns))
    for table, (rows_in, quarantined) in loads.items():
        rules.append(
            gxe.ExpectColumnValuesToBeBetween(
                column="quarantined",
                max_value=max(QUARANTINE_ROWS, int(rows_in * QUARANTINE_SHARE)),
                row_condition=RowColumn("landing_table") == table,
                meta={"rule": f"quarantined_at_most_{QUARANTINE_SHARE:.0%}", "table": f"landing.{table}", "count": quarantined},
            )
        )
    return gx.ExpectationSuite(name="landing._loads", expectations=rules)


def comparison_suite(judgement: Judgement) -> gx.ExpectationSuite:
    """The suite of `landing._comparisons` over a window: no day of a table lies beyond a limit of `quality/distribution.py`."""
    columns = ("landing_table", "ds", "rule", "part", "excess")
    rules = _always(columns, columns[:3], set(columns))
    alarms: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in judgement.comparisons:
        beyond = alarms.setdefault((comparison.table, comparison.rule), [])
        beyond += [comparison] if comparison.excess > 1 else []
    for (table, rule), beyond in alarms.items():
        detail = "; ".join(f"{alarm.ds}: {alarm.detail}" for alarm in beyond[:_DETAILS])
        rules.append(
            gxe.ExpectColumnValuesToBeBetween(
                column="excess",
                max_value=1,
                row_condition=(RowColumn("landing_table") == table) & (RowColumn("rule") == rule),
                meta={"rule": f"{rule}_as_before", "table": f"landing.{table}", "detail": detail},
            )
        )
    return gx.ExpectationSuite(name="landing._comparisons", expectations=rules)


def mart_checks(mart: str, columns: Mapping[str, str]) -> dict[str, str]:
    """`{rule: SQL true for a sound row}` of a mart's lists: equally long, numbers finite, not empty where a row stands for them."""
    lists = {name: kind for name, kind in columns.items() if kind.endswith("[]")}
    aligned = [name for name in lists if name not in _ALONE]
    first = next(iter(aligned), None)
    checks = {f"{name}_aligned": f"len({name}) is not distinct from len({first})" for name in aligned[1:]}
    checks |= {
        f"{name}_finite": f"coalesce(isfinite(list_sum({name})), true) and coalesce(len({name}) = list_count({name}), true)"
        for name, kind in lists.items()
        if kind == "double precision[]"
    }
    if mart in _NEVER_EMPTY:
        checks[f"{first}_not_empty"] = f"len({first}) > 0"
    return checks


def mart_suite(mart: str, columns: Mapping[str, str]) -> gx.ExpectationSuite:
    """The suite of one mart, for rows as `judged` gives them.

    Counts are never null nor negative, numbers finite, longer windows count no less, times in order, lists as `mart_checks` says.
    """
    counts = [name for name, kind in columns.items() if kind == "bigint"]
    flags = [name for name, kind in columns.items() if kind == "boolean" and mart == "next_purchase_labels"]
    lists = [name for name, kind in columns.items() if kind.endswith("[]") and mart in _NEVER_EMPTY]
    rules = _always(columns, MART_KEYS[mart], {*MART_KEYS[mart], *counts, *flags, *lists}, mart_checks(mart, columns))
    for name, kind in columns.items():
        if name == "propensity":
            rules.append(_between(name, 0.0, 1.0, above_low=True))
        elif name == "active_days_30d":
            rules.append(_between(name, 0, 30))
        elif kind == "bigint":
            rules.append(_between(name, 0))
        elif kind == "double precision":
            low = 0.0 if name in ("price", "cost") else -_LARGEST
            rules.append(_between(name, low, _LARGEST))
    for shorter, longer in _longer_windows(counts):
        rules.append(_not_below(longer, shorter))
    rules += [_not_below(later, earlier) for earlier, later in _MART_TIME_ORDER if earlier in columns and later in columns]
    return gx.ExpectationSuite(name=f"marts.{mart}", expectations=rules)


def _not_below(larger: str, smaller: str) -> gxe.Expectation:
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=larger,
        column_B=smaller,
        or_equal=True,
        ignore_row_if="either_value_is_missing",
        meta={"rule": f"{smaller}_at_most_{larger}"},
    )


def _longer_windows(counts: list[str]) -> list[tuple[str, str]]:
    """`events_7d, events_30d, events_90d` yields `(events_7d, events_30d), (events_30d, events_90d)`."""
    stems = dict.fromkeys(match[1] for name in counts if (match := re.fullmatch(rf"(.+)_(?:{'|'.join(_WINDOWS)})", name)))
    families = [[f"{stem}_{window}" for window in _WINDOWS if f"{stem}_{window}" in counts] for stem in stems]
    return [pair for family in families for pair in pairwise(family)]


def check_suite(suite: gx.ExpectationSuite) -> None:
    """Raises SuiteIncomplete where a suite could pass over an empty table, wrong columns or nulls."""
    demanded = {
        "expect_table_row_count_to_be_between": "a row count",
        "expect_table_columns_to_match_set": "columns",
        "expect_column_values_to_not_be_null": "values that are not null",
    }
    asked = {expectation.expectation_type for expectation in suite.expectations}
    lacking = [meaning for kind, meaning in demanded.items() if kind not in asked]
    if lacking:
        raise SuiteIncomplete(
            f"Every suite must ask for {', '.join(demanded.values())}. Received {suite.name} with {len(suite.expectations)} expectations "
            f"and without {', '.join(lacking)}. Add them in quality/suites.py: without them an empty table would pass."
        )
