"""What the critic and the generator minimise, written once for both backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

#: `(function of an array, array)` gives the gradient of the function's sum by the array: each backend has its own.
Gradient = Callable[[Callable[[Any], Any], Any], Any]


def packed(rows: Any, wanted: Any, pack: int) -> Any:
    """`(batch, width)` and wanted states `(batch, states)` as `(batch / pack, pack * (width + states))`."""
    beside = ops.concatenate([rows, wanted], axis=-1)
    return ops.reshape(beside, (-1, pack * beside.shape[-1]))


def critic_loss(criticise: Callable[[Any], Any], gradient: Gradient, real: Any, made: Any, blend: Any, penalty: float) -> Any:
    """Wasserstein loss with gradient penalty (Gulrajani et al. 2017): `real` and `made` packs `(packs, width)`, `blend` `(packs, 1)`."""
    between = made + blend * (real - made)
    slope = ops.sqrt(ops.sum(gradient(criticise, between) ** 2, axis=-1) + 1e-12)
    return ops.mean(criticise(made)) - ops.mean(criticise(real)) + penalty * ops.mean((slope - 1.0) ** 2)


def generator_loss(score: Any, logs: Any, wanted: Any) -> Any:
    """The critic's displeasure, and the cross-entropy of the states that were wanted (Xu et al. 2019)."""
    return -ops.mean(score) - ops.mean(ops.sum(logs * wanted, axis=-1))
