"""What the gates let pass, what they stop, and that they never pass without looking nor show a value."""

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from quality.errors import GateFailed, SuiteIncomplete, WindowInvalid
from quality.gates import _MART_NEEDS, check
from quality.load import load_window
from quality.quarantine import open_rows, release, summary
from quality.results import RuleResult
from quality.warehouse import open_warehouse
from settings import ROOT, get_settings
from sources.landing import LANDING
from tests.quality.delivery import DAY, NEXT_DAY, VALID, row, write_day

pytestmark = pytest.mark.slow  # great_expectations takes seconds to import

SENTINEL = "zx81-Ada-Lovelace-7c1f"


def _load_valid(house: Path, *tables: str) -> None:
    for table in tables:
        write_day(house, table, [VALID[table]])
    load_window(house / "landing", DAY, NEXT_DAY)


def _execute(*statements: str) -> None:
    with open_warehouse() as connection:
        for statement in statements:
            connection.execute(statement)


def _broken(stage: str) -> set[tuple[str, str, int | None]]:
    with pytest.raises(GateFailed) as caught:
        check(stage, DAY, NEXT_DAY)  # type: ignore[arg-type]
    house_results = json.loads(_results(stage).read_text())
    broken = {(rule["table"], rule["rule"], rule["count"]) for rule in house_results["rules"] if not rule["passed"]}
    for table, rule, count in broken:
        assert f"{table}: {rule} ({'could not be judged' if count is None else f'{count} row' + 's' * (count != 1)})" in str(caught.value)
    return broken


def _results(stage: str) -> Path:
    return get_settings().quality_dir / "results" / f"{stage}-{DAY}-{NEXT_DAY}.json"


def _make_marts() -> None:
    """Every mart of the contract with one plausible row."""
    from quality.suites import mart_columns

    values = {"bigint": "1", "double precision": "0.5", "timestamp": "timestamp '2024-05-02'", "boolean": "true", "varchar": "'u1'"}
    values |= {f"{kind}[]": f"[{value}]" for kind, value in values.items()}
    statements = ["create schema marts"]
    for mart, columns in mart_columns().items():
        statements.append(f"create table marts.{mart} ({', '.join(f'{name} {kind}' for name, kind in columns.items())})")
        statements.append(f"insert into marts.{mart} select {', '.join(values[kind] for kind in columns.values())}")
    _execute(*statements)


def test_valid_tables_pass_and_leave_results_and_docs(house: Path) -> None:
    _load_valid(house, *LANDING)
    report = check("landing", DAY, NEXT_DAY)
    assert report.broken == ()
    assert {rule.table for rule in report.rules} == {f"landing.{name}" for name in (*LANDING, "_loads")}
    first = _results("landing").read_bytes()
    assert json.loads(first)["passed"] is True
    index = (house / "quality" / "docs" / "index.html").read_text()
    pages = sorted((house / "quality" / "docs" / "validations").rglob("*.html"))
    assert len(pages) == len(LANDING) + 1
    assert f"landing-{DAY}-{NEXT_DAY}" in index
    check("landing", DAY, NEXT_DAY)
    assert _results("landing").read_bytes() == first
    assert sorted((house / "quality" / "docs" / "validations").rglob("*.html")) == pages


def test_every_kind_of_landing_rule_stops_the_gate_by_table_rule_and_count(house: Path) -> None:
    _load_valid(house, *LANDING)
    _execute(
        "update landing.events set event_type = 'teleport', unit_price = 'nan', quantity = 'inf', rating = -5000",
        "update landing.users set user_id = null",
        "insert into landing.items from landing.items",
        "delete from landing.orders",
        "alter table landing.reviews add column mood varchar",
        "update landing.campaign_exposures set propensity = 0, covariates = null",
        "update landing.chargebacks set reported_at = '1970-01-01'",
        "alter table landing.decisions drop column kind",
    )
    assert _broken("landing") == {
        ("landing.events", "event_type_known", 1),
        ("landing.events", "unit_price_in_range", 1),
        ("landing.events", "quantity_in_range", 1),
        ("landing.events", "rating_in_range", 1),
        ("landing.users", "user_id_not_null", 1),
        ("landing.items", "one_row_per_ds_item_id", 1),
        ("landing.orders", "has_rows", 0),
        ("landing.reviews", "columns_as_in_contract", 1),
        ("landing.campaign_exposures", "propensity_in_range", 1),
        ("landing.campaign_exposures", "covariates_not_null", 1),
        ("landing.chargebacks", "reported_at_in_range", 1),
        ("landing.decisions", "columns_as_in_contract", 1),
        ("landing.decisions", "kind_not_null", None),
        ("landing.decisions", "kind_known", None),
    }


