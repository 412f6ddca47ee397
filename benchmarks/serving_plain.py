"""The service that one would write first: `python -m benchmarks.serving_plain SAVED_MODEL PORT`, for `benchmarks.serving`.

FastAPI in one process, the SavedModel loaded in it, a user's history by stock Feast's `get_online_features` from a stock SQLite store on
the same file, the model's ten best with titles from memory. No keys, rules, reasons, log, labels or deadline.
"""

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf
import uvicorn
from fastapi import FastAPI, HTTPException

from serving.model_inputs import history_inputs
from settings import get_settings

HISTORY = [f"user_sequences:{name}" for name in ("event_item_ids", "event_types", "event_times_us")]


def create_app(saved_model: Path) -> FastAPI:
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    from feature_repo.frames import rows_as_of

    folder = get_settings().feast_dir
    registry = {"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db", "cache_ttl_seconds": 60}
    online = {"type": "sqlite", "path": f"{folder}/online.db"}
    store = FeatureStore(
        config=RepoConfig(project="portrait", provider="local", registry=registry, online_store=online, entity_key_serialization_version=3)
    )
    model = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    as_of = datetime.fromisoformat(
        max(path.name.removeprefix("day=") for path in (get_settings().offline_dir / "item_features").glob("day=*"))
    )
    titles = dict(rows_as_of("item_features", as_of)[["item_id", "title"]].itertuples(index=False))
    app = FastAPI()

    @app.get("/users/{user_id}/recommendations")
    def recommendations(user_id: str, k: int = 10) -> list[dict[str, Any]]:
        row = {name: values[0] for name, values in store.get_online_features(HISTORY, [{"user_id": user_id}]).to_dict().items()}
        if not row["event_item_ids"]:
            raise HTTPException(404, "unknown user")
        inputs = history_inputs([row], as_of)
        tensors = {name: tf.constant(value.tolist(), tf.string if value.dtype == object else value.dtype) for name, value in inputs.items()}
        answer = model(**tensors, exclude_item_ids=tf.constant([[""]]), k=tf.constant([k], tf.int32))
        found = zip(answer["item_ids"].numpy()[0], answer["scores"].numpy()[0].tolist(), strict=True)
        return [{"item_id": item.decode(), "title": titles.get(item.decode()), "score": score} for item, score in found]

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), access_log=False, log_level="warning")
