"""### Who gets which offer, within a budget

**plan** asks the served uplift model for every known user, spends the budget where it earns most, keeps a holdout to measure by, and leaves
`campaigns/<name>/plan.parquet` and `plan.json` in the house. Skipped, with the reason, where no uplift model is served.

Follows `deploy`, with the form's defaults. Run alone, it plans what the form says.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, PartitionedAssetTimetable, dag, get_current_context, task

from dags.assets import SERVED, received
from dags.choices import DEFAULT_ARGS, window


@dag(
    # Once for every window after which models were published: one run per partition, whatever their order.
    schedule=PartitionedAssetTimetable(assets=SERVED),
    doc_md=__doc__,
    default_args=DEFAULT_ARGS,
    tags=["portrait"],
    params={
        **window(),
        "name": Param(None, type=["null", "string"], description="the campaign's name; blank is `<source>-<end of the window>`"),
        "budget": Param(1000.0, type="number", minimum=0, description="what the offers may cost, in the shop's currency"),
        "margin": Param(0.3, type="number", exclusiveMinimum=0, maximum=1, description="share of spend that is profit"),
        "holdout": Param(0.1, type="number", minimum=0, exclusiveMaximum=1, description="share of users who get nothing, to measure by"),
    },
)
def campaign() -> None:
    @task
    def plan() -> dict[str, Any]:
        from dags.failures import at_once, skipping
        from serving.errors import BadRequest, NotServed
        from serving.offers import CampaignRequest
        from serving.offers import plan as plan_campaign

        choices = received(get_current_context())
        name = choices["name"] or f"{choices['source']}-{choices['end']}"
        with skipping(NotServed), at_once(BadRequest):
            planned = plan_campaign(CampaignRequest(name, choices["budget"], choices["margin"], choices["holdout"]))
        print(planned.as_text())
        return {"campaign": name, "treated": planned.treated, "cost": planned.planned_cost, "expected_profit": planned.expected_profit}

    plan()


campaign()
