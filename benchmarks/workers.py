"""Independent trainings on one Celery worker and on two: `PORTRAIT_HOME=HOUSE python -m benchmarks.workers [--epochs N] [--page]`.

HOUSE is of the profile `services` and has features. Two runs of the DAG `train`, of two seeds, are triggered at once; a training task has
one thread. Wall time from the trigger to the end of the later run, by one worker of the queue `gpu` and then by two, each worker fresh.
"""

import argparse
import json
import os
import subprocess
import sys
import time

from benchmarks.page import circumstances, write_part
from serving.local.airflow_client import FINAL, AirflowClient
from settings import ROOT, get_settings

SEEDS = (11, 12)
MODELS = ["recommender"]
GOAL = 1.6


def seconds_with(workers: int, epochs: int) -> dict[str, float]:
    """Wall seconds of both runs, and those of the trainings alone, on so many workers."""
    environment = {**os.environ, "PORTRAIT_GPU_WORKERS": str(workers), "PORTRAIT_TRAINING_THREADS": "1", "OMP_NUM_THREADS": "1"}
    for command in ("down", "up"):
        subprocess.run([sys.executable, str(ROOT / "cli.py"), command], env=environment, check=True, stdout=subprocess.DEVNULL)
    with AirflowClient.of(get_settings()) as airflow:
        begin = time.monotonic()
        runs = [
            airflow.trigger("train", {"seed": seed + 10 * workers, "epochs": epochs, "models": MODELS, "promote": False}) for seed in SEEDS
        ]
        while not all(run.state in FINAL for run in runs):
            time.sleep(0.5)
            runs = [airflow.run(run.dag_id, run.run_id) for run in runs]
        wall = time.monotonic() - begin
        if failed := [run.run_id for run in runs if run.state != "success"]:
            raise SystemExit(f"A run that fails measures nothing. Failed: {failed}. See its log in Airflow.")
        trainings = [task.seconds for run in runs for task in airflow.tasks(run) if task.task_id in ("encoder", "model")]
    return {"wall": wall, "trainings": sum(trainings), "tasks": len(trainings)}


def section(result: dict) -> str:
    one, two = result["one"], result["two"]
    ratio = one["wall"] / two["wall"]
    verdict = "met" if ratio >= GOAL else "missed"
    return f"""## Training on more workers

`python -m benchmarks.workers --epochs {result["epochs"]}`, {result["date"]}, {result["machine"]}.
Two runs of `train` at once, {one["tasks"]:.0f} trainings, one thread each.

| workers of the queue `gpu` | wall, s | the trainings' own seconds, added up |
| --- | --- | --- |
| 1 | {one["wall"]:.0f} | {one["trainings"]:.0f} |
| 2 | {two["wall"]:.0f} | {two["trainings"]:.0f} |

**{ratio:.2f}x** (goal {GOAL}x: {verdict}). Where the trainings' own seconds grow with the second worker, both share what the machine has:
two cores, one memory bus, and the services of the house beside them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md")
    chosen = parser.parse_args()
    if not get_settings().broker_url:
        parser.error("Workers need a house of the profile `services`. Start one: make demo PROFILE=services")
    result = {"epochs": chosen.epochs, **circumstances()}
    result |= {name: seconds_with(workers, chosen.epochs) for name, workers in (("one", 1), ("two", 2))}
    print(json.dumps(result, indent=1))
    if chosen.page:
        write_part("workers", section(result))


if __name__ == "__main__":
    main()
