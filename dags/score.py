"""### Portraits of all users, every day

**score** asks the served portrait model about every user known at the end of the window, and writes the landing table `portraits` for that
day. The next run of `ingest` loads it with the other records, dbt carries it into the mart `user_portraits`, and Feast publishes it.
Skipped, with the reason, where no portrait model is served.

Follows `deploy`. Run alone, it scores the day that the form's window ends with.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task

from dags.assets import SERVED, received, window_of
from dags.choices import DEFAULT_ARGS, window


@dag(
    # Once for every window after which models were published: one run per partition, whatever their order.
    schedule=PartitionedAssetTimetable(assets=SERVED),
    doc_md=__doc__,
    default_args=DEFAULT_ARGS,
    tags=["portrait"],
    max_active_runs=1,
    params=window(),
)
def score() -> None:
    @task
    def score() -> dict[str, Any]:
        from dags.failures import skipping
        from serving.errors import NotServed
        from serving.scoring import score as score_day

        _, end = window_of(received(get_current_context()))
        with skipping(NotServed):
            scored = score_day(end)
        print(f"{scored.users} portraits of {scored.day} by version {scored.model_version}")
        return {"day": str(scored.day), "users": scored.users, "model_version": scored.model_version}

    score()


score()
