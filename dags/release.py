"""### A version on trial, before all users get it

1. **try_out** - the version that `deploy` put on trial answers a share of the users, always the same ones.
2. **watch** - until its time is over it is compared with the stable version once a minute. The first rule that is broken rolls it back.
3. **decide**, **act** - *Required Actions* of this run shows the comparison, and you may decide. Who says nothing lets the rules.

Rules and times stand in `serving/release.toml`, a file for people. By hand, any published version is tried out.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param, PokeReturnValue, dag, get_current_context, task

from dags.choices import DEFAULT_ARGS, MODELS
from serving.release_rules import times

FOLLOW, PROMOTE, ROLL_BACK = "Follow the rules", "Promote", "Roll back"


@dag(
    # By `deploy`, for each version that passed on recorded requests, or by hand.
    schedule=None,
    doc_md=__doc__,
    default_args=DEFAULT_ARGS,
    tags=["portrait"],
    params={
        "model": Param(MODELS[0], type="string", enum=MODELS, description="the model"),
        "version": Param(None, type=["null", "integer"], minimum=1, description="a published version; blank is the one on trial"),
        "share": Param(None, type=["null", "number"], minimum=0, maximum=1, description="share of the users; blank is the rules' own"),
    },
)
def release() -> None:
    @task
    def try_out() -> str:
        from dags.failures import at_once
        from serving.release import ReleaseRefused, Releases

        chosen = get_current_context()["params"]
        with at_once(ReleaseRefused):
            return Releases().start(chosen["model"], chosen["version"], chosen["share"]).model

    @task.sensor(poke_interval=60, mode="reschedule")
    def watch(model: str) -> PokeReturnValue:
        from dags.failures import skipping
        from serving.release_steps import RolledBack, watch

        with skipping(RolledBack):
            seen = watch(model)
        return PokeReturnValue(seen.is_over, {"model": model, "version": seen.version, "text": seen.text})

    decide = HITLOperator(
        task_id="decide",
        subject="{{ ti.xcom_pull(task_ids='watch')['model'] }} version {{ ti.xcom_pull(task_ids='watch')['version'] }}: for all users?",
        body="{{ ti.xcom_pull(task_ids='watch')['text'] }}",
        options=[FOLLOW, PROMOTE, ROLL_BACK],
        defaults=FOLLOW,
        response_timeout=timedelta(minutes=times()["answer_minutes"]),
    )

    @task
    def act(model: str, answer: Any) -> None:
        from serving.release_steps import act
        from training.registry import crown

        choice, user = answer["chosen_options"][0], answer["responded_by_user"] or {"name": "nobody"}
        if run := act(model, {PROMOTE: True, ROLL_BACK: False}.get(choice), f"{user['name']} said: {choice}"):
            crown(model, run)

    model: Any = try_out()
    watch(model) >> decide
    act(model, decide.output)


release()
