"""### A version on trial, before all users get it

**try_out** lets the version that `deploy` put on trial answer a share of the users, always the same ones. **watch** compares it with the
stable version once a minute; the first rule that is broken rolls it back. **decide**: *Required Actions* of this run shows the comparison,
and you may decide; who says nothing lets the rules. **act** does it. Rules and times: `serving/release.toml`.
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
        "version": Param(None, type=["null", "integer"], minimum=1, description="any published version; blank is the one on trial"),
        "share": Param(None, type=["null", "number"], minimum=0, maximum=1, description="share of the users; blank is the rules' own"),
    },
)
def release() -> None:
    @task
    def try_out() -> dict[str, Any]:
        from dags.failures import at_once
        from serving.release import ReleaseRefused, Releases

        chosen = get_current_context()["params"]
        with at_once(ReleaseRefused):
            started = Releases().start(chosen["model"], chosen["version"], chosen["share"])
        return {"model": started.model, "version": started.canary}

    @task.sensor(poke_interval=60, mode="reschedule")
    def watch(trial: Any) -> PokeReturnValue:
        from dags.failures import skipping
        from serving.release_steps import ReleaseRefused, RolledBack, watch

        with skipping(RolledBack, ReleaseRefused):
            seen = watch(**trial)
        return PokeReturnValue(seen.is_over, {**trial, "text": seen.text})

    decide = HITLOperator(
        task_id="decide",
        subject="{{ ti.xcom_pull(task_ids='watch')['model'] }} version {{ ti.xcom_pull(task_ids='watch')['version'] }}: for all users?",
        body="{{ ti.xcom_pull(task_ids='watch')['text'] }}",
        options=[FOLLOW, PROMOTE, ROLL_BACK],
        defaults=FOLLOW,
        response_timeout=timedelta(minutes=times()["answer_minutes"]),
    )

    @task
    def act(trial: Any, answer: Any) -> None:
        from dags.failures import skipping
        from serving.release_steps import ReleaseRefused, act
        from training.champion import crown

        choice, user = answer["chosen_options"][0], answer["responded_by_user"] or {"name": "nobody"}
        with skipping(ReleaseRefused):
            if run := act(**trial, promoted={PROMOTE: True, ROLL_BACK: False}.get(choice), reason=f"{user['name']} said: {choice}"):
                crown(trial["model"], run)

    trial = try_out()
    watch(trial) >> decide
    act(trial, decide.output)


release()
