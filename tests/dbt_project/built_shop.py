"""The small shop's marts, built in an awkward order of loads and again by a full refresh; and how tests read marts."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from quality.transform import BuildReport, build
from quality.warehouse import open_warehouse
from settings import get_settings
from tests.dbt_project.small_shop import FIRST, LAST, Row, deliveries, event, load

KEYS = {
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
Mart = dict[tuple, Row]


@dataclass(frozen=True)
class Built:
    """Marts by key after out-of-order incremental builds and after a full refresh, the last report, and attempts left in the house."""

    incremental: dict[str, Mart]
    refreshed: dict[str, Mart]
    types: dict[str, dict[str, str]]
    report: BuildReport
    left: tuple[str, ...]

    def __getitem__(self, mart: str) -> Mart:
        return self.incremental[mart]


def read_marts() -> dict[str, Mart]:
    marts = {}
    with open_warehouse() as warehouse:
        for mart, key in KEYS.items():
            cursor = warehouse.execute(f"select * from marts.{mart}")
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
            marts[mart] = {tuple(row[column] for column in key): row for row in rows}
            assert len(marts[mart]) == len(rows)
    return marts


def build_both_ways(home: Path) -> Built:
    """Five loads: a start with a wrong row, a day far ahead, two late stretches that correct it, and the far day taken back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTRAIT_HOME", str(home))
        patch.setenv("PORTRAIT_SEQUENCE_LENGTH", "4")
        get_settings.cache_clear()
        right = deliveries()
        ghost = {"events": [event("ghost", "u1", "i1", "purchase", "01-03 10:00", 99.0)]}
        far = date(2024, 2, 25)
        loads = [
            (right | {date(2024, 1, 3): ghost}, FIRST, date(2024, 1, 5)),
            ({far: {"events": [event("far", "r0", "j0", "view", "02-25 10:00")]}}, far, far + timedelta(days=1)),
            (right, date(2024, 1, 3), date(2024, 1, 20)),
            (right, date(2024, 1, 20), LAST + timedelta(days=1)),
            ({}, far, far + timedelta(days=1)),
        ]
        for delivered, start, end in loads:
            load(delivered, start, end)
            report = build(start, end)
        incremental, types = read_marts(), _column_types()
        build(FIRST, LAST, full_refresh=True)
        refreshed = read_marts()
    get_settings.cache_clear()
    left = tuple(sorted(path.name.split("-")[0] for path in [*(home / "dbt" / "attempts").iterdir(), *(home / "dbt").glob("unfinished")]))
    return Built(incremental, refreshed, types, report, left)


def _column_types() -> dict[str, dict[str, str]]:
    with open_warehouse() as warehouse:
        columns = warehouse.execute(
            "select table_name, column_name, data_type from information_schema.columns "
            "where table_schema = 'marts' order by ordinal_position"
        ).fetchall()
    types: dict[str, dict[str, str]] = {}
    for mart, column, kind in columns:
        types.setdefault(mart, {})[column] = kind
    return types
