"""What came of a road: verdicts, a portrait, recommendations, offers, the plan, risk decisions, and how long each answer takes."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from statistics import quantiles
from typing import Any

import numpy as np

from serving.errors import NotServed
from serving.local.airflow_client import AirflowClient
from serving.local.api_client import ApiClient, ApiError
from serving.local.follow import Followed
from serving.local.risk_examples import risk_decisions
from settings import Settings
from training.signatures import RECOMMENDER

CALLS = 200


def quality(airflow: AirflowClient, followed: list[Followed], settings: Settings) -> list[dict[str, Any]]:
    """The verdict on every model that this road trained."""
    train = next((one.run for one in followed if one.run.dag_id == "train"), None)
    names = airflow.handed_over(train).get("candidates", []) if train else []
    rows = []
    for name in names:
        verdict = json.loads((settings.candidates_dir / name / "verdict.json").read_text())
        measured = {key: verdict["figures"].get(key) for key in ("metric", "challenger", "baseline", "champion", "rows")}
        rows.append(
            {"model": name.split("/")[0], **measured, "promoted": verdict["promoted"], "rule": verdict["rule"], "reason": verdict["reason"]}
        )
    return rows


def answers(followed: list[Followed], settings: Settings) -> dict[str, Any]:
    """A portrait, ten recommendations and the offers of one user, this road's plan, risk decisions, and latencies; what is not served says
    why."""
    from serving.web.examples import example_users

    users = example_users(20)
    api = ApiClient(settings)
    result: dict[str, Any] = {"portrait": api.portrait(users[0]), "recommendations": api.recommendations(users[0], 10)}
    with suppress(ApiError):  # the campaign task says why
        result["offers"] = api.offers(users[0])
    campaign = next((one.run for one in followed if one.run.dag_id == "campaign"), None)
    if campaign and campaign.partition:
        source, _, end = campaign.partition.split("|")
        plan = settings.campaigns_dir / f"{source}-{end}" / "plan.json"
        if plan.exists():
            result["plan"] = json.loads(plan.read_text())
    deploy = next((one.run for one in followed if one.run.dag_id == "deploy"), None)
    if deploy and deploy.partition:
        result["risk"] = risk_decisions(api, settings, date.fromisoformat(deploy.partition.split("|")[2]))
    return result | {"latencies": _latencies(api, users)}


def _latencies(api: ApiClient, users: list[str]) -> dict[str, dict[str, float]]:
    """p50 and p99 of a feature read, a Predict over gRPC, and a whole recommendation over HTTP, each over 200 calls one after another."""
    from serving.model_inputs import history_inputs
    from serving.shop_front import front

    shop = front()
    row = shop.user_row(RECOMMENDER.feature_service, users[0])
    inputs = history_inputs([row], shop.clock()) | {
        "exclude_item_ids": np.array([[b""]], dtype=object),
        "k": np.array([10], dtype=np.int32),
    }
    measured = {"feature read, in process": timed(lambda user: shop.user_row(RECOMMENDER.feature_service, user), users)}
    with suppress(NotServed):
        measured["Predict, over gRPC"] = timed(lambda user: shop.predict(RECOMMENDER.name, inputs), users)
    return measured | {"recommendation, over HTTP": timed(lambda user: api.recommendations(user, 10), users)}


def timed(call: Callable[[str], Any], users: list[str]) -> dict[str, float]:
    """Milliseconds of `call`, one user after another, after one call that warms up."""
    call(users[0])
    taken = []
    for number in range(CALLS):
        begin = time.perf_counter()
        call(users[number % len(users)])
        taken.append((time.perf_counter() - begin) * 1000)
    cuts = quantiles(taken, n=100)
    return {"p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2), "calls": CALLS}
