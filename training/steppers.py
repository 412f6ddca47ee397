"""How a block of rows is trained on: by Keras's `fit`, or on JAX as one compiled loop over rows that stay on the device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from training.distributed import is_alone, share_of_batches
from training.rows import Arrays

#: Trains on `rows` in `order`, in batches of so many rows; gives the mean loss of the batches.
Stepper = Callable[[Arrays, np.ndarray], float]


def stepper_of(model: keras.Model, loss: Callable[[Any, Any], Any], batch_rows: int, verbose: int) -> Stepper:
    """The fastest way for this backend and a compiled `model` whose `y_true` are the `weights` of `rows`."""
    if keras.backend.backend() == "jax" and is_alone():
        return ScannedSteps(model, loss, batch_rows)
    return partial(fit_block, model, batch_rows, verbose)


def fit_block(model: keras.Model, batch_rows: int, verbose: int, rows: Arrays, order: np.ndarray) -> float:
    """By `model.fit`; of several processes, each feeds its share of every batch."""
    own, batch = share_of_batches(order, batch_rows)
    shuffled = {name: values[own] for name, values in rows.items()}
    weights = shuffled.pop("weights")
    done = model.fit(shuffled, weights, batch_size=batch, shuffle=False, verbose=verbose)
    if keras.backend.backend() == "jax":  # `fit` ends with weights that share memory with their moving average, and cannot begin so
        for variable in model.trainable_variables:
            variable.assign(keras.ops.copy(variable.value))
    return float(done.history["loss"][-1])


class ScannedSteps:
    """All steps of a block in one call to the device: `jax.lax.scan` over the batches, each gathered from rows that lie there.

    A step by `fit` costs a call and a copy from the host, which on a GPU takes longer than the step itself. Compiles once per number of
    rows. Rows that are given again (the same object) are not copied again.
    """

    def __init__(self, model: keras.Model, loss: Callable[[Any, Any], Any], batch_rows: int) -> None:
        import jax

        optimizer = model.optimizer
        optimizer.build(model.trainable_variables)

        def loss_of(trainable: Any, others: Any, inputs: Any, weights: Any) -> Any:
            losses, others = model.stateless_call(trainable, others, inputs, training=True)
            return loss(weights, losses), others

        def step(rows: Any, state: Any, places: Any) -> Any:
            trainable, others, optimizer_variables = state
            inputs = {name: values[places] for name, values in rows.items()}
            weights = inputs.pop("weights")
            (value, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, others, inputs, weights)
            trainable, optimizer_variables = optimizer.stateless_apply(optimizer_variables, gradients, trainable)
            return (trainable, others, optimizer_variables), value

        self._run = jax.jit(lambda state, rows, order: jax.lax.scan(partial(step, rows), state, order), donate_argnums=0)
        self._model, self._batch_rows = model, batch_rows
        self._given: Arrays | None = None
        self._on_device: Any = None

    def __call__(self, rows: Arrays, order: np.ndarray) -> float:
        import jax

        if self._given is not rows:
            self._given, self._on_device = rows, jax.device_put(rows)
        variables = self._model.trainable_variables, self._model.non_trainable_variables, self._model.optimizer.variables
        state = tuple([variable.value for variable in part] for part in variables)
        state, losses = self._run(state, self._on_device, order.reshape(-1, self._batch_rows).astype(np.int32))
        for part, values in zip(variables, state, strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(value)
        return float(losses.mean())