def test_too_many_rows_in_quarantine_stop_the_gate_and_few_do_not(house: Path) -> None:
    good = [row("events", event_id=f"e{number}") for number in range(200)]
    bad = [row("events", event_id=f"b{number}", quantity=-1.0) for number in range(11)]
    write_day(house, "events", good + bad[:10])
    write_day(house, "users", [VALID["users"]])
    write_day(house, "users", [row("users", user_id=f"b{number}", registered_at="soon") for number in range(5)], part=1)
    load_window(house / "landing", DAY, NEXT_DAY)
    assert check("landing", DAY, NEXT_DAY).broken == ()  # 10 of 210 are at most 5 %; 5 users are few
    write_day(house, "events", good + bad)
    load_window(house / "landing", DAY, NEXT_DAY)
    assert _broken("landing") == {("landing.events", "quarantined_at_most_5%", 11)}


def test_a_delivered_table_of_which_nothing_is_left_stops_the_gate(house: Path) -> None:
    write_day(house, "items", [row("items", price=-1.0)])
    load_window(house / "landing", DAY, NEXT_DAY)
    assert _broken("landing") == {("landing.items", "has_rows", 0)}


def test_the_way_out_of_the_marts_gate_is_the_model_and_not_the_quarantine(house: Path) -> None:
    _load_valid(house, "items")
    _execute("insert into landing.items from landing.items")
    with pytest.raises(
        GateFailed, match=r"Bad rows wait in quarantine \(`portrait quarantine list`\): correct the delivery, or accept what"
    ):
        check("landing", DAY, NEXT_DAY)
    with pytest.raises(GateFailed, match=r"made of accepted rows: correct the model in dbt_project/, or the delivery.*, and run") as caught:
        check("marts", DAY, NEXT_DAY)
    assert "quarantine" not in str(caught.value)


def test_what_was_not_delivered_is_skipped_by_name_with_the_reason(house: Path) -> None:
    _load_valid(house, "items")
    (house / "landing" / "_delivery.json").write_text('{"missing": {"orders": "the publisher has no orders"}}')
    write_day(house, "users", [VALID["users"]], ds=NEXT_DAY)
    load_window(house / "landing", DAY, NEXT_DAY)
    report = check("landing", DAY, NEXT_DAY)
    assert report.skipped["landing.orders"] == "the publisher has no orders"
    assert report.skipped["landing.users"] == "no row of it came in this window"
    assert "  landing.orders: skipped, the publisher has no orders" in report.as_text()


def test_a_window_of_which_no_day_was_loaded_does_not_pass(house: Path) -> None:
    assert _broken("landing") == {("landing._loads", "has_rows", 0)}
    with pytest.raises(WindowInvalid, match="at least one day"):
        check("landing", DAY, DAY)


def test_sound_marts_pass_and_every_kind_of_mart_rule_stops_the_gate(house: Path) -> None:
    _load_valid(house, *LANDING)
    _make_marts()
    assert check("marts", DAY, NEXT_DAY).broken == ()
    _execute(
        "update marts.user_features set events_7d = 9, spend_30d = 'nan', views_30d = null, active_days_30d = 31",
        "update marts.user_sequences set features_at = '2024-05-03'",
        "insert into marts.user_sequences from marts.user_sequences",
        "update marts.item_features set buyers_30d = -1, price = -1, item_id = null",
        "delete from marts.trait_labels",
        "update marts.next_purchase_labels set spend_30d = '-inf', is_active_30d = null",
        "update marts.campaign_outcomes set propensity = 1.5",
    )
    assert _broken("marts") == {
        ("marts.user_features", "events_7d_at_most_events_30d", 1),
        ("marts.user_features", "spend_30d_in_range", 1),
        ("marts.user_features", "views_30d_not_null", 1),
        ("marts.user_features", "active_days_30d_in_range", 1),
        ("marts.user_sequences", "features_at_at_most_created_at", 2),
        ("marts.user_sequences", "one_row_per_user_id_features_at_created_at", 1),
        ("marts.item_features", "buyers_30d_in_range", 1),
        ("marts.item_features", "price_in_range", 1),
        ("marts.item_features", "item_id_not_null", 1),
        ("marts.trait_labels", "has_rows", 0),
        ("marts.next_purchase_labels", "spend_30d_in_range", 1),
        ("marts.next_purchase_labels", "is_active_30d_not_null", 1),
        ("marts.campaign_outcomes", "propensity_in_range", 1),
    }


