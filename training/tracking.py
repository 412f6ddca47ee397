"""Training runs in MLflow: parameters, curves, metrics and the report, written straight into `settings.mlflow_uri`.

Logging is explicit: MLflow's autologging does not cover this Keras. One experiment a model; artifacts lie under `home/mlflow/artifacts`.
"""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from settings import get_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient


def log_run(
    model: str,
    name: str,
    *,
    params: Mapping[str, object],
    curves: Mapping[str, Sequence[float]],
    metrics: Mapping[str, float],
    files: Sequence[Path] = (),
    tags: Mapping[str, str] | None = None,
) -> str:
    """Log one finished run under the experiment `model`, and return its MLflow run id.

    `curves` hold one value an epoch, from epoch 0. Values that are not finite are left out: MLflow's SQLite store keeps no NaN.
    """
    from mlflow.entities import Metric, Param, RunTag

    client, experiment = _experiment(model)
    run_id = client.create_run(experiment, run_name=name).info.run_id
    now = int(time.time() * 1000)
    points = [(key, value, epoch) for key, curve in curves.items() for epoch, value in enumerate(curve)]
    points += [(key, value, 0) for key, value in metrics.items()]
    logged = [Metric(_key(key), float(value), now, epoch) for key, value, epoch in points if math.isfinite(value)]
    for start in range(0, len(logged), 1000):  # MLflow's limit for one batch
        client.log_batch(run_id, metrics=logged[start : start + 1000])
    client.log_batch(
        run_id,
        params=[Param(_key(key), str(value)[:6000]) for key, value in params.items()],
        tags=[RunTag(key, value) for key, value in (tags or {}).items()],
    )
    for file in files:
        client.log_artifact(run_id, str(file))
    client.set_terminated(run_id)
    return run_id


def _key(name: str) -> str:
    """MLflow refuses `@` and `%` in keys: `HR@10` becomes `HR_at_10`, `uplift@30%` becomes `uplift_at_30pct`."""
    return name.replace("@", "_at_").replace("%", "pct")


def _experiment(model: str) -> "tuple[MlflowClient, str]":
    """A client and the experiment's id. The first client of a house creates the tables; a lock lets only one process do so."""
    from filelock import FileLock
    from mlflow import MlflowClient

    settings = get_settings()
    folder = settings.home / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "create.lock"):
        client = MlflowClient(tracking_uri=settings.mlflow_uri)
        found = client.get_experiment_by_name(model)
        if found:
            return client, found.experiment_id
        return client, client.create_experiment(model, artifact_location=(folder / "artifacts" / model).as_uri())
