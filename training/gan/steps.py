"""Many training steps in one call: on JAX as one compiled scan over rows that lie on the device, on TensorFlow as a compiled step.

WGAN-GP needs the gradient of a gradient, which Keras's `fit` does not give; the losses are written once, in `training.gan.losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from training.gan.config import GanConfig
from training.gan.losses import critic_loss, generator_loss, packed

#: Given rows and wanted states, `(steps, batch)` each, and blends `(steps, packs, 1)`: the mean losses of critic and generator.
Stepper = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, float]]

#: XLA halves a step, and takes some ten seconds before the first.
WORTH_COMPILING = 1000


@dataclass(frozen=True)
class Players:
    """Both networks with their optimizers, and the generator's averaged weights (EMA), which are the ones that count."""

    generator: keras.Model
    critic: keras.Model
    generator_optimizer: keras.optimizers.Optimizer
    critic_optimizer: keras.optimizers.Optimizer
    average: keras.Model


def stepper_of(players: Players, real: np.ndarray, config: GanConfig) -> Stepper:
    """The stepper of this backend for real rows `(rows, width)`."""
    if keras.backend.backend() == "jax":
        return _scanned(players, real, config)
    return _compiled(players, real, config)


def _scanned(players: Players, real: np.ndarray, config: GanConfig) -> Stepper:
    import jax

    generator, critic = players.generator, players.critic
    states = generator.input_shape[-1]
    rows_on_device = jax.device_put(real)
    models = (generator, critic)
    optimizers = (players.generator_optimizer, players.critic_optimizer)

    def gradient(function: Any, values: Any) -> Any:
        return jax.grad(lambda given: ops.sum(function(given)))(values)

    def step(real_rows: Any, state: Any, given: Any) -> Any:
        (made_by, noise, judged_by), (made_opt, judged_opt), average = state
        places, codes, blend = given
        wanted = ops.one_hot(codes, states)

        def critic_of(trainable: Any) -> Any:
            return lambda packs: critic.stateless_call(trainable, [], packs)[0]

        def judged(trainable: Any) -> Any:
            (made, _), moved = generator.stateless_call(made_by, noise, wanted, training=True)
            both = (packed(real_rows[places], wanted, config.pack), packed(made, wanted, config.pack))
            return critic_loss(critic_of(trainable), gradient, *both, blend, config.penalty), moved

        (loss, noise), slopes = jax.value_and_grad(judged, has_aux=True)(judged_by)
        judged_by, judged_opt = optimizers[1].stateless_apply(judged_opt, slopes, judged_by)

        def made(trainable: Any) -> Any:
            (rows, logs), moved = generator.stateless_call(trainable, noise, wanted, training=True)
            return generator_loss(critic_of(judged_by)(packed(rows, wanted, config.pack)), logs, wanted), moved

        (other, noise), slopes = jax.value_and_grad(made, has_aux=True)(made_by)
        made_by, made_opt = optimizers[0].stateless_apply(made_opt, slopes, made_by)
        share = _share(made_opt[0], config)
        average = [old + share * (new - old) for old, new in zip(average, made_by, strict=True)]
        return ((made_by, noise, judged_by), (made_opt, judged_opt), average), (loss, other)

    run = jax.jit(lambda state, rows, given: jax.lax.scan(lambda one, other: step(rows, one, other), state, given))

    def call(places: np.ndarray, codes: np.ndarray, blends: np.ndarray) -> tuple[float, float]:
        held: Any = (
            (generator.trainable_variables, generator.non_trainable_variables, critic.trainable_variables),
            tuple(optimizer.variables for optimizer in optimizers),
            players.average.trainable_variables,
        )
        state = jax.tree.map(lambda variable: variable.value, held, is_leaf=lambda leaf: isinstance(leaf, keras.Variable))
        state, (judged, made) = run(state, rows_on_device, (places, codes, blends))
        flat = jax.tree.leaves(held, is_leaf=lambda leaf: isinstance(leaf, keras.Variable))
        for variable, value in zip(flat, jax.tree.leaves(state), strict=True):
            variable.assign(value)
        return float(judged.mean()), float(made.mean())

    for model, optimizer in zip(models, optimizers, strict=True):
        optimizer.build(model.trainable_variables)
    return call


def _compiled(players: Players, real: np.ndarray, config: GanConfig) -> Stepper:
    import tensorflow as tf

    generator, critic = players.generator, players.critic
    states = generator.input_shape[-1]
    real_rows = tf.constant(real)

    def gradient(function: Any, values: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = ops.sum(function(values))
        return tape.gradient(total, values)

    for model, optimizer in ((generator, players.generator_optimizer), (critic, players.critic_optimizer)):
        optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=config.steps >= WORTH_COMPILING)
    def step(places: Any, codes: Any, blend: Any) -> Any:
        wanted = tf.one_hot(codes, states)
        made, _ = generator(wanted, training=True)
        both = packed(tf.gather(real_rows, places), wanted, config.pack), packed(made, wanted, config.pack)
        with tf.GradientTape() as tape:
            loss = critic_loss(critic, gradient, *both, blend, config.penalty)
        players.critic_optimizer.apply(tape.gradient(loss, critic.trainable_variables), critic.trainable_variables)
        with tf.GradientTape() as tape:
            rows, logs = generator(wanted, training=True)
            other = generator_loss(critic(packed(rows, wanted, config.pack)), logs, wanted)
        players.generator_optimizer.apply(tape.gradient(other, generator.trainable_variables), generator.trainable_variables)
        share = _share(players.generator_optimizer.iterations, config)
        for old, new in zip(players.average.trainable_variables, generator.trainable_variables, strict=True):
            old.assign(old + share * (new - old))
        return loss, other

    def call(places: np.ndarray, codes: np.ndarray, blends: np.ndarray) -> tuple[float, float]:
        losses = [step(*given) for given in zip(map(tf.constant, places), map(tf.constant, codes), map(tf.constant, blends), strict=True)]
        return tuple(np.mean([[float(one), float(other)] for one, other in losses], axis=0))  # type: ignore[return-value]

    return call


def _share(done: Any, config: GanConfig) -> Any:
    """What a step adds to the average: much at first, so that an average of few steps is not mostly the weights it began with."""
    return ops.maximum(1 - config.averaging, 9.0 / (10.0 + ops.cast(done, "float32")))
