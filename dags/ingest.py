"""### A publisher's files into the warehouse

1. **deliver** - the source writes landing files, one folder per table and day.
2. **load_and_gate** - the window is loaded, replacing its days; bad rows go to quarantine with the rule they broke, and are counted:
   `rows in = accepted + quarantined + exact duplicates`. Then the landing gate decides whether the window may pass.

Triggering this DAG alone leads all the way to served models and an offer plan: `features`, `train`, `deploy` and `campaign` follow through
assets, each with the choices made here.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, PartitionedAtRuntime, dag, get_current_context, task

from dags.assets import LANDING, hand_over, received, window_of
from dags.choices import DEFAULT_ARGS, training, window
from sources.registry import SOURCES


@dag(
    # By hand or by REST: the window, and with it the partition, is known only once the source has delivered.
    schedule=PartitionedAtRuntime(),
    doc_md=__doc__,
    default_args=DEFAULT_ARGS,
    tags=["portrait"],
    max_active_runs=1,
    params={
        "source": Param("shop", type="string", enum=list(SOURCES), description="where the records come from"),
        "data": Param(None, type=["null", "string"], description="folder of the publisher's files; the simulated shop needs none"),
        "deliver": Param(True, type="boolean", description="ask the source; off: load again what lies there, as after a release"),
        "options": Param({}, type="object", description='the source\'s own options, such as {"users": 500}; `portrait sources` lists them'),
        **window(),
        **training(),
    },
)
def ingest() -> None:
    @task
    def deliver() -> dict[str, Any]:
        from dags.failures import at_once
        from settings import get_settings
        from sources.errors import SourceError
        from sources.registry import deliver as deliver_source

        asked = get_current_context()["params"]
        if not asked["deliver"]:
            return {}
        with at_once(SourceError):
            delivery = deliver_source(
                asked["source"], asked["data"], get_settings().landing_dir, seed=asked["seed"], options=asked["options"]
            )
        for name, table in delivery.tables.items():
            print(f"{name}: {table.rows} rows, {table.first_ds} to {table.last_ds}")
        for name, reason in delivery.missing.items():
            print(f"{name}: none, {reason}")
        return {name: table.rows for name, table in delivery.tables.items()}

    @task(pool="warehouse", outlets=[LANDING])
    def load_and_gate() -> dict[str, Any]:
        from dags.failures import at_once
        from quality.errors import QualityError, WarehouseBusy
        from quality.gates import check
        from quality.load import load_window
        from settings import get_settings

        context = get_current_context()
        choices = received(context)
        start, end = window_of(choices)
        with at_once(QualityError, passing=(WarehouseBusy,)):
            report = load_window(get_settings().landing_dir, start, end)
            print(report.as_text())
            print(check("landing", start, end).as_text())
        return hand_over(context, LANDING, choices)

    deliver() >> load_and_gate()


ingest()
