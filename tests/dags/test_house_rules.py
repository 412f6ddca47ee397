"""Rules that every DAG keeps, one test a rule, the DAG named in the failure."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from settings import ROOT

DAGS = ("ingest", "features", "train", "deploy", "release", "campaign", "score", "renew")
HEAVY = ("tensorflow", "keras", "feast", "great_expectations", "pandas", "duckdb", "mlflow", "dbt", "pyarrow", "numpy")

LOOK = """
import importlib, json, sys, time
import airflow.sdk
names, before = sys.argv[1].split(","), set(sys.modules)
facts = {}
for name in names:
    begin = time.process_time()
    module = importlib.import_module(f"dags.{name}")
    seconds = time.process_time() - begin
    dag = getattr(module, name)()
    facts[name] = {
        "dag_id": dag.dag_id, "seconds": seconds, "doc": dag.doc_md, "tags": sorted(dag.tags), "schedule": type(dag.timetable).__name__,
        "params": {key: dag.params.get_param(key).description for key in dag.params},
        "tasks": {
            task.task_id: {"owner": task.owner, "retries": task.retries, "pool": task.pool, "queue": task.queue,
                           "outlets": [asset.name for asset in task.outlets]}
            for task in dag.tasks
        },
    }
print(json.dumps({"facts": facts, "loaded": sorted({module.split(".")[0] for module in set(sys.modules) - before})}))
"""


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", LOOK, ",".join(DAGS)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_parsing_imports_nothing_heavy(look: dict[str, Any]) -> None:
    assert not set(HEAVY) & set(look["loaded"])


@pytest.mark.parametrize("name", DAGS)
def test_a_dag_is_named_as_its_file(name: str, look: dict[str, Any]) -> None:
    assert look["facts"][name]["dag_id"] == name


@pytest.mark.parametrize("name", DAGS)
def test_a_dag_parses_within_a_second_of_cpu(name: str, look: dict[str, Any]) -> None:
    assert look["facts"][name]["seconds"] < 1


@pytest.mark.parametrize("name", DAGS)
def test_the_module_docstring_is_the_documentation(name: str, look: dict[str, Any]) -> None:
    assert look["facts"][name]["doc"].startswith("### ")


@pytest.mark.parametrize("name", DAGS)
def test_a_dag_file_is_wiring_under_80_lines(name: str) -> None:
    assert len(Path(ROOT / "dags" / f"{name}.py").read_text().splitlines()) < 80


@pytest.mark.parametrize("name", DAGS)
def test_a_sentence_stands_above_each_schedule(name: str) -> None:
    lines = Path(ROOT / "dags" / f"{name}.py").read_text().splitlines()
    above = next(before for before, line in pairwise(lines) if line.strip().startswith("schedule="))
    assert above.strip().startswith("# ") and above.strip().endswith(".")


@pytest.mark.parametrize("name", DAGS)
def test_a_dag_is_tagged_and_every_task_owned(name: str, look: dict[str, Any]) -> None:
    facts = look["facts"][name]
    assert facts["tags"] == ["portrait"]
    assert {task["owner"] for task in facts["tasks"].values()} == {"portrait"}


@pytest.mark.parametrize("name", DAGS)
def test_every_task_is_retried_once(name: str, look: dict[str, Any]) -> None:
    assert {task["retries"] for task in look["facts"][name]["tasks"].values()} == {1}


@pytest.mark.parametrize("name", DAGS)
def test_every_field_of_the_form_is_described(name: str, look: dict[str, Any]) -> None:
    assert all(look["facts"][name]["params"].values()), look["facts"][name]["params"]


@pytest.mark.parametrize("name", DAGS)
def test_no_dag_follows_a_plain_asset_and_only_renewal_follows_a_clock(name: str, look: dict[str, Any]) -> None:
    others = {"ingest": "PartitionedAtRuntime", "renew": "CronDataIntervalTimetable", "release": "NullTimetable"}  # deploy starts release
    assert look["facts"][name]["schedule"] == others.get(name, "PartitionedAssetTimetable")


def test_tasks_that_open_the_warehouse_share_one_slot(look: dict[str, Any]) -> None:
    pooled = {
        f"{name}.{task}" for name, facts in look["facts"].items() for task, fact in facts["tasks"].items() if fact["pool"] == "warehouse"
    }
    assert pooled == {"ingest.load_and_gate", "features.build_marts", "features.gate_and_export", "features.document"}


def test_training_and_nothing_else_is_queued_for_gpus(look: dict[str, Any]) -> None:
    queued = {f"{name}.{task}" for name, facts in look["facts"].items() for task, fact in facts["tasks"].items() if fact["queue"] == "gpu"}
    pooled = {
        f"{name}.{task}" for name, facts in look["facts"].items() for task, fact in facts["tasks"].items() if fact["pool"] == "training"
    }
    assert queued == pooled == {"train.encoder", "train.model"}


def test_each_joint_is_emitted_by_the_last_task_before_it(look: dict[str, Any]) -> None:
    emitted = {
        asset: f"{name}.{task}"
        for name, facts in look["facts"].items()
        for task, fact in facts["tasks"].items()
        for asset in fact["outlets"]
    }
    assert emitted == {
        "landing": "ingest.load_and_gate",
        "features": "features.materialise",
        "candidates": "train.candidates",
        "served": "deploy.served",
    }
