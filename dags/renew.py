"""### Models once a week

**train** starts the DAG `train` on everything delivered so far; its gate decides whether the challenger replaces what is served.
A house whose records stand still trains the same candidates again; none is promoted.
"""

from __future__ import annotations

import pendulum
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import dag
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
    TriggerDagRunOperator(task_id="train", trigger_dag_id="train")


renew()
