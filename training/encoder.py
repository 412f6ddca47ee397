"""The encoder: one causal sequence model of what users do next. Its last state is the portrait vector.

`train_encoder_network` fits it; `TrainedEncoder` answers with vectors and scores, and is what the other models build upon.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from training.backbones import LongTaste, build_block
from training.catalogue import Catalogue, content_of
from training.encoder_config import EncoderConfig
from training.fitting import Watch, build_training_model, fit_next_item, validation_ndcg_with
from training.histories import Histories
from training.last_state import STEP_INPUTS, last_state
from training.layers import RESERVED, ItemEncoder, StepEncoder, content_table, unit, unknown_places
from training.memory import Memory, choose_weights, remembered
from training.rows import HistoryPieces, learned_from
from training.splits import Validation
from training.windows import EVENT_TYPE_IDS, GAP_BUCKETS, newest_steps, steps_of

SCORES_HELD = 30_000_000  # scores in memory while the weights of what is recalled are chosen
INPUTS = ("items", "types", "gaps", "waits", "segments", "positions")


def build_item_encoder(config: EncoderConfig, sizes: dict[str, int], seed: int, table: np.ndarray | None = None) -> ItemEncoder:
    """The layer that gives item vectors; `sizes` holds places, columns, categories and brands."""
    return ItemEncoder(**sizes, dim=config.dim, id_dropout=config.id_dropout, seed=seed, table=table, name="item_encoder")


def build_encoder(config: EncoderConfig, item_encoder: ItemEncoder, seed: int) -> keras.Model:
    """The sequence model: six int32 inputs `(batch, steps)` give states `(batch, steps, dim)`.

    The state of a step knows the events up to that step in its segment and nothing later. The layer `body` is the model without the item
    encoder: it takes `vectors` `(batch, steps, dim)` in place of `items`, so that a gradient can be taken by event.
    """
    inputs = {name: keras.Input((config.sequence_length,), dtype="int32", name=name) for name in INPUTS}
    others = {name: tensor for name, tensor in inputs.items() if name != "items"}
    return keras.Model(inputs, _body(config, seed)({"vectors": item_encoder(inputs["items"]), **others}), name="encoder")


def _body(config: EncoderConfig, seed: int) -> keras.Model:
    steps = config.sequence_length
    inputs = {name: keras.Input((steps,), dtype="int32", name=name) for name in INPUTS if name != "items"}
    inputs["vectors"] = keras.Input((steps, config.dim), name="vectors")

    sizes = {"types": len(EVENT_TYPE_IDS), "gaps": GAP_BUCKETS, "positions": steps, "waits": GAP_BUCKETS}
    around = StepEncoder([sizes[name] for name in STEP_INPUTS], config.dim, seed + 11, name="step_encoder")
    states = inputs["vectors"] + around([inputs[name] for name in STEP_INPUTS])
    states = keras.layers.Dropout(config.dropout, seed=seed + 14)(states)
    for block in range(config.blocks):
        states = build_block(config, seed + 20 + 10 * block, f"block_{block}")(states, inputs["segments"], inputs["gaps"])
    if config.long_taste:
        states = LongTaste(config.dim, config.dropout, seed + 16, name="long_taste")(states, inputs["vectors"], inputs["segments"])
    states = keras.layers.LayerNormalization(epsilon=1e-6, name="norm_out")(states)
    return keras.Model(inputs, states, name="body")


@dataclass(frozen=True)
class TrainedEncoder:
    """A fitted encoder with the catalogue it was fitted on.

    `counts` `(items,)` are events per item known while fitting; `vectors_of_items` `(items, dim)` have length 1;
    `item_bias` `(items,)` is added to the logits, and so is what the `memory` recalls.
    """

    config: EncoderConfig
    catalogue: Catalogue
    counts: np.ndarray
    network: keras.Model
    item_encoder: ItemEncoder
    vectors_of_items: np.ndarray
    item_bias: np.ndarray
    curves: dict[str, list[float]]
    memory: Memory | None = None

    @property
    def popularity(self) -> np.ndarray:
        """Log of the items' share of events (one added to each), `(items,)`: the scores of a user without history."""
        return np.log((self.counts + 1) / (self.counts + 1).sum()).astype(np.float32)

    def vectors(self, histories: Histories, as_of_us: int | np.ndarray | None = None) -> np.ndarray:
        """Portrait vectors of length 1, `(users, dim)`, from events before `as_of_us`; a user without events gets zeros."""
        seen = histories if as_of_us is None else histories.before(as_of_us)
        return self._last_states(newest_steps(steps_of(seen, self.catalogue, as_of_us), self.config.sequence_length))

    def scores(self, histories: Histories, batch: int = 1024, as_of_us: int | np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Logits of all items in `catalogue.item_ids` order, in blocks `(up to batch, items)` float32 that follow the users' order.

        Nothing is excluded; a user without events gets the log-popularity of the items. `as_of_us` is when the next event is expected, once
        or for each user.
        """
        asked = None if as_of_us is None else np.broadcast_to(np.asarray(as_of_us, np.int64), (len(histories),))
        for start in range(0, len(histories), batch):
            block = histories[start : start + batch]
            at_us = None if asked is None else asked[start : start + batch]
            scores = self.vectors(block, at_us) @ self.vectors_of_items.T / self.config.temperature + self.item_bias
            if self.memory:
                known = block if at_us is None else block.before(at_us)
                scores += self.memory.scores([self.catalogue.index_of(items) for items in known.item_ids])
            scores[block.lengths == 0] = self.popularity
            yield scores.astype(np.float32)

    def _last_states(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        counts = (rows["segments"] > 0).sum(1)
        vectors = np.zeros((len(counts), self.config.dim), np.float32)
        size = 256
        for start in range(0, len(counts), size):
            chosen = np.arange(start, min(start + size, len(counts)))
            inputs = {name: keras.ops.convert_to_tensor(rows[name][chosen]) for name in INPUTS}
            at = keras.ops.convert_to_tensor(np.maximum(counts[chosen] - 1, 0).astype(np.int32))
            state = last_state(self.network.get_layer("body"), self.config, inputs, self.item_encoder(inputs["items"]), at)
            last = keras.ops.convert_to_numpy(state)
            vectors[chosen] = last / np.sqrt((last**2).sum(-1, keepdims=True) + 1e-12) * (counts[chosen] > 0)[:, None]
        return vectors

    def save(self, path: Path) -> None:
        """Writes `encoder.json`, `encoder.weights.h5`, `catalogue.parquet` and `curves.json` into the folder `path`."""
        path.mkdir(parents=True, exist_ok=True)
        layer = self.item_encoder
        sizes = {name: getattr(layer, name) for name in ("places", "columns", "categories", "brands")}
        (path / "encoder.json").write_text(json.dumps({"config": self.config.to_dict(), "sizes": sizes}, indent=1))
        (path / "curves.json").write_text(json.dumps(self.curves))
        self.network.save_weights(path / "encoder.weights.h5")
        columns = {field.name: getattr(self.catalogue, field.name) for field in fields(Catalogue)}
        pd.DataFrame({**columns, "count": self.counts, "bias": self.item_bias}).to_parquet(path / "catalogue.parquet", index=False)
        if self.memory:
            self.memory.save(path / "memory.npz")

    @classmethod
    def load(cls, path: Path) -> TrainedEncoder:
        """The encoder that `save` wrote."""
        kept = json.loads((path / "encoder.json").read_text())
        config = EncoderConfig(**kept["config"])
        frame = pd.read_parquet(path / "catalogue.parquet")
        texts = {field.name: frame[field.name].to_numpy(object) for field in fields(Catalogue) if field.name != "price"}
        catalogue = Catalogue(**texts, price=frame["price"].to_numpy(np.float32))
        item_encoder = build_item_encoder(config, kept["sizes"], seed=0)
        network = build_encoder(config, item_encoder, seed=0)
        network.load_weights(path / "encoder.weights.h5")
        curves = json.loads((path / "curves.json").read_text())
        bias = frame["bias"].to_numpy(np.float32)
        memory = None
        if (path / "memory.npz").exists():
            memory = Memory.load(path / "memory.npz", config.memory_weight or 0.0, config.memory_own_weight or 0.0)
        return cls(config, catalogue, frame["count"].to_numpy(), network, item_encoder, item_vectors(item_encoder), bias, curves, memory)


def item_vectors(item_encoder: ItemEncoder) -> np.ndarray:
    """Vectors of length 1 of all catalogue items, `(items, dim)`."""
    places = np.arange(RESERVED, item_encoder.places, dtype=np.int32)
    return keras.ops.convert_to_numpy(unit(item_encoder(places))).astype(np.float32)


def train_encoder_network(
    histories: Histories | HistoryPieces,
    catalogue: Catalogue,
    config: EncoderConfig,
    seed: int,
    log: Callable[[str], None] | None = None,
    validation: Validation | None = None,
    watch: Watch | None = None,
) -> TrainedEncoder:
    """An encoder fitted on `histories`; with `validation`, on the epoch with the best NDCG@10 there.

    The memory's weights are chosen on `validation`. Where there is none, the newest visits of some users teach nothing and are asked
    instead (`splits.hold_out`), unless `config` states the weights.
    Histories in pieces become training rows in a file in their `folder`, and an epoch reads them from there. `log` takes a line an
    epoch; `watch` says more about how the fit is followed, and takes its place.

    Raises ValueError where no user has two events of the catalogue: there is no next event to learn from.
    """
    keras.utils.set_random_seed(seed)
    validation = validation and validation.sampled(seed)
    is_chosen = config.memory_weight is not None and config.memory_own_weight is not None
    learned = learned_from(histories, catalogue, config, seed, holds_out=validation is None and not is_chosen)
    if not learned.targets:
        raise ValueError(
            f"The encoder learns from users with at least two events on items of the catalogue. Received {learned.users} users, "
            f"{int(learned.counts.sum())} events on them, none of them such a pair. Load more days of the table `events`."
        )
    content = content_of(catalogue, learned.sample)
    table = content_table(content, learned.counts > 0, unknown_places(catalogue.item_ids))
    sizes = {
        "places": len(table),
        "columns": table.shape[1],
        "categories": int(content.category_ids.max(initial=0)) + 1,
        "brands": int(content.brand_ids.max(initial=0)) + 1,
    }
    with precision(config.precision):
        item_encoder = build_item_encoder(config, sizes, seed, table)
        network = build_encoder(config, item_encoder, seed)
        model = build_training_model(network, item_encoder, learned.counts, config, seed)

    def snapshot(curves: dict[str, list[float]]) -> TrainedEncoder:
        bias = keras.ops.convert_to_numpy(model.get_layer("loss").bias())[RESERVED:]
        items, states = item_encoder, network
        if config.precision != "float32":
            items = build_item_encoder(config, sizes, seed)
            states = build_encoder(config, items, seed)
            states.set_weights(network.get_weights())
        return TrainedEncoder(config, catalogue, learned.counts, states, items, item_vectors(items), bias, curves)

    curves = fit_next_item(model, learned.rows, config, seed, watch or (Watch(say=log) if log else Watch()), validation, snapshot)
    return with_memory(snapshot(curves), learned.sample, validation or learned.held_out)


def with_memory(encoder: TrainedEncoder, histories: Histories, questions: Validation | None) -> TrainedEncoder:
    """The encoder with what `histories` remember, weighted as its config says or best on the `questions`; with neither, not at all."""
    config = encoder.config
    weight, own_weight = config.memory_weight, config.memory_own_weight
    neighbours = remembered([encoder.catalogue.index_of(items) for items in histories.item_ids], len(encoder.catalogue))
    if weight is None or own_weight is None:
        chosen = (0.0, 0.0)
        if questions is not None:
            questions = questions.sampled(0, most=max(100, SCORES_HELD // len(encoder.catalogue)))
            recalled = Memory(neighbours, 0.0, 0.0).parts([encoder.catalogue.index_of(items) for items in questions.histories.item_ids])
            quality = validation_ndcg_with(encoder, *recalled, questions)
            chosen = choose_weights(quality, repeats=not questions.removes_seen)
        weight, own_weight = chosen[0] if weight is None else weight, chosen[1] if own_weight is None else own_weight
    memory = Memory(neighbours, weight, own_weight) if weight or own_weight else None
    return replace(encoder, config=replace(config, memory_weight=weight, memory_own_weight=own_weight), memory=memory)


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Layers made inside compute by this Keras dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
