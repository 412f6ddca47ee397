"""The generator and the critic, in `keras.ops` only, so that both backends train them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.gan.config import GanConfig
from training.gan.table import Layout


class Noise(keras.layers.Layer):
    """Normal noise beside its input: `(rows, width)` gives `(rows, width + dim)`."""

    def __init__(self, dim: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim, self.seed = dim, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any) -> Any:
        noise = keras.random.normal((ops.shape(inputs)[0], self.dim), seed=self.generator)
        return ops.concatenate([noise, inputs], axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dim": self.dim, "seed": self.seed}


class DrawnRow(keras.layers.Layer):
    """Rows and log-probabilities from raw outputs: `(batch, width)` gives `(batch, width)` and `(batch, states)`.

    A column's states are drawn by Gumbel's softmax (Jang et al. 2017); a number's place is a tanh, times how much of a mode was drawn, so
    that a spike or a gap has place 0 as in real rows. States come first, then the places.
    """

    def __init__(self, sizes: tuple[int, ...], modes: tuple[int, ...], temperature: float, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes, self.modes, self.temperature, self.seed = tuple(sizes), tuple(modes), temperature, seed
        self.layout = Layout(self.sizes, self.modes)
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, raw: Any) -> tuple[Any, Any]:
        states = self.layout.states
        uniform = keras.random.uniform((ops.shape(raw)[0], states), 1e-6, 1 - 1e-6, seed=self.generator)
        noisy = (raw[:, :states] - ops.log(-ops.log(uniform))) / self.temperature
        drawn: list[Any] = []
        logs: list[Any] = []
        places: list[Any] = []
        start = 0
        for column, size in enumerate(self.sizes):
            own = slice(start, start + size)
            is_choice = size > 1  # a column of one state has nothing to draw
            drawn.append(ops.softmax(noisy[:, own], axis=-1) if is_choice else ops.ones_like(raw[:, own]))
            logs.append(ops.log_softmax(raw[:, own], axis=-1) if is_choice else ops.zeros_like(raw[:, own]))
            if self.modes[column]:
                place = ops.tanh(raw[:, states + len(places) : states + len(places) + 1])
                places.append(place * ops.sum(drawn[-1][:, : self.modes[column]], axis=-1, keepdims=True))
            start += size
        return ops.concatenate([*drawn, *places], axis=-1), ops.concatenate(logs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in ("sizes", "modes", "temperature", "seed")}}


def build_generator(layout: Layout, config: GanConfig, seed: int) -> keras.Model:
    """`(rows, width)` and log-probabilities `(rows, states)` from wanted states `(rows, states)`, one a row is 1."""
    wanted = keras.Input((layout.states,), name="wanted")
    rows = Noise(config.noise_dim, seed + 1, name="noise")(wanted)
    for layer in range(config.layers):
        start = keras.initializers.GlorotUniform(seed=seed + 10 + layer)
        hidden = keras.layers.Dense(config.hidden, kernel_initializer=start, name=f"dense_{layer}")(rows)
        hidden = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"norm_{layer}")(hidden)
        rows = keras.layers.Concatenate()([keras.layers.ReLU()(hidden), rows])
    raw = keras.layers.Dense(layout.width, kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 50), name="raw")(rows)
    drawn, logs = DrawnRow(layout.sizes, layout.modes, config.temperature, seed + 2, name="drawn")(raw)
    return keras.Model(wanted, [drawn, logs], name="generator")


def build_critic(layout: Layout, config: GanConfig, seed: int) -> keras.Model:
    """Scores `(packs, 1)` of `config.pack` rows side by side with their wanted states (PacGAN, Lin et al. 2018)."""
    packs = keras.Input((config.pack * (layout.width + layout.states),), name="packs")
    hidden = packs
    for layer in range(config.layers):
        start = keras.initializers.GlorotUniform(seed=seed + 100 + layer)
        hidden = keras.layers.Dense(config.hidden, kernel_initializer=start, name=f"dense_{layer}")(hidden)
        hidden = keras.layers.LeakyReLU(0.2)(hidden)
    score = keras.layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 150), name="score")
    return keras.Model(packs, score(hidden), name="critic")
