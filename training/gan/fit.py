"""Learning a table: the fitted generator, watched while it learns, begun again where it collapses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
from keras import ops

from training.gan.config import GanConfig
from training.gan.constraints import Constraint
from training.gan.monitors import CollapsedGan, Monitor, has_collapsed
from training.gan.networks import build_critic, build_generator
from training.gan.sampler import StateSampler
from training.gan.steps import Players, stepper_of
from training.gan.table import Encoded, Layout, TableEncoder, fit_encoder

Log = Callable[[str], None]
HELD_SHARE = 0.1
WATCHED = 2000  # rows of a look
STEPS_A_CALL = 50
ROWS_A_CALL = 2000


@dataclass(frozen=True)
class TrainedGan:
    """A generator that draws rows of `encoder`'s table. `curves` hold one value a look; `restarts` how many runs collapsed before."""

    encoder: TableEncoder
    generator: keras.Model
    states: StateSampler
    curves: dict[str, list[float]]
    restarts: int

    def sample(self, rows: int, seed: int) -> Encoded:
        """Drawn rows as states and places, by `seed` alone."""
        return draw(self.generator, self.states, self.encoder.layout, rows, seed)

    def sample_table(self, rows: int, seed: int) -> pd.DataFrame:
        """Drawn rows as a table with every column, every constraint kept."""
        return self.encoder.decode(self.sample(rows, seed), seed)


def fit_gan(
    table: pd.DataFrame,
    config: GanConfig,
    seed: int,
    *,
    constraints: Sequence[Constraint] = (),
    keep: Sequence[str] = (),
    log: Log | None = None,
) -> TrainedGan:
    """The generator of `table`, of the look at which its pairs of columns were nearest to a tenth of the rows, kept out for that.

    Raises CollapsedGan where `config.restarts` further runs collapsed too. `keep` are columns that no dependency may take out.
    """
    order = np.random.default_rng(seed).permutation(len(table))
    held_rows, learned_rows = order[: int(len(table) * HELD_SHARE)], order[int(len(table) * HELD_SHARE) :]
    encoder = fit_encoder(table, seed, constraints, keep)
    encoded = encoder.encode(table, seed)
    learned, held = encoded[learned_rows], encoded[held_rows[:WATCHED]]
    states = StateSampler(learned.codes, encoder.layout)
    for attempt in range(config.restarts + 1):
        monitor = Monitor.of(held, learned[: len(held)], encoder.layout, states.shares)
        generator = _run(learned, states, encoder.layout, config, seed + 10_000 * attempt, monitor, log)
        if generator is not None:
            return TrainedGan(encoder, generator, states, monitor.curves, attempt)
        if log:
            log(f"run {attempt + 1} collapsed after {len(monitor.curves['coverage'])} looks: begun again with another seed")
    raise CollapsedGan(
        f"A generator must cover the rows it is shown. {config.restarts + 1} runs collapsed, the last with coverage "
        f"{monitor.curves['coverage'][-1]:.2f} and category recall {monitor.curves['category recall'][-1]:.2f}. "
        "Give it more rows, more steps or a lower learning rate."
    )


def _run(
    learned: Encoded, states: StateSampler, layout: Layout, config: GanConfig, seed: int, monitor: Monitor, log: Log | None
) -> keras.Model | None:
    """The best generator of one run; None where it collapsed."""
    keras.utils.set_random_seed(seed % 2**32)
    players = Players(
        build_generator(layout, config, seed),
        build_critic(layout, config, seed),
        _adam(config),
        _adam(config),
        build_generator(layout, config, seed),
    )
    players.average.set_weights(players.generator.get_weights())
    call = stepper_of(players, as_rows(learned, layout), config)
    random = np.random.default_rng(seed)
    every = max(1, config.steps // config.checks // STEPS_A_CALL) * STEPS_A_CALL
    best, weights = np.inf, None
    for done in range(STEPS_A_CALL, config.steps + 1, STEPS_A_CALL):
        places, wanted = states.learn((STEPS_A_CALL, config.batch), random)
        blends = random.random((STEPS_A_CALL, config.batch // config.pack, 1), np.float32)
        losses = call(places, wanted, blends)
        if done % every:
            continue
        settle(players.average, states, random)
        made = draw(players.average, states, layout, len(monitor.held), seed)
        found = monitor.look(made)
        monitor.curves.setdefault("critic loss", []).append(losses[0])
        monitor.curves.setdefault("generator loss", []).append(losses[1])
        if log:
            log(f"step {done}: critic {losses[0]:.3f}, " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
        if not np.isfinite(losses).all() or (done > config.steps / 3 and has_collapsed(found)):
            return None
        if found["pair gap"] < best:
            best, weights = found["pair gap"], players.average.get_weights()
    if weights is not None:
        players.average.set_weights(weights)
    return players.average


def _adam(config: GanConfig) -> keras.optimizers.Optimizer:
    rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, config.steps, alpha=0.05)
    return keras.optimizers.Adam(rate, beta_1=0.5, beta_2=0.9)


def settle(generator: keras.Model, states: StateSampler, random: np.random.Generator, calls: int = 40) -> None:
    """Batch statistics of averaged weights: those of the weights that they were averaged from are not theirs."""
    for _ in range(calls):
        generator(_one_hot(states.write(ROWS_A_CALL, random), generator.input_shape[-1]), training=True)


def draw(generator: keras.Model, states: StateSampler, layout: Layout, rows: int, seed: int) -> Encoded:
    """`rows` drawn rows by `seed` alone: every noise of the generator begins anew."""
    random = np.random.default_rng(seed)
    for place, layer in enumerate(("noise", "drawn")):
        source = generator.get_layer(layer).generator
        source.state.assign(np.array([seed, place], "uint32"))
    found = []
    for _ in range(0, rows, ROWS_A_CALL):
        wanted = states.write(ROWS_A_CALL, random)
        made = ops.convert_to_numpy(generator(_one_hot(wanted, layout.states), training=False)[0])
        found.append(from_rows(made, layout))
    return Encoded(*(np.concatenate(part)[:rows] for part in zip(*((one.codes, one.places) for one in found), strict=True)))


def as_rows(encoded: Encoded, layout: Layout) -> np.ndarray:
    """States one-hot, then places: `(rows, width)` float32."""
    blocks = [np.eye(size, dtype=np.float32)[encoded.codes[:, place]] for place, size in enumerate(layout.sizes)]
    return np.concatenate([*blocks, encoded.places[:, layout.numbers]], axis=1)


def from_rows(rows: np.ndarray, layout: Layout) -> Encoded:
    """The most probable state of each column, and its place: the other way round."""
    codes = np.stack([rows[:, first : first + size].argmax(1) for first, size in zip(layout.offsets, layout.sizes, strict=True)], 1)
    places = np.zeros(codes.shape, np.float32)
    for number, column in enumerate(layout.numbers):
        is_mode = codes[:, column] < layout.modes[column]
        places[:, column] = np.where(is_mode, rows[:, layout.states + number], 0)
    return Encoded(codes.astype(np.int32), places)


def _one_hot(states: np.ndarray, size: int) -> np.ndarray:
    return np.eye(size, dtype=np.float32)[states]
