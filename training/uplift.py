"""What an offer changes: small networks fitted at once and trees behind them, stacked by the effects that were measured, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd

from training.effect_calibration import EffectCalibration, calibrate_effects, robust_effects
from training.effect_chances import Adjustment, Chances, chances_of
from training.effect_forest import EffectForest, fit_forest
from training.numbers import NumberEncoder
from training.randomised import CONTROL
from training.uplift_config import UpliftConfig
from training.uplift_inputs import Covariates
from training.uplift_network import build_effect_network, build_fitted_loss

BINARY_OUTCOMES = ("visited", "converted")
OUTPUTS = {"visited": "visit_uplift", "converted": "conversion_uplift", "spend": "spend_uplift"}
BLOCK = 8192
LEAST_STEPS = 16  # an epoch, even where rows are few


@dataclass(frozen=True)
class Effects:
    """Effect of each offer against control with its 95 % interval, `(rows, treatments)` each."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Uplift:
    """A fitted network and the trees behind it; effects are in units of `scales` `(outcomes,)`, and member `m` says `centers[m]` `(parts,
    treatments, outcomes)` on average. `adjustment` is None where every campaign was randomised."""

    treatments: list[str]
    outcomes: list[str]
    covariates: Covariates
    network: keras.Model
    forest: EffectForest
    scales: np.ndarray
    centers: np.ndarray
    calibration: EffectCalibration
    adjustment: Adjustment | None
    curves: dict[str, list[float]]

    def predict(self, frame: pd.DataFrame, vectors: np.ndarray | None = None) -> dict[str, Effects]:
        """By outcome, what each offer adds compared with control: probability, or spend in the shop's currency."""
        inputs, blocks = self.covariates.inputs(frame, vectors), []
        for at in range(0, max(len(frame), 1), BLOCK):
            own = {name: column[at : at + BLOCK] for name, column in inputs.items()}
            parts = _parts(_said(self.network, own)[1], self.forest.predict(self.covariates.table(own)))
            parts = (parts - self.centers) * self.scales  # (rows, members, parts, treatments, outcomes)
            mean, spread = parts.mean(axis=1), (parts * self.calibration.slope).sum(axis=2).std(axis=1)
            blocks.append((self.calibration.apply(mean), self.calibration.width(mean, spread)))
        added, width = (np.concatenate(column) for column in zip(*blocks, strict=True))
        return {
            outcome: Effects(added[:, :, at], (added - width)[:, :, at], (added + width)[:, :, at])
            for at, outcome in enumerate(self.outcomes)
        }


def fit_uplift(
    frame: pd.DataFrame,
    treatments: list[str],
    outcomes: list[str],
    covariates: list[str],
    config: UpliftConfig,
    seed: int,
    vectors: np.ndarray | None = None,
) -> Uplift:
    """A network fitted on `frame`: columns `treatment`, `propensity`, the `outcomes` (NaN is unknown), USER_FEATURES as far as known,
    `covariates`, and `campaign_id` where there are several.

    `vectors` `(rows, dim)` are the portrait vectors at assignment. Raises ValueError where an arm, control included, has no row, and
    NotRandomised where a propensity is not known and `config.adjust` is False.
    """
    keras.utils.set_random_seed(seed)
    arms = [CONTROL, *treatments]
    held = set(frame["treatment"])
    if missing := [name for name in arms if name not in held]:
        raise ValueError(f"Every arm must have rows. Received none for {missing}; `treatment` holds {sorted(held)}.")
    known = Covariates.of(frame, covariates, config.max_values)
    inputs = known.inputs(frame, vectors)
    matrix = known.matrix(inputs)
    chances = chances_of(frame, arms, matrix, config.adjust, seed)
    kept = np.flatnonzero(chances.is_kept)
    chances, inputs = chances[kept], known.half_hidden({name: column[kept] for name, column in inputs.items()}, seed)
    values = frame[outcomes].to_numpy(np.float64)[kept]  # (rows, outcomes)
    is_binary = np.array([outcome in BINARY_OUTCOMES for outcome in outcomes])
    spread = np.nan_to_num(np.nanstd(values, axis=0))
    scales = np.where(spread == 0, 1.0, spread)

    encoder = NumberEncoder(len(known.numbers), name="numbers_encoder")
    encoder.adapt(inputs["numbers"])
    dim = 0 if vectors is None else vectors.shape[1]
    varying = int((np.ptp(matrix[kept], axis=0) > 0).sum())
    starts = _first_guess(values, is_binary, scales)
    network = build_effect_network(known, dim, len(treatments), starts, is_binary, scales, encoder, config, len(kept), varying, seed)
    counts = _halves(len(kept), config.members, seed)
    curve = _fit(network, inputs, chances, values / scales, counts, config)

    forest, centers, calibration = _stacked(network, known, inputs, chances, values, scales, counts, config, seed)
    return Uplift(
        list(treatments), list(outcomes), known, network, forest, scales, centers, calibration, chances.adjustment, {"loss": curve}
    )


