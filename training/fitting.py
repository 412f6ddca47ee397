"""Fitting the next-item objective: the training model, its progress lines, early stopping on validation."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from training.baselines import interactions
from training.encoder_config import EncoderConfig
from training.histories import Histories
from training.layers import ItemEncoder
from training.losses import NegativeSampler, NextItemLoss
from training.metrics import ndcg, rank_targets

if TYPE_CHECKING:
    from training.encoder import TrainedEncoder

_log = logging.getLogger(__name__)

WORTH_COMPILING = 300  # steps; XLA saves 40 % of each, and takes some ten seconds before the first
VALIDATED = 2500  # users asked after each epoch, drawn by seed


@dataclass(frozen=True)
class Validation:
    """Histories, and the item that each user chose next, `(users,)` str objects; seen items are removed before ranking, unless told."""

    histories: Histories
    targets: np.ndarray
    removes_seen: bool = True


def build_training_model(
    network: keras.Model, item_encoder: ItemEncoder, counts: np.ndarray, config: EncoderConfig, seed: int
) -> keras.Model:
    """The network with the loss on top: inputs of the encoder and `targets`, output the loss per step `(batch, steps)`."""
    targets = keras.Input((config.sequence_length,), dtype="int32", name="targets")
    negatives = None if config.loss == "full_softmax" else config.negatives
    sampler = NegativeSampler(counts, negatives, config.negative_popularity, seed + 1, name="negatives")
    others = sampler(targets)
    loss = NextItemLoss(sampler, config, name="loss")(network.output, item_encoder(targets), item_encoder(others), targets, others)
    return keras.Model({**network.input, "targets": targets}, loss, name="next_item")


def weighted_mean(weights: Any, losses: Any) -> Any:
    """Mean loss over the steps that count; the Keras loss slot is fed weights as `y_true`."""
    return keras.ops.sum(weights * losses) / keras.ops.maximum(keras.ops.sum(weights), 1.0)


def fit_next_item(
    network: keras.Model,
    item_encoder: ItemEncoder,
    counts: np.ndarray,
    rows: dict[str, np.ndarray],
    config: EncoderConfig,
    seed: int,
    log: Callable[[str], None] | None,
    validation: Validation | None,
    snapshot: Callable[[dict[str, list[float]]], TrainedEncoder],
) -> dict[str, list[float]]:
    """Fits in place and returns the curves `loss` and, with validation, `val_ndcg@10`, one number an epoch."""
    model = build_training_model(network, item_encoder, counts, config, seed)
    events, steps = int((rows["segments"] > 0).sum()), len(rows["items"]) // config.batch_rows
    epochs = config.epochs_for(events)
    model.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate, beta_2=0.98),
        loss=weighted_mean,
        steps_per_execution=max(1, min(16, steps)),
        jit_compile=steps * epochs >= WORTH_COMPILING,
    )
    inputs = {name: values for name, values in rows.items() if name != "weights"}
    if validation is not None and len(validation.targets) > VALIDATED:
        asked = np.sort(np.random.default_rng(seed).permutation(len(validation.targets))[:VALIDATED])
        validation = replace(validation, histories=validation.histories[asked], targets=validation.targets[asked])
    progress = _Progress(events, epochs, config.patience, log or _log.info, validation, snapshot)
    is_terminal = sys.stderr.isatty() and log is None
    model.fit(
        inputs,
        rows["weights"],
        batch_size=config.batch_rows,
        epochs=epochs,
        shuffle=True,
        verbose=1 if is_terminal else 0,
        callbacks=[progress],
    )
    return progress.curves


class _Progress(keras.callbacks.Callback):
    """One line an epoch; with validation, keeps the best weights and stops when patience ends."""

    def __init__(
        self,
        events: int,
        epochs: int,
        patience: int,
        log: Callable[[str], None],
        validation: Validation | None,
        snapshot: Callable[[dict[str, list[float]]], TrainedEncoder],
    ) -> None:
        super().__init__()
        self.curves: dict[str, list[float]] = {"loss": []}
        self._events, self._epochs, self._patience, self._say, self._validation, self._snapshot = (
            events,
            epochs,
            patience,
            log,
            validation,
            snapshot,
        )
        self._best, self._best_epoch, self._best_weights = -1.0, 0, None
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.curves["loss"].append(float((logs or {})["loss"]))
        line = f"epoch {epoch + 1}/{self._epochs} loss {self.curves['loss'][-1]:.4f}"
        if self._validation is not None:
            ndcg = validation_ndcg(self._snapshot(self.curves), self._validation)
            self.curves.setdefault("val_ndcg@10", []).append(ndcg)
            line += f" validation NDCG@10 {ndcg:.4f}"
            if ndcg > self._best:
                self._best, self._best_epoch, self._best_weights = ndcg, epoch, self.model.get_weights()
            elif self._patience and epoch - self._best_epoch >= self._patience:
                self.model.stop_training = True
                line += f"; no better for {self._patience} epochs, stopping"
        spent = time.monotonic() - self._started
        left = spent / (epoch + 1) * (self._epochs - epoch - 1)
        self._say(f"{line}, {self._events * (epoch + 1) / spent:,.0f} events/s, {spent:.0f} s spent, at most {left:.0f} s left")

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._best_weights is not None:
            self.model.set_weights(self._best_weights)


def validation_ndcg(encoder: TrainedEncoder, validation: Validation) -> float:
    """Mean NDCG@10 of each user's next item among all items that are not removed."""
    index = encoder.catalogue.index_of
    histories = validation.histories
    places = [index(items if validation.removes_seen else items[:0]) for items in histories.item_ids]
    seen = interactions(places, len(encoder.catalogue))
    ranking = rank_targets(encoder.scores(validation.histories), index(validation.targets), seen)
    return float(ndcg(ranking.ranks).mean()) if len(validation.targets) else 0.0
