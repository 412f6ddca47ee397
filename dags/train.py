"""### Point-in-time frames into models, each with its verdict

1. **encoder** - the sequence model that all others share, on the queue `gpu`; with `PORTRAIT_TRAINING_PROCESSES`, trained together with
   its **companion** tasks on other workers.
2. **model** - one mapped run per model, on the queue `gpu`, one at a time on this machine (pool `training`). A model whose tables the shop
   lacks is skipped with the reason; the others go on.
3. **candidates** - names the runs that ended, for `deploy`.

Follows `features`, and learns from all that was delivered up to the end of the window. Reports, metrics and verdicts lie in the house under
`candidates/<model>/<run>/`, curves in MLflow.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, TriggerRule, dag, get_current_context, task

from dags.assets import CANDIDATES, FEATURES, hand_over, history_of, received
from dags.choices import DEFAULT_ARGS, training, window
from dags.failures import skipping
from settings import get_settings

PROCESSES = get_settings().training_processes


@dag(
    # Once for every window whose features are online: one run per partition, whatever their order.
    schedule=PartitionedAssetTimetable(assets=FEATURES),
    doc_md=__doc__,
    default_args=DEFAULT_ARGS,
    tags=["portrait"],
    max_active_runs=1 if PROCESSES > 1 else 16,  # processes of two runs would hold the workers and wait for each other
    params={**window(), **training()},
)
def train() -> None:
    @task(queue="gpu", pool="training")
    def encoder() -> list[dict[str, Any]]:
        from training.runs import TrainingSkipped, train_encoder

        choices = received(get_current_context())
        options = {name: choices[name] for name in ("seed", "epochs", "promote")}
        with skipping(TrainingSkipped):
            run = train_encoder(history_of(choices), options)
        job = {"encoder": str(run.path), "choices": choices, "options": options}
        return [{"model": model, **job} for model in choices["models"]]

    @task(queue="gpu", pool="training", map_index_template="{{ task.op_kwargs['job']['model'] }}")
    def model(job: dict[str, Any]) -> str:
        from pathlib import Path

        from training.runs import TrainingSkipped, train_model

        with skipping(TrainingSkipped):
            run = train_model(job["model"], Path(job["encoder"]), history_of(job["choices"]), job["options"])
        print(f"{run.model}: promoted={run.promoted}: {run.reason}")
        return f"{run.model}/{run.path.name}"

    # A skipped model stops nothing; a failed one does.
    @task(trigger_rule=TriggerRule.NONE_FAILED, outlets=[CANDIDATES])
    def candidates(runs: Any) -> dict[str, Any]:
        context = get_current_context()
        return hand_over(context, CANDIDATES, {**received(context), "candidates": list(runs)})

    @task(queue="gpu", pool="training")
    def companion(process: int) -> None:
        from training.runs import accompany_encoder

        choices = received(get_current_context())
        accompany_encoder(history_of(choices), {name: choices[name] for name in ("seed", "epochs", "promote")}, process)

    candidates(model.expand(job=encoder()))
    if PROCESSES > 1:  # beside the encoder, on other workers
        companion.expand(process=list(range(1, PROCESSES)))


train()
