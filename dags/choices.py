"""What a person may choose in the UI's forms, and what every DAG here has in common."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param

from training.signatures import SERVED_MODELS

MODELS = list(SERVED_MODELS)

#: One retry for a network or a machine that hiccups; broken data contracts raise AirflowFailException, which is never retried.
DEFAULT_ARGS: dict[str, Any] = {"owner": "portrait", "retries": 1, "retry_delay": timedelta(seconds=10)}


def day(meaning: str) -> Param:
    return Param(None, type=["null", "string"], format="date", description=meaning)


def window() -> dict[str, Param]:
    return {
        "start": day("first day of the window; blank is the whole delivery"),
        "end": day("the day after the window's last; blank is the whole delivery"),
    }


def training() -> dict[str, Param]:
    return {
        "seed": Param(7, type="integer", minimum=0, description="seed of the simulated shop and of every training run"),
        "models": Param(
            MODELS,
            type="array",
            items={"type": "string", "enum": MODELS},
            examples=MODELS,
            minItems=1,
            description="models to train; the encoder that they share is always trained",
        ),
        "epochs": Param(None, type=["null", "integer"], minimum=1, description="passes over the data; blank is each model's own default"),
        "promote": Param(True, type="boolean", description="serve a model that beats the one served; off: train and report only"),
    }
