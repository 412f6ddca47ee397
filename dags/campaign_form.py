"""The form of the DAG `campaign`: what `serving/campaign.toml` says, as fields."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param

from dags.choices import day, window

#: How long a person has to answer in the run; afterwards the plan waits on the page.
ANSWER_TIME = timedelta(hours=1)
#: What a person says beside the choice.
REASONS = {
    "reason": Param("", type="string", description="why; needed to approve a plan that may lose"),
    "role": Param("", type="string", description="your role; needed for the same"),
}


def form() -> dict[str, Param]:
    return {
        **window(),
        "name": Param(None, type=["null", "string"], description="the campaign's name; blank is `<source>-<end of the window>`"),
        "objective": Param("profit", type="string", enum=["profit", "conversions", "visits"], description="what to maximise"),
        "budget": Param(1000.0, type="number", minimum=0, description="what contacts and redemptions may cost, in the shop's currency"),
        "margin": Param(0.3, type="number", exclusiveMinimum=0, maximum=1, description="share of spend that is profit"),
        "offers": Param(
            [],
            type="array",
            items={"type": "object"},
            description='e.g. [{"name": "gift", "channel": "coupon", "contact_cost": 0.1, "redemption_cost": 3}]; empty is all',
        ),
        "channel_budgets": Param({}, type="object", description='e.g. {"ad": 300}'),
        "offers_per_user": Param(1, type="integer", minimum=1, maximum=3, description="above 1, combinations count as offers"),
        "fatigue_days": Param(7, type="integer", minimum=0, description="leave out whoever was contacted in so many days before"),
        "quotas": Param([], type="array", items={"type": "object"}, description='e.g. [{"segment": "loyal", "most_share": 0.5}]'),
        "audience": Param({}, type="object", description='e.g. {"segment": ["loyal"], "spend_90d": {"min": 10}}; empty is everybody'),
        "holdout": Param(0.1, type="number", minimum=0, exclusiveMaximum=1, description="share of users who get nothing, to measure by"),
        "starts_on": day("first day of the campaign"),
        "ends_on": day("its last day"),
        "ask": Param(True, type="boolean", description="wait an hour for a person to approve; off: the plan waits on the page"),
    }
