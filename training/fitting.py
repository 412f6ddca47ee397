"""Fitting the next-item objective: the training model, its progress lines, early stopping on validation."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from training.baselines import interactions
from training.checkpoints import Checkpoint
from training.encoder_config import EncoderConfig
from training.layers import ItemEncoder, ItemTable
from training.losses import NegativeSampler, NextItemLoss
from training.metrics import ndcg, rank_targets
from training.rows import TrainingRows
from training.splits import Validation
from training.steppers import stepper_of

if TYPE_CHECKING:
    from training.encoder import TrainedEncoder

_log = logging.getLogger(__name__)

WORTH_COMPILING = 300  # steps; XLA saves 40 % of each, and takes some ten seconds before the first


def build_training_model(
    network: keras.Model, item_encoder: ItemEncoder, counts: np.ndarray, config: EncoderConfig, seed: int
) -> keras.Model:
    """The network with the loss on top: inputs of the encoder and `targets`, output the loss per step `(batch, steps)`."""
    targets = keras.Input((config.sequence_length,), dtype="int32", name="targets")
    negatives = None if config.loss == "full_softmax" else config.negatives
    sampler = NegativeSampler(counts, negatives, config.negative_popularity, seed + 1, name="negatives")
    others = sampler(targets)
    inputs = dict(network.input)
    if item_encoder.places <= 2 * config.batch_rows * config.sequence_length:
        table = ItemTable(item_encoder, name="item_table")(targets)
        vectors_of: Callable[[Any], Any] = partial(keras.ops.take, table, axis=0)
    else:
        vectors_of = item_encoder
    around = {name: tensor for name, tensor in inputs.items() if name != "items"}
    states = network.get_layer("body")({"vectors": vectors_of(inputs["items"]), **around})
    loss = NextItemLoss(sampler, config, name="loss")(states, vectors_of(targets), vectors_of(others), targets, others)
    return keras.Model({**inputs, "targets": targets}, loss, name="next_item")


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
    rows: TrainingRows,
    config: EncoderConfig,
    seed: int,
    watch: Watch,
    validation: Validation | None,
    snapshot: Callable[[dict[str, list[float]]], TrainedEncoder],
) -> dict[str, list[float]]:
    """Fits in place and returns the curves `loss` and, with validation, `val_ndcg@10`, one number an epoch."""
    steps, epochs = rows.count // config.batch_rows, config.epochs_for(rows.events)
    model.compile(
        # After each epoch the weights become their own moving average: a noisy last step decides nothing.
        optimizer=keras.optimizers.Adam(
            config.learning_rate, beta_2=0.98, use_ema=True, ema_momentum=config.averaging, ema_overwrite_frequency=max(1, steps)
        ),
        loss=weighted_mean,
        steps_per_execution=max(1, min(16, steps)),
        jit_compile=steps * epochs >= WORTH_COMPILING,
    )
    progress = _Progress(model, rows.events, epochs, config.patience, watch, validation, snapshot)
    is_terminal = sys.stderr.isatty() and watch.say is _log.info
    resumed = progress.resume()
    train_on = stepper_of(model, weighted_mean, config.batch_rows, verbose=1 if is_terminal else 0)
    for epoch in range(resumed, epochs):
        parts = [(train_on(block, order), len(order)) for block, order in rows.blocks((seed, epoch))]
        losses, sizes = zip(*parts, strict=True)
        if progress.after(epoch, float(np.average(losses, weights=sizes))):
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
    return _ndcg(encoder, validation, encoder.scores(validation.histories, as_of_us=validation.as_of_us))


def validation_ndcg_with(
    encoder: TrainedEncoder, company: np.ndarray, counts: np.ndarray, validation: Validation
) -> Callable[[float, float], float]:
    """The same with the two parts of a memory `(users, items)` added to the scores: `quality(weight, own_weight)`."""
    scores = np.concatenate(list(encoder.scores(validation.histories, as_of_us=validation.as_of_us)))
    return lambda weight, own_weight: _ndcg(encoder, validation, iter([scores + weight * company + own_weight * counts]))


def _ndcg(encoder: TrainedEncoder, validation: Validation, scores: Iterator[np.ndarray]) -> float:
    index = encoder.catalogue.index_of
    places = [index(items if validation.removes_seen else items[:0]) for items in validation.histories.item_ids]
    ranking = rank_targets(scores, index(validation.targets), interactions(places, len(encoder.catalogue)))
    return float(ndcg(ranking.ranks).mean()) if len(validation.targets) else 0.0
