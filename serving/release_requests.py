"""Recorded requests for a release: the golden ones of both versions, and what users of the newest published day would ask."""

from datetime import date, datetime
from typing import Any

import numpy as np

from feature_repo.published import mart_dir
from serving import golden
from serving.model_client import ModelClient
from serving.model_inputs import history_inputs, user_inputs
from serving.release_compare import Request
from settings import Settings
from training.signatures import FRAUD, ORDER_FEATURES, RECOMMENDER, RISK, SERVED_MODELS, UPLIFT

USERS = 200
WANTED = 10


def recorded(model: str, versions: list[int], client: ModelClient, settings: Settings) -> list[Request]:
    """Golden requests first, then one for each of USERS users, evenly spaced among those known; no more where none is published, nor of
    the risk model, which is asked about applications and not about users."""
    requests: list[Request] = [golden.read(settings.models_dir / model / str(version)).inputs for version in versions]
    if model == FRAUD.name:
        return requests + _of_orders()
    return requests + (_of_users(model, versions[0], client) if model in SERVED_MODELS and model != RISK.name else [])


def _of_orders() -> list[Request]:
    """The newest published orders, one a request."""
    from feature_repo.frames import read_mart

    days = sorted(path.name.removeprefix("day=") for path in mart_dir("order_features").glob("day=*"))
    if not days:
        return []
    orders = read_mart("order_features", start=date.fromisoformat(days[-min(7, len(days))])).sort_values(["placed_at", "order_id"])
    rows = orders[list(ORDER_FEATURES)].tail(USERS).to_numpy(np.float32)
    return [{name: row[place : place + 1] for place, name in enumerate(ORDER_FEATURES)} for row in rows]


def _of_users(model: str, version: int, client: ModelClient) -> list[Request]:
    import pandas as pd

    from feature_repo.frames import rows_as_of, training_frame

    days = [path.name.removeprefix("day=") for path in mart_dir("user_sequences").glob("day=*")]
    if not days:
        return []
    as_of = datetime.fromisoformat(max(days))
    users = np.sort(rows_as_of("user_sequences", as_of)["user_id"].astype(str).to_numpy(object))
    chosen = users[np.unique(np.linspace(0, len(users) - 1, min(USERS, len(users))).astype(int))]
    frame = training_frame(SERVED_MODELS[model].feature_service, pd.DataFrame({"user_id": chosen, "event_timestamp": as_of}))
    extra = _extra(model, version, client)
    return [_inputs(model, row, as_of) | extra for row in frame.to_dict("records")]


def _inputs(model: str, row: Any, as_of: datetime) -> dict[str, np.ndarray]:
    inputs = history_inputs([row], as_of)
    if model == RECOMMENDER.name:
        return inputs | {"exclude_item_ids": np.array([[""]], object), "k": np.array([WANTED], np.int32)}
    return inputs | user_inputs([row])


def _extra(model: str, version: int, client: ModelClient) -> dict[str, np.ndarray]:
    """A shop's own covariates of the uplift model, unknown."""
    if model != UPLIFT.name:
        return {}
    own = {name: tensor for name, tensor in client.metadata(model, version=version).inputs.items() if name.startswith("x_")}
    return {name: np.array([""], object) if tensor.dtype == "string" else np.array([np.nan], np.float32) for name, tensor in own.items()}
