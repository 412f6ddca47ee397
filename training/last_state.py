"""The encoder's last state without the states before it, which an answer to a user never reads: several times less work a question."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.encoder_config import EncoderConfig

STEP_INPUTS = ("types", "gaps", "positions", "waits")  # what the layer `step_encoder` reads, in its order


def last_state(body: keras.Model, config: EncoderConfig, inputs: dict[str, Any], vectors: Any, at: Any) -> Any:
    """What the encoder's layer `body` gives at the step `at` `(batch,)` int32 of each row, `(batch, dim)`.

    `inputs` are those of `encoder.build_encoder`, `(batch, steps)`; `vectors` `(batch, steps, dim)` stand in place of `items`. All blocks
    but the last are run on every step.
    """
    segments, gaps = inputs["segments"], inputs["gaps"]
    states = vectors + body.get_layer("step_encoder")([inputs[name] for name in STEP_INPUTS])
    for block in range(config.blocks - 1):
        states = body.get_layer(f"block_{block}")(states, segments, gaps)
    state = body.get_layer(f"block_{config.blocks - 1}").last(states, segments, gaps, at)  # (batch, 1, dim)
    if config.long_taste:
        state = body.get_layer("long_taste").last(state, vectors, segments, at)
    return ops.squeeze(body.get_layer("norm_out")(state), axis=1)
