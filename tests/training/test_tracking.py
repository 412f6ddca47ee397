"""What a run logs can be read back from MLflow, whoever came first."""

import subprocess
import sys
from pathlib import Path

import pytest

from settings import ROOT, get_settings
from training.tracking import log_run

pytestmark = pytest.mark.slow  # MLflow's import and the creation of its tables


def test_a_logged_run_reads_back_whole(house: Path, tmp_path: Path):
    from mlflow import MlflowClient

    report = tmp_path / "report.html"
    report.write_text("<p>figures</p>")
    run_id = log_run(
        "recommender",
        "2024-05-01",
        params={"dim": 64, "backbone": "attention"},
        curves={"loss": [3.0, 2.0, 1.5], "validation NDCG": [0.1, float("nan"), 0.2]},
        metrics={"HR@10": 0.25, "uplift@30%": 0.1, "qini": float("nan")},
        files=[report],
        tags={"promoted": "true"},
    )
    client = MlflowClient(tracking_uri=get_settings().mlflow_uri)
    run = client.get_run(run_id)
    assert client.get_experiment(run.info.experiment_id).name == "recommender"
    assert (run.info.status, run.info.run_name) == ("FINISHED", "2024-05-01")
    assert run.data.params == {"dim": "64", "backbone": "attention"}
    assert run.data.metrics == {"loss": 1.5, "validation NDCG": 0.2, "HR_at_10": 0.25, "uplift_at_30pct": 0.1}
    assert [(point.step, point.value) for point in client.get_metric_history(run_id, "loss")] == [(0, 3.0), (1, 2.0), (2, 1.5)]
    assert run.data.tags["promoted"] == "true"
    (stored,) = (house / "mlflow" / "artifacts" / "recommender").rglob("report.html")
    assert stored.read_text() == "<p>figures</p>"


def test_two_processes_may_create_the_store_at_once(house: Path):
    from mlflow import MlflowClient

    code = "from training.tracking import log_run; log_run('portrait', 'r', params={}, curves={}, metrics={'auc': 0.5})"
    started = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in started:
        assert process.wait(timeout=120) == 0, process.stderr.read() if process.stderr else ""
    client = MlflowClient(tracking_uri=get_settings().mlflow_uri)
    experiment = client.get_experiment_by_name("portrait")
    assert len(client.search_runs([experiment.experiment_id])) == 2
