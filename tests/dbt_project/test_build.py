"""`build` on thin shops: what it refuses, what it says when dbt fails, and what it leaves for the next attempt."""

import re
from datetime import date
from pathlib import Path

import pytest

from quality import transform
from quality.errors import TransformFailed, WindowInvalid
from quality.transform import _failure, build, document
from quality.warehouse import open_warehouse
from settings import get_settings
from tests.dbt_project.small_shop import day, event, load

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
        "credit_behaviour": 0,
        "credit_outcomes": 0,
        "decision_outcomes": 0,
        "instrument_orders": 0,
        "item_features": 0,
        "next_purchase_labels": 0,
        "order_features": 0,
        "order_labels": 0,
        "trait_labels": 0,
        "user_consents": 0,
        "user_daily": 0,
        "user_portraits": 0,
        "user_features": 0,
        "user_sequences": 0,
    }
    assert not (house / "dbt" / "unfinished").exists()
    with open_warehouse() as warehouse:
        schemas = {name for (name,) in warehouse.execute("select distinct table_schema from information_schema.tables").fetchall()}
    assert schemas == {"landing", "quarantine", "staging", "intermediate", "marts"}


@pytest.mark.slow
def test_a_failure_names_model_and_kind_of_error_and_no_message_or_log_repeats_a_rows_value(house: Path) -> None:
    sentinel = "888888612345678"  # too large for the marts' decimals: the database's own message quotes it
    load({START: {"events": [event("e1", "u1", "i1", "purchase", "01-01 10:00", float(sentinel), quantity=1.0)]}}, START, END)
    with pytest.raises(TransformFailed, match=r"Received int_event_versions: Runtime Error, Conversion Error \(text withheld") as failure:
        build(START, END)
    assert sentinel not in str(failure.value)
    assert not [path for path in get_settings().logs_dir.rglob("*") if path.is_file() and sentinel in path.read_text()]
    (attempt,) = (house / "dbt" / "attempts").iterdir()
    assert f"The full text is in dbt/attempts/{attempt.name}/dbt.log of the house" in str(failure.value)
    assert sentinel in (attempt / "dbt.log").read_text()

    load({START: {"events": [event("e1", "u1", "i1", "purchase", "01-01 10:00", 5.0)]}}, START, END)
    build(START, END)
    assert not [path for path in (house / "dbt").rglob("*") if path.is_file() and sentinel.encode() in path.read_bytes()]


def test_what_a_database_says_is_withheld_and_what_dbt_says_of_counts_columns_and_fixtures_is_not() -> None:
    def result(unique_id: str, status: str, message: str) -> dict:
        return {"unique_id": unique_id, "status": status, "message": message}

    said = _failure(
        [
            result(
                "model.portrait.a", "error", 'Database Error in model a (models/a.sql)\n  invalid input: "ann@shop.example"\n  Ann Error: x'
            ),
            result("model.portrait.b", "error", "Compilation Error in model b (models/b.sql)\n  enforced contract that failed: spend_7d"),
            result("test.portrait.c", "fail", "Got 3 results, configured to fail if != 0"),
            result("unit_test.portrait.d.test_d", "fail", "actual differs from expected"),
            result("model.portrait.e", "success", "OK"),
        ],
        "",
        Path("dbt/attempts/build-1"),
    )
    assert "a: Database Error (text withheld: it may quote a row)" in said and "ann@" not in said and "Ann Error" not in said
    assert "b: Compilation Error in model b (models/b.sql) enforced contract that failed: spend_7d" in said
    assert "c: Got 3 results, configured to fail if != 0; test_d: actual differs from expected." in said and "e:" not in said


def test_what_dbt_prints_is_told_only_where_it_ended_before_it_read_a_row() -> None:
    attempt = Path("dbt/attempts/build-1")
    assert "dbt itself: Parsing Error in _marts.yml." in _failure([], "Parsing Error in _marts.yml", attempt)
    assert "ann" not in _failure([], "1 of 54 START sql table model a\nfatal: ann", attempt)


@pytest.mark.slow
def test_the_documentation_is_one_page_made_anew_only_where_the_project_changed(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load({START: {"events": [event("e1", "secret-person", "i1", "view", "01-01")]}}, START, END)
    page = document()
    assert page == house / "dbt" / "docs" / "static_index.html"
    text = page.read_text(encoding="utf-8")
    assert "stg_events" in text and "One row per user, features_at and created_at." in text and "secret-person" not in text
    assert re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//[^"]*"', text) == []  # nothing from other hosts
    assert {path.name for path in page.parent.iterdir()} == {page.name, "project.sha256"} and not (house / "dbt" / "docs.new").exists()
    made: list[str] = []

    def run_dbt(command: str, arguments: list[str], target: Path) -> None:
        made.append(command)
        target.mkdir()
        (target / page.name).write_text("<h1>another</h1>")

    monkeypatch.setattr(transform, "_run_dbt", run_dbt)
    assert document() is None and made == []
    monkeypatch.setattr(transform, "_project_hash", lambda: "changed")
    assert document() == page and page.read_text() == "<h1>another</h1>" and made == ["docs"]
    page.unlink()
    assert document() == page and made == ["docs", "docs"]
