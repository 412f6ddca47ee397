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


class LiveRun:
    """A run that can be watched while it goes on: in MLflow under the experiment `model`, and in TensorBoard's `home/tensorboard`."""

    def __init__(self, model: str, name: str) -> None:
        self._client, experiment = _experiment(model)
        self.run_id: str = self._client.create_run(experiment, run_name=name).info.run_id
        self._board = get_settings().home / "tensorboard" / model / name

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """The figures of one epoch, from 0. Values that are not finite are left out: MLflow's SQLite store keeps no NaN."""
        import tensorflow as tf

        now = int(time.time() * 1000)
        finite = {key: float(value) for key, value in figures.items() if math.isfinite(value)}
        self._log([(_key(key), value, now, epoch) for key, value in finite.items()])
        with tf.summary.create_file_writer(str(self._board)).as_default(step=epoch):
            for key, value in finite.items():
                tf.summary.scalar(_key(key), value)

    def finish(
        self, params: Mapping[str, object], metrics: Mapping[str, float], files: Sequence[Path] = (), tags: Mapping[str, str] | None = None
    ) -> str:
        """Parameters, final metrics, files and tags; returns the MLflow run id."""
        from mlflow.entities import Param, RunTag

        now = int(time.time() * 1000)
        self._log([(_key(key), float(value), now, 0) for key, value in metrics.items() if math.isfinite(value)])
        self._client.log_batch(
            self.run_id,
            params=[Param(_key(key), str(value)[:6000]) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in (tags or {}).items()],
        )
        for file in files:
            self._client.log_artifact(self.run_id, str(file))
        self._client.set_terminated(self.run_id)
        return self.run_id

    def fail(self) -> None:
        """Marks a run that ended with an error."""
        self._client.set_terminated(self.run_id, status="FAILED")

    def _log(self, points: Sequence[tuple[str, float, int, int]]) -> None:
        from mlflow.entities import Metric

        for start in range(0, len(points), 1000):  # MLflow's limit for one batch
            self._client.log_batch(self.run_id, metrics=[Metric(*point) for point in points[start : start + 1000]])


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
    """Log one finished run under the experiment `model`, and return its MLflow run id. `curves` hold one value an epoch, from epoch 0."""
    run = LiveRun(model, name)
    for epoch in range(max(map(len, curves.values()), default=0)):
        run.log(epoch, {key: curve[epoch] for key, curve in curves.items() if epoch < len(curve)})
    return run.finish(params, metrics, files, tags)


def _key(name: str) -> str:
    """MLflow refuses `@` and `%` in keys: `HR@10` becomes `HR_at_10`, `uplift@30%` becomes `uplift_at_30pct`."""
    return name.replace("@", "_at_").replace("%", "pct")


def client() -> "MlflowClient":
    """A client of the house's MLflow. The first one creates the tables; a lock lets only one process do so."""
    from filelock import FileLock
    from mlflow import MlflowClient

    settings = get_settings()
    folder = settings.home / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "create.lock"):
        made = MlflowClient(tracking_uri=settings.mlflow_uri, registry_uri=settings.mlflow_uri)
        made.get_experiment_by_name("Default")
        return made


def _experiment(model: str) -> "tuple[MlflowClient, str]":
    """A client and the experiment's id; a lock lets only one process create it."""
    from filelock import FileLock

    made, folder = client(), get_settings().home / "mlflow"
    with FileLock(folder / "create.lock"):
        found = made.get_experiment_by_name(model)
        if found:
            return made, found.experiment_id
        return made, made.create_experiment(model, artifact_location=(folder / "artifacts" / model).as_uri())
