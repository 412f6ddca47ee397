"""### Models once a week

1. **has_records** - skips the week of a house that has published no features yet: its first run of `ingest` trains anyway.
2. **train** - starts the DAG `train` on everything delivered so far; its gate decides whether the challenger replaces what is served.

A house whose records stand still trains the same candidates again; none is promoted.
"""

from __future__ import annotations

import pendulum
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import dag, task
from airflow.timetables.interval import CronDataIntervalTimetable

from dags.choices import DEFAULT_ARGS


@dag(
    # Every Monday at three in the night, after the Sunday's records.
    schedule=CronDataIntervalTimetable("0 3 * * 1", timezone="UTC"),
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    default_args=DEFAULT_ARGS,
    tags=["portrait"],
    max_active_runs=1,
)
def renew() -> None:
    @task
    def has_records() -> None:
        from airflow.sdk.exceptions import AirflowSkipException

        from feature_repo.published import is_published

        if not is_published("item_features"):
            raise AirflowSkipException("No features are published yet. Run `portrait run ingest` first.")

    has_records() >> TriggerDagRunOperator(task_id="train", trigger_dag_id="train")


renew()
