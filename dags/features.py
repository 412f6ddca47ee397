"""### Landing tables into online features

1. **build_marts** - dbt builds staging, intermediate and marts, with contracts and tests; a window with days never loaded is refused.
2. **gate_and_export** - only where the marts gate lets them pass, the days that changed are exported as Parquet.
3. **materialise** - item texts become vectors, the newest rows go online, and what is online of 1,000 users and items is compared.
4. **document** - beside it: dbt's documentation as one page, anew where the dbt project changed; on the web page under *Tools*.

Follows `ingest`. Run alone, it takes the form's window, or the whole delivery.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task

from dags.assets import FEATURES, LANDING, hand_over, received, window_of
from dags.choices import DEFAULT_ARGS, training, window
from dags.failures import at_once


@dag(
    # Once for every window that was loaded: one run per partition, whatever their order.
    schedule=PartitionedAssetTimetable(assets=LANDING),
    doc_md=__doc__,
    default_args=DEFAULT_ARGS,
    tags=["portrait"],
    max_active_runs=1,
    params={**window(), **training()},
)
def features() -> None:
    @task(pool="warehouse")
    def build_marts() -> dict[str, Any]:
        from quality.errors import QualityError, WarehouseBusy
        from quality.freshness import check_loaded
        from quality.transform import build

        choices = received(get_current_context())
        with at_once(QualityError, passing=(WarehouseBusy,)):
            check_loaded(*window_of(choices))
            print(build(*window_of(choices)).as_text())
        return choices

    @task(pool="warehouse")
    def gate_and_export(choices: Any) -> dict[str, Any]:
        from feature_repo.export import export_marts
        from quality.errors import QualityError, WarehouseBusy
        from quality.gates import check

        with at_once(QualityError, passing=(WarehouseBusy,)):
            print(check("marts", *window_of(choices)).as_text())
        print(export_marts(*window_of(choices)).as_text())
        return choices

    @task(outlets=[FEATURES])
    def materialise(choices: Any) -> dict[str, Any]:
        from feature_repo import text
        from feature_repo.materialise import materialise as materialise_window
        from feature_repo.parity import ParityFailed, check_parity

        print(text.update(*window_of(choices)).as_text())
        print("online:", ", ".join(f"{count} rows of {view}" for view, count in materialise_window(*window_of(choices)).items()))
        with at_once(ParityFailed):
            print(check_parity(sample=1000).as_text())
        return hand_over(get_current_context(), FEATURES, choices)

    @task(pool="warehouse")
    def document(_exported: Any) -> None:
        from dags.failures import skipping
        from quality.transform import TransformFailed, document

        with skipping(TransformFailed):  # a description that is missing stops no data
            print(document() or "dbt's documentation is of this project already")

    materialise(exported := gate_and_export(build_marts()))
    document(exported)


features()