def test_an_empty_mart_is_skipped_only_where_the_shop_has_nothing_for_it(house: Path) -> None:
    _load_valid(house, "items")
    _make_marts()
    _execute(*(f"delete from marts.{mart}" for mart in _MART_NEEDS if mart != "item_features"))
    report = check("marts", DAY, NEXT_DAY)
    assert {rule.table for rule in report.rules} == {"marts.item_features"}
    assert report.skipped["marts.trait_labels"] == "user_traits: no folder user_traits/ in the delivery"
    assert set(report.skipped) == {f"marts.{mart}" for mart in _MART_NEEDS} - {"marts.item_features"}


def test_the_marts_gate_judges_the_versions_that_the_window_built_and_demands_them_where_events_came(house: Path) -> None:
    write_day(house, "events", [VALID["events"]])
    write_day(house, "events", [row("events", event_id="e2", quantity=3.0)], ds=NEXT_DAY)
    load_window(house / "landing", DAY, NEXT_DAY)
    load_window(house / "landing", NEXT_DAY, NEXT_DAY + timedelta(days=1))
    _make_marts()  # versions known on the second of May, from the events of the first
    older = "update marts.user_sequences set created_at = '2024-05-01', features_at = '2024-05-01', event_prices = ['nan'::double]"
    _execute(older)
    assert ("marts.user_sequences", "has_rows", 0) in _broken("marts")  # the events of the first of May left no version
    newer = "select * replace (timestamp '2024-05-02' as created_at, [1.0] as event_prices) from marts.user_sequences"
    _execute(f"insert into marts.user_sequences {newer}")
    assert check("marts", DAY, NEXT_DAY).broken == ()
    _execute("delete from landing.events", "delete from marts.user_sequences where created_at = '2024-05-02'")
    assert check("marts", DAY, NEXT_DAY).skipped["marts.user_sequences"] == "this window changed nothing in it"


FOOLING = {
    "lists_of_different_lengths": ("event_types = []", {("event_types_aligned", 1)}),
    "null_lists": ("event_times_us = null", {("event_times_us_not_null", 1), ("event_times_us_aligned", 1)}),
    "lists_all_empty": (
        "event_item_ids = [], event_types = [], event_times_us = [], event_prices = [], event_categories = []",
        {("event_item_ids_not_empty", 1)},
    ),
    "nan_in_a_list": ("event_prices = ['nan'::double]", {("event_prices_finite", 1)}),
    "infinity_in_a_list": ("event_prices = ['inf'::double]", {("event_prices_finite", 1)}),
    "null_in_a_list": ("event_prices = [null::double]", {("event_prices_finite", 1)}),
}


@pytest.mark.parametrize("trick", FOOLING)
def test_no_list_fools_the_gate(house: Path, trick: str) -> None:
    _load_valid(house, *LANDING)
    _make_marts()
    change, expected = FOOLING[trick]
    _execute(f"update marts.user_sequences set {change}")
    assert {(rule, count) for table, rule, count in _broken("marts") if table == "marts.user_sequences"} == expected


def test_released_rows_are_no_longer_held_against_their_table(house: Path) -> None:
    write_day(house, "events", [*(row("events", event_id=f"b{n}", quantity=-1.0) for n in range(6)), row("events", event_id="good")])
    load_window(house / "landing", DAY, NEXT_DAY)
    assert _broken("landing") == {("landing.events", "quarantined_at_most_5%", 6)}
    release([waiting.id for waiting in open_rows()], {"quantity": "1"})
    load_window(house / "landing", DAY, NEXT_DAY)
    assert check("landing", DAY, NEXT_DAY).broken == ()


def test_a_mart_that_does_not_exist_does_not_pass(house: Path) -> None:
    _load_valid(house, "items")
    broken = _broken("marts")
    assert ("marts.item_features", "has_rows", None) in broken


