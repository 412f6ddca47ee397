"""A house with a feature store, items and a recommender of random weights, for `benchmarks.recommendations`: what it says is nonsense, what
it costs is not.

`python -m benchmarks.recommendation_house MODELS ITEMS` exports the recommender alone, in a process of its own: TensorFlow is not to stand
beside what is measured.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np

SEED = 7
DAY = date(2024, 3, 1)
USERS, EVENTS, DIM, NEIGHBOURS = 5_000, 50, 128, 50
COMPARED = 50_000  # items up to which vectors are published
TYPES = ("view", "view", "view", "cart", "purchase")


def export(models: Path, items: int) -> None:
    """A recommender of the default shape over `items` items, with a memory of 50 neighbours an item, as version 1."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from scipy.sparse import csr_matrix

    from training.catalogue import Catalogue, ItemContent
    from training.encoder import TrainedEncoder, build_encoder, build_item_encoder, item_vectors
    from training.encoder_config import EncoderConfig
    from training.export import export_model
    from training.histories import Histories
    from training.layers import content_table, unknown_places
    from training.memory import Memory
    from training.recommender import Recommender
    from training.served import history_inputs
    from training.signatures import RECOMMENDER

    generator = np.random.default_rng(SEED)
    item_ids = np.array([f"i{number}" for number in range(items)], object)
    blank = np.full(items, "", object)
    catalogue = Catalogue(item_ids, blank, blank, blank, np.full(items, np.nan, np.float32), blank)
    content = ItemContent(
        generator.normal(size=(items, 96)).astype(np.float32), generator.integers(0, 40, (items, 3)), generator.integers(0, 100, items)
    )
    table = content_table(content, np.ones(items, bool), unknown_places(item_ids))
    config = EncoderConfig()
    item_encoder = build_item_encoder(
        config, {"places": len(table), "columns": table.shape[1], "categories": 40, "brands": 100}, SEED, table
    )
    network = build_encoder(config, item_encoder, SEED)
    columns = generator.integers(0, items, items * NEIGHBOURS)
    rows = np.repeat(np.arange(items), NEIGHBOURS)
    neighbours = csr_matrix((generator.random(len(rows)), (rows, columns)), shape=(items, items), dtype=np.float32)
    counts = generator.zipf(1.5, items).clip(0, 10_000).astype(float)
    bias = np.log1p(counts).astype(np.float32)
    encoder = TrainedEncoder(
        config, catalogue, counts, network, item_encoder, item_vectors(item_encoder), bias, {}, Memory(neighbours, 4.0, 1.0)
    )
    served = Recommender(encoder)
    one = Histories(np.array(["u"], object), [item_ids[:20]], [np.full(20, "view", object)], [np.arange(1, 21, dtype=np.int64)])
    golden = history_inputs(one, 100) | {"exclude_item_ids": np.array([[""]], object), "k": np.array([10], np.int32)}
    path = models / RECOMMENDER.name / "1"
    path.parent.mkdir(parents=True, exist_ok=True)
    export_model(
        served, served.serve, RECOMMENDER, path, explain=served.explain, retrieve=served.retrieve, golden=golden, provenance={"seed": SEED}
    )
    served.write_item_vectors(path)


