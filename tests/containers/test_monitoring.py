"""Alert rules and dashboards name only what is exported, and Prometheus asks where it is."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from serving.http.metrics import Metrics
from serving.model_server import metrics as model_server
from serving.model_server.parameters import read_metrics_path
from serving.publish import write_server_config
from settings import ROOT

DOCKER = ROOT / "docker"
RULES = yaml.safe_load((DOCKER / "prometheus" / "rules.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
PANELS = json.loads((DOCKER / "grafana" / "dashboards" / "portrait.json").read_text(encoding="utf-8"))["panels"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]
#: What PromQL itself brings.
WORDS = {"sum", "by", "rate", "histogram_quantile", "le", "up"}


def exported() -> set[str]:
    """Names of the API's metrics once each label was seen, and of the model server's that TensorFlow Serving has too."""
    api = Metrics()
    api.count("GET", "/v1", 200, 0.1)
    api.refused.labels("too-many-requests").inc()
    api.recommended.labels("model").inc()
    server = model_server.Metrics()
    server.count(model_server.REQUEST_COUNT, model_name="m", status="OK")
    server.observe(model_server.REQUEST_LATENCY, 1.0, model_name="m")
    text = api.as_text().decode() + server.text()
    return set(re.findall(r"^([a-z_:]+)[{ ]", text, flags=re.M))


def labels_of(metric: str) -> set[str]:
    names = {
        "portrait_api_requests": {"method", "route", "status"},
        "portrait_api_request_seconds": {"route"},
        "portrait_api_refused": {"reason"},
        "portrait_api_recommendations": {"source"},
        ":tensorflow:serving:request_count": {"model_name", "status"},
        ":tensorflow:serving:request_latency": {"model_name"},
    }
    return next((labels for name, labels in names.items() if metric.startswith(name)), set()) | {"le", "job"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_only_metrics_that_are_exported_with_labels_that_they_have(expression: str) -> None:
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|by \([^)]*\)", " ", expression)
    metrics = set(re.findall(r"[a-z:][a-z_:]*[a-z]", bare)) - WORDS
    assert metrics <= exported()
    labels = {name.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for name in group.split(",")}
    labels |= set(re.findall(r"[{,](\w+)[=!]", expression))
    for metric in metrics:
        assert labels <= labels_of(metric), metric


def test_prometheus_asks_services_at_their_ports_and_paths(services: dict[str, dict[str, Any]], tmp_path: Any) -> None:
    config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    for job in jobs.values():
        name, port = job["static_configs"][0]["targets"][0].split(":")
        assert any(published.endswith(f":{port}") for published in services[name]["ports"]), name
    write_server_config(tmp_path)
    assert jobs["model-server"]["metrics_path"] == read_metrics_path(tmp_path / "monitoring.config")
    assert jobs["api"]["authorization"]["credentials_file"] in (ROOT / "docker" / "init.sh").read_text(encoding="utf-8")
    assert [mount for mount in services["prometheus"]["volumes"] if "house" in mount] == []  # one key, and none of the house's secrets


def test_every_alert_says_what_is_wrong_and_who_must_look() -> None:
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] in ("page", "ticket") and rule["for"] for rule in RULES)
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_promtool_accepts_the_rules() -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed on this machine")
    done = subprocess.run(["promtool", "check", "rules", DOCKER / "prometheus" / "rules.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
