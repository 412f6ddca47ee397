"""One training of the encoder, run by `benchmarks.peers`: `ROWS.npz CONFIG SEED`.

CONFIG is JSON for `EncoderConfig`; `"content": false` leaves out what the catalogue says of items.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from benchmarks.peers import beauty
from benchmarks.turns import Rows, Turns
from training.catalogue import Catalogue
from training.checkpoints import Checkpoint
from training.encoder import TrainedEncoder, build_encoder, item_vectors, train_encoder_network
from training.encoder_config import EncoderConfig
from training.fitting import Watch
from training.histories import Histories
from training.layers import RESERVED, ItemTable

FOREVER = 100_000  # epochs; the benchmark says when it is enough


class EpochEnds(Checkpoint):
    """Stands where a fit keeps its state after each epoch: keeps nothing, asks the questions and waits for its turn."""

    def __init__(self, turns: Turns, config: EncoderConfig, catalogue: Catalogue, asked: Histories) -> None:
        self._turns, self._config, self._catalogue, self._asked = turns, config, catalogue, asked

    def load(self, _model: keras.Model) -> None:
        return None

    def save(self, model: keras.Model, _facts: dict[str, Any], _best: list[np.ndarray] | None) -> None:
        self._turns.after_epoch(block for encoder in [self._encoder(model)] for block in encoder.scores(self._asked))

    def discard(self) -> None:
        pass

    def _encoder(self, model: keras.Model) -> TrainedEncoder:
        """What the fit would return if it ended now."""
        tables = [layer for layer in model.layers if isinstance(layer, ItemTable)]
        layer = tables[0].item_encoder if tables else model.get_layer("item_encoder")
        network = build_encoder(self._config, layer, seed=0)
        network.get_layer("body").set_weights(model.get_layer("body").get_weights())
        bias = keras.ops.convert_to_numpy(model.get_layer("loss").bias())[RESERVED:]
        counts = np.zeros(len(self._catalogue))
        return TrainedEncoder(self._config, self._catalogue, counts, network, layer, item_vectors(layer), bias, {})


def main(path: str, options: str, seed: str) -> None:
    chosen = json.loads(options)
    histories, catalogue = beauty(content=chosen.pop("content", True))
    config = EncoderConfig(epochs=FOREVER, memory_weight=0.0, memory_own_weight=0.0, **chosen)  # the network alone, on all events
    turns = Turns(Rows.load(Path(path)))
    ends = EpochEnds(turns, config, catalogue, histories)
    train_encoder_network(histories, catalogue, config, int(seed), watch=Watch(checkpoint=ends))


if __name__ == "__main__":
    main(*sys.argv[1:])
