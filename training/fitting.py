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
from training.checkpoints import Checkpoint
from training.distributed import share_of_batches
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
    as_of_us: int | None = None  # when the next event is expected


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


@dataclass(frozen=True)
class Watch:
    """How a fit is followed and kept: `say` takes a line an epoch, `log` the epoch's number from 0 and its figures; `checkpoint` is where a
    killed fit goes on from."""

    say: Callable[[str], None] = _log.info
    log: Callable[[int, dict[str, float]], None] | None = None
    checkpoint: Checkpoint | None = None


def fit_next_item(
    model: keras.Model,
    rows: dict[str, np.ndarray],
    config: EncoderConfig,
    seed: int,
    watch: Watch,
    validation: Validation | None,
    snapshot: Callable[[dict[str, list[float]]], TrainedEncoder],
) -> dict[str, list[float]]:
    """Fits in place and returns the curves `loss` and, with validation, `val_ndcg@10`, one number an epoch."""
    events, steps = int((rows["segments"] > 0).sum()), len(rows["items"]) // config.batch_rows
    epochs = config.epochs_for(events)
    model.compile(
        # After each epoch the weights become their own moving average: a noisy last step decides nothing.
        optimizer=keras.optimizers.Adam(
            config.learning_rate, beta_2=0.98, use_ema=True, ema_momentum=config.averaging, ema_overwrite_frequency=max(1, steps)
        ),
        loss=weighted_mean,
        steps_per_execution=max(1, min(16, steps)),
        jit_compile=steps * epochs >= WORTH_COMPILING,
    )
    if validation is not None and len(validation.targets) > VALIDATED:
        asked = np.sort(np.random.default_rng(seed).permutation(len(validation.targets))[:VALIDATED])
        validation = replace(validation, histories=validation.histories[asked], targets=validation.targets[asked])
    progress = _Progress(model, events, epochs, config.patience, watch, validation, snapshot)
    is_terminal = sys.stderr.isatty() and watch.say is _log.info
    for epoch in range(progress.resume(), epochs):
        order, batch = share_of_batches(np.random.default_rng((seed, epoch)).permutation(len(rows["weights"])), config.batch_rows)
        shuffled = {name: values[order] for name, values in rows.items()}
        weights = shuffled.pop("weights")
        done = model.fit(
            shuffled,
            weights,
            batch_size=batch,
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            verbose=1 if is_terminal else 0,
        )
        if progress.after(epoch, float(done.history["loss"][-1])):
            break
    progress.end()
    return progress.curves


class _Progress:
    """One line an epoch; with validation, keeps the best weights and says when patience ends."""

    def __init__(
        self,
        model: keras.Model,
        events: int,
        epochs: int,
        patience: int,
        watch: Watch,
        validation: Validation | None,
        snapshot: Callable[[dict[str, list[float]]], TrainedEncoder],
    ) -> None:
        self.curves: dict[str, list[float]] = {"loss": []}
        self._model, self._events, self._epochs, self._patience = model, events, epochs, patience
        self._watch, self._validation, self._snapshot = watch, validation, snapshot
        self._best: list[np.ndarray] | None = None
        self._stops = False
        self._started, self._first = time.monotonic(), 0

    def resume(self) -> int:
        """The epoch to go on with: 0, or the one after those that a killed fit of the same kind had finished."""
        kept = self._watch.checkpoint.load(self._model) if self._watch.checkpoint else None
        if kept is None:
            return 0
        facts, self._best = kept
        self.curves, self._stops = facts["curves"], facts["stops"]
        self._first = len(self.curves["loss"])
        self._watch.say(f"goes on after epoch {self._first} of {self._epochs}")
        return self._epochs if self._stops else self._first

    def after(self, epoch: int, loss: float) -> bool:
        """Notes the epoch; True where training should stop."""
        self.curves["loss"].append(loss)
        line = f"epoch {epoch + 1}/{self._epochs} loss {loss:.4f}"
        if self._validation is not None:
            found = validation_ndcg(self._snapshot(self.curves), self._validation)
            curve = self.curves.setdefault("val_ndcg@10", [])
            line += f" validation NDCG@10 {found:.4f}"
            if found > max(curve, default=-1.0):
                self._best = self._model.get_weights()
            curve.append(found)
            self._stops = 0 < self._patience <= epoch - int(np.argmax(curve))
            line += f"; no better for {self._patience} epochs, stopping" if self._stops else ""
        spent, done = time.monotonic() - self._started, epoch + 1 - self._first
        left = spent / done * (self._epochs - epoch - 1)
        self._watch.say(f"{line}, {self._events * done / spent:,.0f} events/s, {spent:.0f} s spent, at most {left:.0f} s left")
        if self._watch.log:
            self._watch.log(epoch, {name: curve[-1] for name, curve in self.curves.items()})
        if self._watch.checkpoint:
            self._watch.checkpoint.save(self._model, {"curves": self.curves, "stops": self._stops}, self._best)
        return self._stops

    def end(self) -> None:
        """The best weights, where there was a validation; the checkpoint has done its service."""
        if self._best is not None:
            self._model.set_weights(self._best)
        if self._watch.checkpoint:
            self._watch.checkpoint.discard()


def validation_ndcg(encoder: TrainedEncoder, validation: Validation) -> float:
    """Mean NDCG@10 of each user's next item among all items that are not removed."""
    index = encoder.catalogue.index_of
    histories = validation.histories
    places = [index(items if validation.removes_seen else items[:0]) for items in histories.item_ids]
    seen = interactions(places, len(encoder.catalogue))
    ranking = rank_targets(encoder.scores(histories, as_of_us=validation.as_of_us), index(validation.targets), seen)
    return float(ndcg(ranking.ranks).mean()) if len(validation.targets) else 0.0
