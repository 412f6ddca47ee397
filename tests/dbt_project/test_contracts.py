"""The project's lists agree with their homes."""

import re

import yaml

from quality.warehouse import landing_columns
from settings import ROOT
from sources.landing import LANDING

MODELS = ROOT / "dbt_project" / "models"


def test_sources_list_the_landing_tables_and_their_columns() -> None:
    source = yaml.safe_load((MODELS / "staging" / "_sources.yml").read_text())["sources"][0]
    listed = {table["name"]: [column["name"] for column in table["columns"]] for table in source["tables"]}
    assert listed == {table.name: list(landing_columns(table)) for table in LANDING.values()}


def test_every_model_has_a_description_that_names_its_grain() -> None:
    described = {}
    for file in MODELS.glob("*/_*.yml"):
        for model in yaml.safe_load(file.read_text()).get("models", []):
            described[model["name"]] = model["description"]
    assert set(described) == {model.stem for model in MODELS.glob("*/*.sql")}
    assert [name for name, text in described.items() if not re.search(r"One row( per .*)?\.\s*$", text)] == []


def test_every_mart_enforces_its_contract() -> None:
    marts = yaml.safe_load((MODELS / "marts" / "_marts.yml").read_text())["models"]
    assert [mart["name"] for mart in marts if not mart["config"]["contract"]["enforced"]] == []