def test_no_value_of_any_row_reaches_results_or_docs(house: Path) -> None:
    write_day(house, "events", [row("events", user_id=SENTINEL)])
    write_day(house, "events", [row("events", event_id=SENTINEL, user_id=SENTINEL, quantity=SENTINEL)], part=1)
    write_day(house, "user_traits", [row("user_traits", user_id=SENTINEL), row("user_traits", user_id=SENTINEL, trait=None)])
    report = load_window(house / "landing", DAY, NEXT_DAY)
    _execute(
        f"update landing.events set event_type = '{SENTINEL}', item_id = '{SENTINEL}'",
        "insert into landing.events from landing.events",
        "insert into landing.user_traits from landing.user_traits",
        "alter table landing.user_traits drop column value",
    )
    with pytest.raises(GateFailed) as caught:
        check("landing", DAY, NEXT_DAY)
    _make_marts()
    _execute(
        f"update marts.user_features set user_id = '{SENTINEL}', country = '{SENTINEL}', events_7d = -1",
        f"update marts.user_sequences set user_id = '{SENTINEL}', event_item_ids = ['{SENTINEL}', '{SENTINEL}']",
        f"update marts.trait_labels set user_id = '{SENTINEL}', value = '{SENTINEL}', trait = null",
        "insert into marts.user_sequences from marts.user_sequences",
    )
    with pytest.raises(GateFailed) as marts:
        check("marts", DAY, NEXT_DAY)
    kept = {"landing", "warehouse.duckdb"}  # the records themselves
    files = [path for path in house.rglob("*") if path.is_file() and path.relative_to(house).parts[0] not in kept]
    assert len(files) > 10
    assert any(path.suffix == ".html" for path in files)
    assert [path for path in files if SENTINEL.encode() in path.read_bytes()] == []
    listed = "".join(waiting.as_text() for waiting in [*open_rows(), *summary()])
    assert SENTINEL not in str(caught.value) + str(marts.value) + report.as_text() + listed


def test_the_data_docs_fetch_nothing_and_lead_from_the_log_to_every_suite(house: Path) -> None:
    _load_valid(house, *LANDING)
    report = check("landing", DAY, NEXT_DAY)
    docs = house / "quality" / "docs"
    assert f"  data docs: http://127.0.0.1:8000/quality/ or {(docs / 'index.html').as_uri()}" in report.as_text()
    pages = list(docs.rglob("*.html"))
    assert len(pages) == len(LANDING) + 2
    for page in pages:
        text = page.read_text()
        assert "<style>" in text
        assert re.findall(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//[^"')]*|<script""", text) == [], page
    linked = re.findall(r"href='([^']+)'", (docs / "index.html").read_text())
    assert sorted(docs / link for link in linked) == sorted(page for page in pages if page.name == "window.html")
    _execute("update landing.events set rating = -5000")
    _broken("landing")
    assert "1 of" in (docs / "index.html").read_text()
    assert "landing.events: rating_in_range" in (docs / "index.html").read_text()


def test_results_are_stored_even_where_the_docs_cannot_be_rendered(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quality import gates

    def failing(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(gates, "render_docs", failing)
    _load_valid(house, "items")
    with pytest.raises(OSError, match="disk full"):
        check("landing", DAY, NEXT_DAY)
    assert json.loads(_results("landing").read_text())["passed"] is True


def test_a_suite_that_could_pass_without_looking_is_refused() -> None:
    from quality.engine import gx
    from quality.suites import check_suite, mart_columns, mart_suite

    with pytest.raises(
        SuiteIncomplete, match=r"Received marts\.empty with 0 expectations and without a row count, columns, values that are not"
    ):
        check_suite(gx.ExpectationSuite(name="marts.empty"))
    whole = mart_suite("trait_labels", mart_columns()["trait_labels"])
    for kind, lacking in (("row_count", "a row count"), ("match_set", "columns"), ("not_be_null", "values that are not null")):
        kept = [expectation for expectation in whole.expectations if kind not in expectation.expectation_type]
        with pytest.raises(SuiteIncomplete, match=f"without {lacking}. Add"):
            check_suite(gx.ExpectationSuite(name="marts.trait_labels", expectations=kept))


def test_every_mart_of_the_contract_has_a_key_and_a_source() -> None:
    from quality.suites import MART_KEYS, mart_columns

    assert set(MART_KEYS) == set(mart_columns()) == set(_MART_NEEDS)
    assert all(set(key) <= set(mart_columns()[mart]) for mart, key in MART_KEYS.items())


def test_the_report_names_what_is_broken() -> None:
    from quality.results import described

    assert described(RuleResult("marts.x", "has_rows", False, 0)) == "marts.x: has_rows (0 rows)"
    assert described(RuleResult("marts.x", "price_in_range", False, 1)) == "marts.x: price_in_range (1 row)"
    assert described(RuleResult("marts.x", "a_not_null", False, None)) == "marts.x: a_not_null (could not be judged)"


def test_a_process_without_a_main_file_survives_importing_the_engine() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import quality.engine; print('alive')"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "alive\n")
