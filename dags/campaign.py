"""### Who gets which offer, within a budget

**plan** spends the budget where the served uplift model says that it earns most, among users who agreed, and keeps a holdout. **evaluate**
judges it by past randomised campaigns. **decide**: *Required Actions* of a run that a person started. **act** does what was answered;
without an answer the plan waits on the page `/campaigns`, whatever the verdict. Follows `deploy` with the form's defaults, and then only
plans. Skipped, with the reason, where no uplift model is served. `docs/marketing.md` says more.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task

from dags.assets import SERVED, received
from dags.campaign_form import ANSWER_TIME, REASONS, form
from dags.choices import DEFAULT_ARGS
from serving.campaign_answer import APPROVE, REJECT, WAIT


@dag(
    # Once for every window after which models were published: one run per partition, whatever their order.
    schedule=PartitionedAssetTimetable(assets=SERVED),
    doc_md=__doc__,
    default_args=DEFAULT_ARGS,
    tags=["portrait"],
    params=form(),
)
def campaign() -> None:
    @task
    def plan() -> str:
        from dags.failures import at_once, skipping
        from serving.campaign_state import CampaignRefused
        from serving.campaign_steps import plan_as_chosen
        from serving.errors import BadRequest, NotServed

        with skipping(NotServed, CampaignRefused), at_once(BadRequest):
            return plan_as_chosen(received(get_current_context()), "the DAG campaign")

    @task
    def evaluate(name: Any) -> str:
        from dags.failures import skipping
        from serving.campaign_steps import judge
        from serving.errors import NotServed

        with skipping(NotServed):
            return judge(name)

    @task.branch
    def who_decides(_judged: Any) -> str:
        context = get_current_context()
        return "decide" if context["dag_run"].run_type == "manual" and context["params"]["ask"] else "act"

    decide = HITLOperator(
        task_id="decide",
        subject="Campaign {{ ti.xcom_pull(task_ids='plan') }}: send it?",
        body="{{ ti.xcom_pull(task_ids='evaluate') }}",
        options=[WAIT, APPROVE, REJECT],
        defaults=WAIT,
        params=REASONS,
        response_timeout=ANSWER_TIME,
    )

    @task(trigger_rule="none_failed_min_one_success")
    def act(name: Any, answer: Any = None) -> str:
        from dags.failures import at_once
        from serving.campaign_state import CampaignRefused
        from serving.campaign_steps import act_on_answer
        from serving.errors import NotServed

        with at_once(CampaignRefused, NotServed):
            return act_on_answer(name, answer)

    planned = plan()
    who_decides(evaluate(planned)) >> [decide, act(planned, decide.output)]


campaign()