def publish(items: int) -> None:
    """Items with categories, prices and vectors, and users' histories; and the online store made from them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from feature_repo.contract import marts, views
    from feature_repo.materialise import materialise
    from feature_repo.published import SCHEMA_FILE, connect, mart_dir

    generator = np.random.default_rng(SEED)
    at = datetime.combine(DAY, datetime.min.time())
    with connect() as connection:
        for name, mart in (marts() | views()).items():
            mart_dir(name).mkdir(parents=True)
            typed = ", ".join(f"null::{column.data_type} as {column.name}" for column in mart.columns)
            connection.execute(f"copy (select {typed} limit 0) to '{mart_dir(name) / SCHEMA_FILE}' (format parquet)")
    first_us = int((at - datetime(1970, 1, 1)).total_seconds() * 1e6) - 80 * 86_400_000_000  # noqa: DTZ001
    seen = (items * generator.random((USERS, EVENTS)) ** 2).astype(int)
    times = first_us + np.sort(generator.integers(0, 79 * 86_400_000_000, (USERS, EVENTS)), axis=1)
    rows = {
        "user_sequences": {
            "user_id": [f"u{user}" for user in range(USERS)],
            "event_item_ids": [[f"i{item}" for item in row] for row in seen],
            "event_types": generator.choice(TYPES, (USERS, EVENTS)).tolist(),
            "event_times_us": times.tolist(),
        },
        "item_features": {
            "item_id": [f"i{item}" for item in range(items)],
            "title": [f"Lamp number {item}" for item in range(items)],
            "category": [f"top {item % 20} > middle {item % 200} > low {item % 600}" for item in range(items)],
            "price": (1 + generator.random(items) * 90).tolist(),
            "in_stock": (generator.random(items) > 0.1).tolist(),
            **{name: generator.integers(0, 500, items).tolist() for name in ("purchases_30d", "events_30d", "events_total")},
        },
    }
    if items <= COMPARED:
        rows["item_vectors"] = {
            "item_id": [f"i{item}" for item in range(items)],
            "text_vector": clustered(items, DIM).astype(float).tolist(),
            "text_version": ["2024-03-01-fused"] * items,
        }
    for name, columns in rows.items():
        schema = pq.read_schema(mart_dir(name) / SCHEMA_FILE)
        given = {"features_at": [at] * len(columns[views()[name].key]), "created_at": [at] * len(columns[views()[name].key]), **columns}
        nothing = [None] * len(given["features_at"])
        folder = mart_dir(name) / f"day={DAY}"
        folder.mkdir()
        pq.write_table(pa.table([given.get(field.name, nothing) for field in schema], schema=schema), folder / "part-0.parquet")
    materialise(DAY - timedelta(days=1), DAY + timedelta(days=1))


def clustered(count: int, dim: int, seed: int = SEED) -> np.ndarray:
    """Vectors of length 1 around one centre for every hundred of them, float32, so that an item has near ones, as learned vectors have."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(max(1, count // 100), dim)).astype(np.float32)
    found = np.empty((count, dim), np.float32)
    for start in range(0, count, 65_536):
        rows = slice(start, min(start + 65_536, count))
        size = rows.stop - rows.start
        found[rows] = centres[generator.integers(0, len(centres), size)] + 0.7 * generator.standard_normal((size, dim), np.float32)
        found[rows] /= np.linalg.norm(found[rows], axis=1, keepdims=True)
    return found


@contextmanager
def model_server(models: Path) -> Iterator[subprocess.Popen]:
    """The embedded model server on the port of the settings, once it answers."""
    from serving.model_client import ModelClient
    from settings import ROOT, get_settings

    port = get_settings().model_server_port
    command = [sys.executable, "-m", "serving.model_server", f"--port={port}", "--model_name=recommender"]
    command += [f"--model_base_path={models / 'recommender'}", "--file_system_poll_wait_seconds=0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with ModelClient(f"127.0.0.1:{port}") as client:
            client.wait_available("recommender", 1, timeout_s=300)
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def house(folder: Path, items: int) -> Iterator[subprocess.Popen]:
    """A house of `items` items in `folder`, with its model server running."""
    from settings import ROOT, get_settings

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    os.environ |= {"PORTRAIT_HOME": str(folder), "PORTRAIT_MODEL_SERVER_PORT": str(port)}
    get_settings.cache_clear()
    subprocess.run([sys.executable, "-m", __spec__.name, str(folder / "models"), str(items)], cwd=ROOT, check=True)
    publish(items)
    with model_server(folder / "models") as process:
        yield process


if __name__ == "__main__":
    export(Path(sys.argv[1]), int(sys.argv[2]))
