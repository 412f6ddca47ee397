"""What a build leaves: the same rows whatever the order of loads, the contract's columns and types, a report, one attempt."""

import pytest
import yaml

from settings import ROOT
from tests.dbt_project.built_shop import KEYS, Built

pytestmark = pytest.mark.slow


def test_any_order_of_loads_ends_in_the_rows_of_a_full_refresh(built: Built) -> None:
    for mart in KEYS:
        assert built.incremental[mart] == built.refreshed[mart], mart
        assert built.incremental[mart], mart


def test_tables_have_the_columns_and_types_of_the_contract(built: Built) -> None:
    contract = yaml.safe_load((ROOT / "dbt_project/models/marts/_marts.yml").read_text())["models"]
    spelled = {"double precision": "DOUBLE", "double precision[]": "DOUBLE[]"}
    wanted = {
        mart["name"]: {column["name"]: spelled.get(column["data_type"], column["data_type"].upper()) for column in mart["columns"]}
        for mart in contract
    }
    assert built.types == wanted
    assert {mart: list(columns) for mart, columns in built.types.items()} == {mart: list(columns) for mart, columns in wanted.items()}


def test_the_report_counts_models_tests_and_rows(built: Built) -> None:
    assert built.report.rows == {mart: len(built[mart]) for mart in sorted(KEYS)}
    assert set(KEYS) <= set(built.report.models)
    assert built.report.tests_passed > 15
    assert f"{len(built.report.models)} models built, {built.report.tests_passed} tests passed" in built.report.as_text()


def test_a_house_keeps_only_the_last_attempt(built: Built) -> None:
    assert built.left == ("build",)  # and no note of an unfinished one
