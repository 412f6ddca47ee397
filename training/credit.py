"""The probability that a credit is not paid back: an ensemble in one network (`credit_network.py`), calibrated on rows it never saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np
import pandas as pd

from training.calibration import platt, sigmoid
from training.credit_augmentation import DrawnRows
from training.credit_columns import CreditColumns
from training.credit_config import CreditConfig
from training.credit_explain import attributions, good_payer
from training.credit_network import TaughtLoss, build_credit
from training.credit_series import Series
from training.splits import folds_of

#: A probability of the ensemble is kept this far from 0 and 1, so that its log odds are finite.
LEAST_CHANCE = 1e-6
#: Rows times members that are asked at once.
MOST_STATES = 300_000
#: An epoch has so many steps where that leaves batches of SMALLEST_BATCH rows.
LEAST_STEPS, SMALLEST_BATCH = 16, 16
#: Below so many rows XLA takes longer to compile the network than it saves.
WORTH_COMPILING = 5_000


@dataclass(frozen=True)
class Credit:
    """A fitted ensemble; the log odds of its mean probability become `slope * log odds + shift`.

    `unseen` are the calibrated probabilities of the rows it learned from, each by groups that never saw the row. `reference` is one row of
    inputs, the typical good payer, with whom an applicant is compared to explain a score.
    """

    columns: CreditColumns
    network: keras.Model
    slope: float
    shift: float
    unseen: np.ndarray
    reference: dict[str, np.ndarray]
    curves: dict[str, list[float]] = field(default_factory=dict)

    def log_odds(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Calibrated log odds of default, `(rows,)`."""
        return self.slope * log_odds_of(_chances(self.network, inputs).mean(axis=1)) + self.shift

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Probability of default, `(rows,)`."""
        return sigmoid(self.log_odds(self.columns.inputs(frame)))

    def explain(self, frame: pd.DataFrame) -> np.ndarray:
        """What each group of columns adds to the log odds compared with the reference, `(rows, groups)`: see `credit_explain.py`."""
        return attributions(self.columns.inputs(frame), self.reference, self.columns, self.log_odds)


def fit_credit(
    frame: pd.DataFrame,
    names: list[str],
    config: CreditConfig,
    seed: int,
    log: Callable[[str], None] | None = None,
    drawn: DrawnRows | None = None,
) -> Credit:
    """The ensemble for `frame`: the columns `names`, and `defaulted` without unknowns. Raises ValueError where one outcome is missing.

    `drawn` rows teach every group. A group's epoch and the calibration then go by those real rows alone that their generator never saw.
    """
    truth = frame["defaulted"].to_numpy(np.float32)
    parts = min(config.parts, int(min(truth.sum(), len(truth) - truth.sum())))
    if parts < 2:
        raise ValueError(f"Both outcomes need two rows. Received {int(truth.sum())} defaults among {len(truth)} applications.")
    keras.utils.set_random_seed(seed)
    config = CreditConfig(**config.to_dict() | {"parts": parts})
    columns = CreditColumns.of(frame, names, config.max_values)
    inputs = columns.inputs(frame)
    series = Series.of(columns.numbers, inputs["numbers"]) if config.derives else Series()
    held = np.concatenate(
        [folds_of(truth, parts, seed + repeat)[:, None] == np.arange(parts) for repeat in range(config.repeats)], axis=1
    )  # (rows, groups)

    is_judge, more_defaults = np.ones(len(truth), bool), 0.0
    teaching, taught = inputs, np.concatenate([truth[:, None], ~held], axis=1).astype(np.float32)
    if drawn:
        also, outcome = columns.inputs(drawn.rows), drawn.rows["defaulted"].to_numpy(np.float32)
        teaching = {name: np.concatenate([values, also[name]]) for name, values in inputs.items()}
        taught = np.pad(taught, ((0, len(outcome)), (0, 0)), constant_values=1)
        taught[len(truth) :, 0] = outcome
        is_judge, more_defaults = ~drawn.is_source, _odds_of_all(taught[:, 0]) - _odds_of_all(truth)
    network = build_credit(inputs["numbers"], columns.sizes, series, config, seed)
    rows = len(taught)
    batch = min(rows, int(np.clip(rows // LEAST_STEPS, SMALLEST_BATCH, config.batch)))
    steps = rows // batch  # whole batches: XLA compiles one shape
    network.compile(
        optimizer=keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay),
        loss=TaughtLoss(),
        jit_compile=rows >= WORTH_COMPILING,
        steps_per_execution=max(1, min(16, steps)),
    )
    best = _BestOfGroups(inputs, truth, held, is_judge, more_defaults, config.patience, log)
    order = np.random.default_rng(seed).permutation(rows)[: steps * batch]
    network.fit(
        {name: values[order] for name, values in teaching.items()},
        taught[order],
        batch_size=batch,
        epochs=config.epochs,
        callbacks=[best],
        verbose=0,
    )
    best.restore()
    unseen = log_odds_of(best.unseen())
    slope, shift = platt(unseen[is_judge], truth[is_judge])
    chances = sigmoid(slope * unseen + shift)
    reference = good_payer(inputs, truth, chances)
    return Credit(columns, network, slope, shift, chances, reference, {"log-loss on rows kept out": best.curve})


def log_odds_of(chances: np.ndarray) -> np.ndarray:
    kept = np.clip(chances.astype(np.float64), LEAST_CHANCE, 1 - LEAST_CHANCE)
    return np.log(kept) - np.log1p(-kept)


def _odds_of_all(truth: np.ndarray) -> float:
    """The log odds of default among rows."""
    return float(log_odds_of(truth.mean(keepdims=True))[0])


class _BestOfGroups(keras.callbacks.Callback):
    """Keeps each group's weights of the epoch with the least log-loss on its own part, and stops when no group has improved for long."""

    def __init__(
        self,
        inputs: dict[str, np.ndarray],
        truth: np.ndarray,
        held: np.ndarray,
        is_judge: np.ndarray,
        more_defaults: float,
        patience: int,
        log: Callable[[str], None] | None,
    ) -> None:
        """`is_judge` says which rows a loss may go by; `more_defaults` by how much the log odds of default are higher among taught rows."""
        super().__init__()
        self._inputs, self._truth, self._held, self._patience, self._log = inputs, truth, held, patience, log
        self._judged, self._more_defaults = held & is_judge[:, None], more_defaults
        groups = held.shape[1]
        self._loss, self._epoch = np.full(groups, np.inf), np.zeros(groups, int)
        self._chances = np.zeros(held.shape)
        self._weights: list[np.ndarray] | None = None
        self.curve: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        chances = np.clip(_chances(self.model, self._inputs), LEAST_CHANCE, 1 - LEAST_CHANCE)  # (rows, groups)
        odds = log_odds_of(chances) - self._more_defaults
        entropy = np.where(self._truth[:, None] > 0, np.logaddexp(0, -odds), np.logaddexp(0, odds))
        loss = np.where(self._judged, entropy, 0).sum(axis=0) / self._judged.sum(axis=0)
        is_better = loss < self._loss
        self.curve.append(float(loss.mean()))
        if is_better.any():
            self._loss, self._epoch = np.where(is_better, loss, self._loss), np.where(is_better, epoch, self._epoch)
            self._chances = np.where(is_better, chances, self._chances)
            now = [keras.ops.convert_to_numpy(weight) for weight in self._own()]
            kept = self._weights or now
            self._weights = [_chosen(is_better, one, before) for one, before in zip(now, kept, strict=True)]
        if self._log:
            self._log(f"epoch {epoch + 1}: log-loss on rows kept out {loss.mean():.4f}, best {self._loss.mean():.4f}")
        if epoch - self._epoch.max() >= self._patience:
            self.model.stop_training = True

    def restore(self) -> None:
        """Gives each group its best weights; after `fit`, which on JAX writes its own last."""
        if self._weights is not None:
            for weight, value in zip(self._own(), self._weights, strict=True):
                weight.assign(value)

    def unseen(self) -> np.ndarray:
        """Each row's mean probability over the groups that never saw it, `(rows,)`."""
        return np.where(self._held, self._chances, 0).sum(axis=1) / self._held.sum(axis=1)

    def _own(self) -> list[keras.Variable]:
        """Weights that begin with the groups' axis: all that learn."""
        return list(self.model.trainable_weights)


def _chosen(is_first: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(is_first.reshape(-1, *[1] * (first.ndim - 1)), first, second)


def _chances(network: keras.Model, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Each group's probability, the mean over its members, `(rows, groups)`."""
    count, found = len(inputs["numbers"]), []
    size = max(256, MOST_STATES // int(np.prod(network.output_shape[1:])))
    for start in range(0, count, size):
        rows = {name: values[start : start + size] for name, values in inputs.items()}
        found.append(network.predict_on_batch(_padded(rows, size if count > size else count))[: len(rows["numbers"])])
    logits = np.concatenate(found) if found else np.zeros((0, *network.output_shape[1:]), np.float32)
    return sigmoid(logits.astype(np.float64)).mean(axis=2)


def _padded(rows: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Rows of one size, so that nothing is compiled twice."""
    return {name: np.pad(values, ((0, size - len(values)), (0, 0)), mode="edge") for name, values in rows.items()}
