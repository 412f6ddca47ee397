"""One training of RecTools' SASRec, run by `benchmarks.peers` in the peer's own environment: `ROWS.npz CONFIG SEED`.

CONFIG is JSON for `SASRecModel.from_config`. Scores are those by which `SASRecModel.recommend` ranks (a test compares the two).
"""

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import LambdaCallback
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from benchmarks.turns import Rows, Turns

FOREVER = 100_000  # epochs; the benchmark says when it is enough


def dataset_of(rows: Rows) -> Dataset:
    """The events as RecTools takes them; an event's time is its place, so that the order is the same for all."""
    at = pd.Timestamp("2014-01-01") + pd.to_timedelta(np.arange(len(rows.users)), unit="s")
    events = {Columns.User: rows.users, Columns.Item: rows.items, Columns.Weight: 1.0, Columns.Datetime: at}
    return Dataset.construct(pd.DataFrame(events))


def scores_of(model: SASRecModel, module: LightningModule, dataset: Dataset, rows: Rows, batch: int = 1024) -> Iterator[np.ndarray]:
    """Scores of all items in blocks `(up to batch, items)` that follow the users' order; items that the model does not know get -inf."""
    asked = model.data_preparator.transform_dataset_u2i(dataset, np.arange(len(rows.targets)))
    loader = model.data_preparator.get_dataloader_recommend(asked, model.recommend_batch_size)
    users, items = module._get_user_item_embeddings(loader, "cpu")
    module.train()
    order = np.argsort(asked.user_id_map.external_ids.astype(np.int64))
    known = model.data_preparator.get_known_item_ids().astype(np.int64)
    vectors = items.numpy()[model.data_preparator.get_known_items_sorted_internal_ids()].T
    for start in range(0, len(order), batch):
        block = np.full((len(order[start : start + batch]), int(rows.catalogue)), -np.inf, np.float32)
        block[:, known] = users.numpy()[order[start : start + batch]] @ vectors
        yield block


def train(rows: Rows, config: dict[str, Any], epochs: int, turns: Turns | None = None) -> SASRecModel:
    """A model fitted for so many epochs; with `turns` it waits for its turn after each."""
    dataset = dataset_of(rows)

    def after_epoch(_trainer: Trainer, module: LightningModule) -> None:
        if turns:
            turns.after_epoch(scores_of(model, module, dataset, rows))

    def trainer() -> Trainer:
        follow = LambdaCallback(on_train_epoch_end=after_epoch)
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False, "logger": False}
        return Trainer(max_epochs=epochs, min_epochs=epochs, accelerator="cpu", devices=1, callbacks=[follow], **quiet)

    model = SASRecModel.from_config({**config, "get_trainer_func": trainer})
    return model.fit(dataset)


def main(path: str, config: str, seed: str) -> None:
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    seed_everything(int(seed))
    rows = Rows.load(Path(path))
    train(rows, json.loads(config), FOREVER, Turns(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
