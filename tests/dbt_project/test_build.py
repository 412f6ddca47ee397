"""`build` on thin shops: what it refuses, what it says when dbt fails, and what it leaves for the next attempt."""

from datetime import date
from pathlib import Path

import pytest

from quality.errors import TransformFailed, WindowInvalid
from quality.transform import build
from quality.warehouse import open_warehouse
from tests.dbt_project.small_shop import day, load

START, END = date(2024, 1, 1), date(2024, 1, 2)
EXPOSURE = {"campaign_id": "c1", "user_id": "u1", "assigned_at": day("01-01"), "treatment": "control", "covariates": "{}"}


def test_a_window_without_a_day_is_refused(house: Path) -> None:
    with pytest.raises(WindowInvalid, match="Received start 2024-01-02, end 2024-01-02"):
        build(END, END)
    with pytest.raises(WindowInvalid, match="must hold at least one day"):
        build(END, START)


@pytest.mark.slow
def test_a_failure_names_the_rule_and_the_next_build_makes_up_for_it(house: Path) -> None:
    load({START: {"campaign_exposures": [EXPOSURE, EXPOSURE | {"treatment": "mail"}]}}, START, END)
    with pytest.raises(TransformFailed, match=r"Received is_key_stg_campaign_exposures\w*: Got 1 result.*build the same window again"):
        build(START, END)
    assert (house / "dbt" / "unfinished").read_text() == "2024-01-01"

    load({START: {"campaign_exposures": [EXPOSURE]}}, START, END)
    report = build(date(2024, 1, 5), date(2024, 1, 6))
    assert report.rows == {
        "campaign_outcomes": 1,
        "category_days": 0,
        "item_features": 0,
        "next_purchase_labels": 0,
        "trait_labels": 0,
        "user_daily": 0,
        "user_features": 0,
        "user_sequences": 0,
    }
    assert not (house / "dbt" / "unfinished").exists()
    with open_warehouse() as warehouse:
        schemas = {name for (name,) in warehouse.execute("select distinct table_schema from information_schema.tables").fetchall()}
    assert schemas == {"landing", "quarantine", "staging", "intermediate", "marts"}
