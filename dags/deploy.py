"""### Promoted candidates into the model server

1. **publish** - one mapped run per model: a promoted candidate is staged, loaded in a fresh process, asked its golden request, renamed into
   place, and waited for until the server says AVAILABLE. Then recorded requests go to it and to the stable version. A first version that
   breaks no rule of `serving/release.toml` is stable at once; a later one may meet users. A candidate that its gate did not promote, or
   that broke a rule, is skipped with the reason, and what was served stays served.
2. **on_trial**, **release** - starts the DAG `release` for each such version. **served** - tells the consumers' DAGs.

Follows `train`. Run alone, it needs `candidates`: folder names such as `recommender/<run>` from the house's `candidates/`.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Param, PartitionedAssetTimetable, TriggerRule, dag, get_current_context, task

from dags.assets import CANDIDATES, SERVED, hand_over, received
from dags.choices import DEFAULT_ARGS, MODELS, window


@dag(
    # Once for every window on which models were trained: one run per partition, whatever their order.
    schedule=PartitionedAssetTimetable(assets=CANDIDATES),
    doc_md=__doc__,
    default_args=DEFAULT_ARGS,
    tags=["portrait"],
    max_active_runs=1,
    params={
        **window(),
        "candidates": Param([], type="array", items={"type": "string"}, description="`<model>/<run>`, one a line"),
    },
)
def deploy() -> None:
    @task(map_index_template="{{ task.op_kwargs['model'] }}")
    def publish(model: str) -> dict[str, Any]:
        import json

        from airflow.sdk.exceptions import AirflowSkipException

        from settings import get_settings

        choices = received(get_current_context())
        run = next((run for run in choices["candidates"] if run.split("/")[0] == model), None)
        if run is None:
            raise AirflowSkipException(f"{model}: this run has no candidate of it.")
        folder = get_settings().candidates_dir / run
        verdict = json.loads((folder / "verdict.json").read_text())
        if not verdict["promoted"]:
            raise AirflowSkipException(f"{model}: {verdict['reason']}")
        from dags.failures import skipping
        from serving.release import ReleaseRefused
        from serving.release_steps import publish as publish_candidate
        from training.champion import crown

        with skipping(ReleaseRefused):
            version, label = publish_candidate(model, folder)
        if label == "stable":
            crown(model, folder.name)
        print(f"{model} version {version} is {label}: {verdict['reason']}")
        return {"model": model, "version": version, "label": label}

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def on_trial(published: Any) -> list[dict[str, Any]]:
        return [{name: one[name] for name in ("model", "version")} for one in published or () if one["label"] == "canary"]

    # What was served before still is, so the consumers go on even where nothing new was published.
    @task(trigger_rule=TriggerRule.NONE_FAILED, outlets=[SERVED])
    def served() -> dict[str, Any]:
        context = get_current_context()
        return hand_over(context, SERVED, received(context))

    published = publish.expand(model=MODELS)
    published >> served()
    TriggerDagRunOperator.partial(task_id="release", trigger_dag_id="release").expand(conf=on_trial(published))


deploy()