def _stacked(
    network: keras.Model,
    known: Covariates,
    inputs: dict[str, np.ndarray],
    chances: Chances,
    values: np.ndarray,
    scales: np.ndarray,
    counts: np.ndarray,
    config: UpliftConfig,
    seed: int,
) -> tuple[EffectForest, np.ndarray, EffectCalibration]:
    """The trees behind the network, what each member says on average, and the weights of both: for all of them a row's answer is that of
    the members that never saw the row."""
    unseen = (1 - counts) / (1 - counts).sum(axis=1, keepdims=True)
    base, effects = _in_blocks(network, inputs, len(values))
    base = (base * unseen[:, :, None]).sum(axis=1)
    table, surplus = known.table(inputs), (chances.arm > 0) - (1 - chances.chances[:, 0])
    forest = fit_forest(table, values / scales - base, surplus, counts, config.trees, config.leaf_rows, config.leaf_share, seed)
    parts = _parts(effects, forest.predict(table))
    centers = parts.mean(axis=0)
    parts = ((parts - centers) * unseen[:, :, None, None, None]).sum(axis=1)  # (rows, parts, treatments, outcomes)
    effects = parts[:, 0] + centers[:, 0].mean(axis=0)
    control = base - (chances.chances[:, 1:, None] * effects).sum(axis=1)
    expected = np.concatenate([control[:, None], control[:, None] + effects], axis=1) * scales
    measured = robust_effects(expected, chances.arm, chances.chances, values)
    return forest, centers, calibrate_effects(parts * scales, measured)


def _parts(effects: np.ndarray, trees: np.ndarray) -> np.ndarray:
    """The network's effects, and behind them what the trees say of each outcome, the same for every offer and outcome it may help with:
    `(rows, members, 1 + outcomes, treatments, outcomes)` from `(rows, members, treatments, outcomes)` and `(rows, members, outcomes)`."""
    rows, members, treatments, outcomes = effects.shape
    said = np.broadcast_to(trees[:, :, :, None, None], (rows, members, outcomes, treatments, outcomes))
    return np.concatenate([effects[:, :, None], said], axis=2)


def _first_guess(values: np.ndarray, is_binary: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Mean of amounts in units of `scales`, log odds of what is 0 or 1, `(outcomes,)`."""
    mean = np.nan_to_num(np.nanmean(values, axis=0))
    chance = np.clip(mean, 1e-4, 1 - 1e-4)
    return np.where(is_binary, np.log(chance / (1 - chance)), mean / scales)


def _halves(rows: int, members: int, seed: int) -> np.ndarray:
    """1 where a row teaches a member, `(rows, members)`: a random half for every other member, its complement for the next one."""
    generator = np.random.default_rng(seed)
    counts = np.zeros((rows, members), np.float32)
    for pair in range(0, members, 2):
        first = generator.permutation(rows) % 2
        counts[:, pair], counts[:, pair + 1] = first, 1 - first
    return counts


def _fit(
    network: keras.Model, inputs: dict[str, np.ndarray], chances: Chances, truth: np.ndarray, counts: np.ndarray, config: UpliftConfig
) -> list[float]:
    rows, arms = len(truth), chances.chances.shape[1]
    facts = {
        "taken": np.eye(arms, dtype=np.float32)[chances.arm],
        "chances": chances.chances.astype(np.float32),
        "outcomes": np.nan_to_num(truth).astype(np.float32),
        "is_known": np.isfinite(truth).astype(np.float32),
        "counts": counts,
    }
    fitted = build_fitted_loss(network, config, chances.adjustment is None)
    batch = int(np.clip(rows // LEAST_STEPS, 32, config.batch))
    steps, is_jax = config.epochs * -(-rows // batch), keras.backend.backend() == "jax"
    fitted.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(config.learning_rate, steps)),
        loss=lambda _, loss: loss,
        jit_compile=is_jax,  # elsewhere compiling costs more than these few steps
        steps_per_execution=1 if is_jax else max(1, min(16, rows // batch)),  # JAX would compile every one of them
    )
    # Filled up with rows that count for nobody: every batch has one shape, and is compiled once.
    filled = np.concatenate([np.arange(rows), np.zeros(-rows % batch, int)])
    learned = {name: column[filled] for name, column in (inputs | {f"row_{fact}": column for fact, column in facts.items()}).items()}
    learned["row_counts"][rows:] = 0
    history = fitted.fit(learned, np.zeros(len(filled), np.float32), batch_size=batch, epochs=config.epochs, verbose=0).history
    return [float(value) / config.members for value in history["loss"]]


def _in_blocks(network: keras.Model, inputs: dict[str, np.ndarray], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """As `_said`, some rows at a time."""
    blocks = [_said(network, {name: column[at : at + BLOCK] for name, column in inputs.items()}) for at in range(0, max(rows, 1), BLOCK)]
    base, effects = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return base, effects


def _said(network: keras.Model, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Base `(rows, members, outcomes)` and effects `(rows, members, treatments, outcomes)`, in units of the network's scales."""
    said = network(inputs, training=False)
    return keras.ops.convert_to_numpy(said["base"]), keras.ops.convert_to_numpy(said["effects"])
