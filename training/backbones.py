"""The encoder's backbones: three kinds of block with one interface, in `keras.ops` only.

Every block is called as `block(states, segments, gaps)` with `states` `(batch, steps, dim)`, int32 `segments` `(batch, steps)` (0 where
there is no event; users packed into one row have numbers of their own) and int32 `gaps` `(batch, steps)`, the time-gap buckets.
It gives new states of the same shape. A step knows itself and earlier steps of its own segment, nothing else.
`block.last(states, segments, gaps, at)` gives the new state of one step of each row alone, `at` `(batch,)`, as `(batch, 1, dim)`: what is
served reads the last state, and the feed-forward branch, the gates and the queries of the other steps are most of a block's work.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from training.encoder_config import EncoderConfig


def build_block(config: EncoderConfig, seed: int, name: str) -> keras.layers.Layer:
    """One block of `config.backbone`; `name` also numbers its dilation: `block_0` looks 1 and 2 steps back, `block_1` 2 and 4."""
    number = int(name.rpartition("_")[2])
    if config.backbone == "cnn":
        return CausalConvolution(config.dim, config.kernel, config.kernel_growth**number, config.dropout, seed, name=name)
    if config.backbone == "lstm":
        return InterestEvolution(config.dim, config.dropout, seed, name=name)
    gaps = config.time_aware
    return GatedAttention(config.dim, config.heads, config.dropout, config.is_gated, seed, time_aware=gaps, name=name)


def _glorot(seed: int) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed=seed)


class Block(keras.layers.Layer):
    """What all blocks share: a config that rebuilds them and states of unchanged shape."""

    arguments: tuple[str, ...] = ()

    def compute_output_shape(self, states_shape: Any, *_others: Any) -> Any:
        return states_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in self.arguments}}


def step_at(values: Any, at: Any) -> Any:
    """`values` `(batch, steps, dim)` at the step `at` `(batch,)`, `(batch, 1, dim)`."""
    return ops.matmul(ops.one_hot(at, values.shape[1], dtype=values.dtype)[:, None], values)


class FeedForward(Block):
    """`narrow(swish(gate) * wide)` after a norm (SwiGLU, Shazeer 2020), without the residual; `(batch, steps, dim)` in and out."""

    arguments = ("dim", "seed")

    def __init__(self, dim: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim, self.seed = dim, seed
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6)
        self.widen = keras.layers.Dense(4 * dim, kernel_initializer=_glorot(seed))
        self.narrow = keras.layers.Dense(dim, kernel_initializer=_glorot(seed + 1))

    def build(self, states_shape: Any) -> None:
        self.norm.build(states_shape)
        self.widen.build(states_shape)
        self.narrow.build((*states_shape[:-1], 2 * self.dim))

    def call(self, states: Any) -> Any:
        gate, wide = ops.split(self.widen(self.norm(states)), 2, axis=-1)
        return self.narrow(ops.silu(gate) * wide)


class GatedAttention(Block):
    """A pre-norm transformer block with gates on both residual branches: `x + branch(norm(x)) * sigmoid(W x)` (LiGR, Borisyuk 2025).

    With `is_gated` false the gates are 1, which is the plain pre-norm block. With `time_aware`, each head adds a learned number per bucket
    of the time between two steps to their logit (Hou et al. 2020 do so for positions; HSTU for time): the buckets of the steps
    between are summed in seconds, as powers of two.
    """

    arguments = ("dim", "heads", "dropout", "is_gated", "seed", "time_aware")

    def __init__(self, dim: int, heads: int, dropout: float, is_gated: bool, seed: int, time_aware: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim, self.heads, self.dropout, self.is_gated, self.seed, self.time_aware = dim, heads, dropout, is_gated, seed, time_aware
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6)
        self.to_qkv = keras.layers.Dense(3 * dim, kernel_initializer=_glorot(seed))
        self.from_heads = keras.layers.Dense(dim, kernel_initializer=_glorot(seed + 1))
        self.feed = FeedForward(dim, seed + 2)
        self.drop = keras.layers.Dropout(dropout, seed=seed)
        self.gates = [keras.layers.Dense(dim, activation="sigmoid", kernel_initializer=_glorot(seed + 4 + n)) for n in range(2 * is_gated)]

    def build(self, states_shape: Any, *_others: Any) -> None:
        for layer in (self.norm, self.to_qkv, self.from_heads, self.feed, *self.gates):
            layer.build(states_shape)
        if self.time_aware:
            self.time_bias = self.add_weight(shape=(TIME_BUCKETS, self.heads), initializer="zeros", name="time_bias")

    def call(self, states: Any, segments: Any, gaps: Any, training: bool = False) -> Any:
        states = states + self._gated(0, states, self.drop(self._attended(states, segments, gaps), training=training))
        return states + self._gated(1, states, self.drop(self.feed(states), training=training))

    def last(self, states: Any, segments: Any, gaps: Any, at: Any) -> Any:
        kernel, bias = self.to_qkv.kernel, self.to_qkv.bias
        normed, own = self.norm(states), step_at(states, at)
        query = ops.matmul(self.norm(own), kernel[:, : self.dim]) + bias[: self.dim]  # (batch, 1, dim)
        key, value = ops.split(ops.matmul(normed, kernel[:, self.dim :]) + bias[self.dim :], 2, axis=-1)  # (batch, steps, dim)
        between = elapsed_to(gaps, at) if self.time_aware else None
        own = own + self._gated(0, own, self._mixed(query, key, value, is_seen_from(segments, at), between))
        return own + self._gated(1, own, self.feed(own))

    def _gated(self, branch: int, states: Any, change: Any) -> Any:
        return change * self.gates[branch](states) if self.is_gated else change

    def _attended(self, states: Any, segments: Any, gaps: Any) -> Any:
        query, key, value = ops.split(self.to_qkv(self.norm(states)), 3, axis=-1)
        return self._mixed(query, key, value, is_seen(segments), elapsed(gaps) if self.time_aware else None)

    def _mixed(self, query: Any, key: Any, value: Any, seen: Any, between: Any) -> Any:
        """What the queries `(batch, queries, dim)` read from the values `(batch, steps, dim)`; `seen` and the buckets of the time `between`
        `(batch, queries, steps)`."""
        queries, size = query.shape[1], self.dim // self.heads
        query, key, value = (
            ops.transpose(ops.reshape(part, (-1, part.shape[1], self.heads, size)), (0, 2, 1, 3)) for part in (query, key, value)
        )  # (batch, heads, queries or steps, size)
        logits = ops.cast(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))), "float32") / size**0.5
        if between is not None:
            logits = logits + ops.cast(ops.transpose(ops.take(self.time_bias, between, axis=0), (0, 3, 1, 2)), "float32")
        weights = ops.cast(ops.softmax(ops.where(seen[:, None], logits, -1e4), axis=-1), value.dtype)
        mixed = ops.reshape(ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3)), (-1, queries, self.dim))
        return self.from_heads(mixed)


def is_seen(segments: Any) -> Any:
    """Whether the step of the row may know the step of the column, `(batch, steps, steps)`: an earlier one or itself, of its segment."""
    steps = segments.shape[1]
    return ops.logical_and(segments[:, :, None] == segments[:, None, :], np.tril(np.ones((steps, steps), bool)))


def is_seen_from(segments: Any, at: Any) -> Any:
    """The rows of `is_seen` at the step `at` `(batch,)`, `(batch, 1, steps)`."""
    steps = segments.shape[1]
    own = ops.sum(segments * ops.one_hot(at, steps, dtype=segments.dtype), axis=1, keepdims=True)
    return ops.logical_and(segments == own, ops.arange(steps, dtype=at.dtype)[None] <= at[:, None])[:, None]


#: Buckets of the time between two steps: powers of two in seconds up to some 270 years.
TIME_BUCKETS = 34


def elapsed(gaps: Any) -> Any:
    """Bucket of the time from each earlier step to each later one, `(batch, steps, steps)` int32; 0 where both are one step.

    A gap bucket `g` stands for `2 ** (g - 2)` seconds, less than one for 1, and 0 at a user's first event.
    """
    total = _seconds(gaps)
    return _buckets(total[:, :, None] - total[:, None, :])


def elapsed_to(gaps: Any, at: Any) -> Any:
    """The rows of `elapsed` at the step `at` `(batch,)`, `(batch, 1, steps)`."""
    total = _seconds(gaps)
    own = ops.sum(total * ops.one_hot(at, total.shape[1], dtype=total.dtype), axis=1, keepdims=True)
    return _buckets(own - total)[:, None]


def _seconds(gaps: Any) -> Any:
    """Seconds from the first step to each, `(batch, steps)`."""
    return ops.cumsum(ops.where(gaps > 0, 2.0 ** (ops.cast(gaps, "float32") - 2.0), 0.0), axis=1)


def _buckets(between: Any) -> Any:
    return ops.cast(ops.minimum(ops.ceil(ops.log2(ops.maximum(between, 0.0) + 1.0)), TIME_BUCKETS - 1.0), "int32")


def shifted(values: Any, steps: int) -> Any:
    """`values` `(batch, length, ...)` moved `steps` later, zeros in front."""
    padding = [[0, 0], [steps, 0], *[[0, 0]] * (len(values.shape) - 2)]
    return ops.pad(values, padding)[:, : values.shape[1]]


class CausalConvolution(Block):
    """A pre-norm residual block of a dilated causal convolution with a gate, and a feed-forward branch (WaveNet's gate; Yuan et al. 2019).

    Taps `0, dilation, 2 dilation, ...` steps back; a tap in another segment is zero.
    """

    arguments = ("dim", "kernel", "dilation", "dropout", "seed")

    def __init__(self, dim: int, kernel: int, dilation: int, dropout: float, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim, self.kernel, self.dilation, self.dropout, self.seed = dim, kernel, dilation, dropout, seed
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6)
        self.convolve = keras.layers.Dense(2 * dim, kernel_initializer=_glorot(seed))
        self.mix = keras.layers.Dense(dim, kernel_initializer=_glorot(seed + 1))
        self.feed = FeedForward(dim, seed + 2)
        self.drop = keras.layers.Dropout(dropout, seed=seed)

    def build(self, states_shape: Any, *_others: Any) -> None:
        self.norm.build(states_shape)
        self.convolve.build((*states_shape[:-1], self.kernel * self.dim))
        self.mix.build(states_shape)
        self.feed.build(states_shape)

    def call(self, states: Any, segments: Any, _gaps: Any, training: bool = False) -> Any:
        normed, taps = self.norm(states), []
        for back in self._reach():
            is_own = shifted(segments, back) == segments
            taps.append(shifted(normed, back) * ops.cast(is_own, normed.dtype)[..., None])
        states = states + self.drop(self._convolved(taps), training=training)
        return states + self.drop(self.feed(states), training=training)

    def last(self, states: Any, segments: Any, gaps: Any, at: Any) -> Any:
        normed, own = self.norm(states), step_at(states, at)
        tapped = normed * ops.cast(is_seen_from(segments, at), normed.dtype)[:, 0, :, None]  # zero in another segment
        own = own + self._convolved([step_at(tapped, at - back) for back in self._reach()])  # a step before the first is zero
        return own + self.feed(own)

    def _reach(self) -> list[int]:
        return [tap * self.dilation for tap in range(self.kernel)]

    def _convolved(self, taps: list[Any]) -> Any:
        filtered, gate = ops.split(self.convolve(ops.concatenate(taps, axis=-1)), 2, axis=-1)
        return self.mix(ops.tanh(filtered) * ops.sigmoid(gate))


class InterestEvolution(Block):
    """Recurrent interest extraction and attention-updated evolution (after DIEN, Zhou et al. 2019), causal at every step.

    An LSTM extracts the interest of each step. Its relevance is the sigmoid of its match with what a causal attention reads from all
    interests so far; a GRU whose update gate is multiplied by that relevance lets the interests evolve. DIEN attends with the
    candidate item; here there is none yet, and the interests so far stand in its place. Both recurrences start afresh with each segment.
    """

    arguments = ("dim", "dropout", "seed")

    def __init__(self, dim: int, dropout: float, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim, self.dropout, self.seed = dim, dropout, seed
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6)
        self.to_lstm = keras.layers.Dense(4 * dim, kernel_initializer=_glorot(seed))
        self.extract = keras.layers.RNN(LstmCell(dim, seed + 1), return_sequences=True)
        self.match = keras.layers.Dense(dim, use_bias=False, kernel_initializer=_glorot(seed + 2))
        self.to_gru = keras.layers.Dense(3 * dim, kernel_initializer=_glorot(seed + 3))
        self.evolve = keras.layers.RNN(AttentionUpdatedGruCell(dim, seed + 4), return_sequences=True)
        self.drop = keras.layers.Dropout(dropout, seed=seed)

    def build(self, states_shape: Any, *_others: Any) -> None:
        for layer in (self.norm, self.to_lstm, self.match, self.to_gru):
            layer.build(states_shape)
        self.extract.build((*states_shape[:-1], 4 * self.dim + 1))
        self.evolve.build((*states_shape[:-1], 3 * self.dim + 2))

    def call(self, states: Any, segments: Any, _gaps: Any, training: bool = False) -> Any:
        keep = ops.cast(shifted(segments, 1) == segments, states.dtype)[..., None]  # (batch, steps, 1)
        interests = self.extract(ops.concatenate([self.to_lstm(self.norm(states)), keep], axis=-1))  # (batch, steps, dim)
        logits = ops.matmul(self.match(interests), ops.transpose(interests, (0, 2, 1))) / self.dim**0.5  # (batch, steps, steps)
        read = ops.matmul(ops.softmax(ops.where(is_seen(segments), logits, -1e4), axis=-1), interests)
        relevance = ops.sigmoid(ops.sum(self.match(interests) * read, axis=-1, keepdims=True) / self.dim**0.5)  # (batch, steps, 1)
        dropped = self.drop(interests, training=training)
        evolved = self.evolve(ops.concatenate([self.to_gru(dropped), relevance, keep], axis=-1))
        return states + self.drop(evolved, training=training)

    def last(self, states: Any, segments: Any, gaps: Any, at: Any) -> Any:
        return step_at(self(states, segments, gaps), at)  # a recurrence has to pass all steps


class LstmCell(Block):
    """One step of an LSTM (Hochreiter & Schmidhuber 1997) on `[4 dim input projections, keep]`; `keep` 0 forgets what was before."""

    arguments = ("dim", "seed")

    def __init__(self, dim: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim, self.seed, self.state_size, self.output_size = dim, seed, [dim, dim], dim

    def build(self, _shape: Any) -> None:
        start = keras.initializers.Orthogonal(seed=self.seed)
        self.recurrent = self.add_weight(shape=(self.dim, 4 * self.dim), initializer=start, name="recurrent")

    def call(self, inputs: Any, states: Any) -> Any:
        projected, keep = inputs[:, : 4 * self.dim], inputs[:, 4 * self.dim :]
        hidden, memory = states[0] * keep, states[1] * keep
        into, forget, new, out = ops.split(projected + ops.matmul(hidden, self.recurrent), 4, axis=-1)
        memory = ops.sigmoid(forget + 1.0) * memory + ops.sigmoid(into) * ops.tanh(new)
        hidden = ops.sigmoid(out) * ops.tanh(memory)
        return hidden, [hidden, memory]


class AttentionUpdatedGruCell(Block):
    """One step of DIEN's AUGRU on `[3 dim input projections, relevance, keep]`: the update gate is multiplied by the relevance."""

    arguments = ("dim", "seed")

    def __init__(self, dim: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim, self.seed, self.state_size, self.output_size = dim, seed, [dim], dim

    def build(self, _shape: Any) -> None:
        start = keras.initializers.Orthogonal
        self.to_gates = self.add_weight(shape=(self.dim, 2 * self.dim), initializer=start(seed=self.seed), name="to_gates")
        self.to_new = self.add_weight(shape=(self.dim, self.dim), initializer=start(seed=self.seed + 1), name="to_new")

    def call(self, inputs: Any, states: Any) -> Any:
        size = self.dim
        gates, new = inputs[:, : 2 * size], inputs[:, 2 * size : 3 * size]
        relevance, keep = inputs[:, 3 * size : 3 * size + 1], inputs[:, 3 * size + 1 :]
        hidden = states[0] * keep
        update, reset = ops.split(ops.sigmoid(gates + ops.matmul(hidden, self.to_gates)), 2, axis=-1)
        update = update * relevance
        hidden = (1.0 - update) * hidden + update * ops.tanh(new + ops.matmul(hidden * reset, self.to_new))
        return hidden, [hidden]


class LongTaste(Block):
    """A linear map of the mean of all item vectors so far in the segment: the lasting taste, beside what the newest steps say.

    `states` `(batch, steps, dim)` plus `W sum(vectors so far) / sqrt(steps so far)` (FISM, Kabbur et al. 2013).
    """

    arguments = ("dim", "dropout", "seed")

    def __init__(self, dim: int, dropout: float, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim, self.dropout, self.seed = dim, dropout, seed
        self.mix = keras.layers.Dense(dim, kernel_initializer=_glorot(seed))
        self.drop = keras.layers.Dropout(dropout, seed=seed)

    def build(self, states_shape: Any, *_others: Any) -> None:
        self.mix.build(states_shape)

    def call(self, states: Any, vectors: Any, segments: Any, training: bool = False) -> Any:
        return states + self.mix(self.drop(self._summed(vectors, is_seen(segments)), training=training))

    def last(self, state: Any, vectors: Any, segments: Any, at: Any) -> Any:
        """What a call gives at the step `at` `(batch,)`, `(batch, 1, dim)`, from the `state` `(batch, 1, dim)` of that step."""
        return state + self.mix(self._summed(vectors, is_seen_from(segments, at)))

    def _summed(self, vectors: Any, seen: Any) -> Any:
        seen = ops.cast(seen, vectors.dtype)
        return ops.matmul(seen, vectors) / ops.sqrt(ops.sum(seen, axis=-1, keepdims=True))
