"""### Who gets which offer, within a budget

**plan** asks the served uplift model for every user who agreed to offers, spends the budget where it earns most, and keeps a holdout to
measure by. **evaluate** judges the plan by past randomised campaigns. **decide**: *Required Actions* of a run that a person started shows
both; approve, reject, or let the verdict. **act** assigns and writes the lists to send by, or not. A plan that may lose is only approved
with a reason and a role; where nobody decides, it waits on the web page `/campaigns`. `docs/marketing.md` says more.

Follows `deploy`, with the form's defaults and without asking anybody. Skipped, with the reason, where no uplift model is served.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param, PartitionedAssetTimetable, dag, get_current_context, task

from dags.assets import SERVED, received
from dags.campaign_form import ANSWER_TIME, form
from dags.choices import DEFAULT_ARGS

FOLLOW, APPROVE, REJECT = "Follow the verdict", "Approve", "Reject"


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
        options=[FOLLOW, APPROVE, REJECT],
        defaults=FOLLOW,
        params={
            "reason": Param("", type="string", description="why; needed to approve a plan that may lose"),
            "role": Param("", type="string", description="your role; needed for the same"),
        },
        response_timeout=ANSWER_TIME,
    )

    @task(trigger_rule="none_failed_min_one_success")
    def act(name: Any, answer: Any = None) -> str:
        from dags.failures import at_once
        from serving.campaign_state import CampaignRefused
        from serving.campaign_steps import act

        said = answer or {"chosen_options": [FOLLOW], "params_input": {}, "responded_by_user": None}
        user, given = said["responded_by_user"] or {"name": "nobody"}, said.get("params_input") or {}
        approved = {APPROVE: True, REJECT: False}.get(said["chosen_options"][0])
        with at_once(CampaignRefused):
            return act(name, approved, who=user["name"], role=given.get("role", ""), reason=given.get("reason", ""))

    planned = plan()
    judged = evaluate(planned)
    acted = act(planned, decide.output)
    who_decides(judged) >> [decide, acted]


campaign()
