"""Declared traits inferred from behaviour: an ensemble of small networks per trait on a user's items and the frozen encoder.

Three kinds of network see the user's distinct items, weighted by rarity (TF-IDF, rows of unit length): one is linear (a logistic regression
with a quadratic penalty), one learns a vector per item, one stands on the leading directions in which all users' items vary (truncated SVD,
learned without any declaration) beside the portrait vector. Each is fitted several times, without another part of the labels, and stopped,
or its penalty chosen, there; the average of their logits is calibrated on what each said of the part it had not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, diags
from scipy.special import softmax

from training.baselines import interactions
from training.calibration import certain_from, scale_and_shifts
from training.encoder import TrainedEncoder
from training.histories import Histories
from training.metrics import row_logloss
from training.portrait_config import PortraitConfig
from training.splits import folds_of

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class TraitHead:
    """The head of one trait: `values` `(classes,)` in sorted order, networks whose logits are averaged, what calibrates the average, and
    the probability from which the best value is certain enough to be said."""

    values: list[str]
    networks: list[keras.Model]
    scale: float
    shifts: np.ndarray
    certain_from: float

    def predict_proba(self, bag: csr_matrix, vectors: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, `(rows, classes)`."""
        logits = np.mean([_logits(network, bag, vectors) for network in self.networks], axis=0)
        return softmax(self.scale * logits + self.shifts, axis=1)


@dataclass(frozen=True)
class Traits:
    """Heads by trait, in words why a declared trait has none, and the weight of each item of the catalogue in a bag, `(items,)`."""

    encoder: TrainedEncoder
    rarity: np.ndarray
    heads: dict[str, TraitHead]
    skipped: dict[str, str]

    def predict_proba(self, histories: Histories, as_of_us: int | None = None) -> dict[str, tuple[list[str], np.ndarray]]:
        """For each trait its values and their probabilities, `(users, classes)`; `as_of_us` is when they are looked at."""
        bag, vectors = item_bags(self.encoder, histories, self.rarity), self.encoder.vectors(histories, as_of_us)
        return {trait: (head.values, head.predict_proba(bag, vectors)) for trait, head in self.heads.items()}


def rarity_of(counts: np.ndarray, users: int) -> np.ndarray:
    """`ln((1 + users) / (1 + df)) + 1` for users per item `counts` `(items,)`: smoothed inverse document frequency."""
    return (np.log((1 + users) / (1 + counts)) + 1).astype(np.float32)


def item_bags(encoder: TrainedEncoder, histories: Histories, rarity: np.ndarray) -> csr_matrix:
    """A user's distinct items weighted by `rarity`, rows of unit length, `(users, items)`; all events count, not only the newest."""
    seen = interactions([np.unique(encoder.catalogue.index_of(items)) for items in histories.item_ids], len(encoder.catalogue))
    weighted = csr_matrix(seen @ diags(rarity))
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return csr_matrix(diags(np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)) @ weighted).astype(np.float32)


def fit_linear_network(
    bag: csr_matrix, truth: np.ndarray, learn: np.ndarray, held: np.ndarray, classes: int, config: PortraitConfig
) -> keras.Model:
    """Logits `(batch, classes)` linear in `bag` `(batch, items)`, fitted on rows `learn` with the penalty of least log-loss on `held`."""
    from sklearn.linear_model import LogisticRegression

    tried = [LogisticRegression(C=c, max_iter=500).fit(bag[learn], truth[learn]) for c in config.linear_inverse_penalties]
    best = min(tried, key=lambda model: float(row_logloss(truth[held], model.predict_proba(bag[held])).mean()))
    kernel, bias = best.coef_.T, best.intercept_
    if classes == 2:  # the regression keeps the second class's log-odds alone
        kernel, bias = np.concatenate([0 * kernel, kernel], axis=1), np.append(0.0, bias)
    inputs = {"bag": keras.Input((bag.shape[1],), name="bag")}
    line = keras.layers.Dense(classes, trainable=False, name="line")
    network = keras.Model(inputs, line(inputs["bag"]), name="linear")
    line.set_weights([kernel, bias])
    return network


def build_item_network(items: int, classes: int, config: PortraitConfig, seed: int) -> keras.Model:
    """Logits `(batch, classes)` from `bag` `(batch, items)`: a learned vector per item; most items are hidden while training."""
    inputs = {"bag": keras.Input((items,), name="bag")}
    shown = keras.layers.Dropout(config.item_dropout, seed=seed)(inputs["bag"] * config.bag_scale)
    return keras.Model(inputs, _classify(shown, config.item_hidden, classes, config, seed), name="items")


def build_taste_network(directions: np.ndarray, dim: int, classes: int, config: PortraitConfig, seed: int) -> keras.Model:
    """Logits `(batch, classes)` from `bag` `(batch, items)` on fixed `directions` `(items, width)`, and `vector` `(batch, dim)`."""
    inputs = {"bag": keras.Input((len(directions),), name="bag"), "vector": keras.Input((dim,), name="vector")}
    project = keras.layers.Dense(directions.shape[1], use_bias=False, trainable=False, name="directions")
    taste = project(inputs["bag"])
    project.kernel.assign(directions)
    both = keras.layers.Concatenate()([taste * config.bag_scale, inputs["vector"]])
    shown = keras.layers.Dropout(config.taste_dropout, seed=seed)(both)
    return keras.Model(inputs, _classify(shown, config.taste_hidden, classes, config, seed), name="taste")


def _classify(shown: keras.KerasTensor, hidden: int, classes: int, config: PortraitConfig, seed: int) -> keras.KerasTensor:
    start = keras.initializers.GlorotUniform
    wide = keras.layers.Dense(hidden, activation="gelu", kernel_initializer=start(seed=seed))(shown)
    wide = keras.layers.Dropout(config.trait_dropout, seed=seed + 1)(wide)
    return keras.layers.Dense(classes, kernel_initializer=start(seed=seed + 2))(wide)


def fit_traits(
    encoder: TrainedEncoder, histories: Histories, labels: pd.DataFrame, config: PortraitConfig, seed: int, as_of_us: int | None = None
) -> Traits:
    """Heads for every trait of `labels` (`user_id`, `trait`, `value`) that has enough labels among the users of `histories`, which are
    looked at at `as_of_us`."""
    heads: dict[str, TraitHead] = {}
    skipped: dict[str, str] = {}
    users = pd.Index(histories.user_ids)
    seen = item_bags(encoder, histories, np.ones(len(encoder.catalogue), np.float32))
    rarity = rarity_of(np.asarray((seen > 0).sum(axis=0)).ravel(), len(histories))
    bags = item_bags(encoder, histories, rarity)
    directions = leading_directions(bags, config.directions, seed) if len(labels) else np.zeros((len(rarity), 0), np.float32)
    labels = labels.dropna(subset=["user_id", "trait", "value"])
    labelled = np.unique(users.get_indexer(labels["user_id"]))
    labelled = labelled[labelled >= 0]
    vectors = np.zeros((len(users), encoder.config.dim), np.float32)
    vectors[labelled] = encoder.vectors(histories[labelled], as_of_us)
    for number, (trait, rows) in enumerate(labels.groupby("trait", sort=True)):
        rows = rows.drop_duplicates("user_id", keep="last")
        place = users.get_indexer(rows["user_id"])
        value = rows["value"].to_numpy(object)[place >= 0]
        place = place[place >= 0]
        values, counts = np.unique(value.astype(str), return_counts=True)
        values = values[counts >= config.min_value_labels]
        is_kept = np.isin(value, values)
        if len(values) < 2 or is_kept.sum() < config.min_labels:
            skipped[str(trait)] = (
                f"{int(is_kept.sum())} labels of {len(values)} values with at least {config.min_value_labels} labels each; "
                f"a head needs {config.min_labels} labels of two values"
            )
            continue
        truth = np.searchsorted(values, value[is_kept].astype(str))
        chosen = place[is_kept]
        heads[str(trait)] = _fit_head(bags[chosen], vectors[chosen], directions, truth, list(values), config, seed + 100 * number)
    return Traits(encoder, rarity, heads, skipped)


def leading_directions(bags: csr_matrix, width: int, seed: int) -> np.ndarray:
    """The leading right singular vectors of all users' bags, `(items, width)` or as many as there are."""
    from sklearn.decomposition import TruncatedSVD

    width = min(width, min(bags.shape) - 1)
    if width < 1 or not bags.nnz:
        return np.zeros((bags.shape[1], 0), np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):  # shares of no variance, where all users are alike
        return np.ascontiguousarray(TruncatedSVD(width, random_state=seed).fit(bags).components_.T, np.float32)


def _fit_head(
    bag: csr_matrix,
    vectors: np.ndarray,
    directions: np.ndarray,
    truth: np.ndarray,
    values: list[str],
    config: PortraitConfig,
    seed: int,
) -> TraitHead:
    items, classes = bag.shape[1], len(values)
    kinds: list[Callable[[int], keras.Model]] = [
        lambda seed: build_item_network(items, classes, config, seed),
        lambda seed: build_taste_network(directions, vectors.shape[1], classes, config, seed),
    ]
    part_of = folds_of(truth, config.trait_parts, seed)
    networks, unseen = [], np.zeros((len(truth), classes))
    for part in range(config.trait_parts):
        learn, held = np.flatnonzero(part_of != part), np.flatnonzero(part_of == part)
        for kind, build in enumerate(kinds):
            keras.utils.set_random_seed(seed + 10 * part + kind)
            network = build(seed + 10 * part + kind)
            _fit_network(network, bag, vectors, truth, learn, held, config)
            networks.append(network)
        networks.append(fit_linear_network(bag, truth, learn, held, classes, config))
        unseen[held] = np.mean([_logits(network, bag[held], vectors[held]) for network in networks[-len(kinds) - 1 :]], axis=0)
    scale, shifts = scale_and_shifts(unseen, truth)
    said = softmax(scale * unseen + shifts, axis=1)
    return TraitHead(values, networks, scale, shifts, certain_from(said, truth, config.trait_precision))


def _fit_network(
    network: keras.Model,
    bag: csr_matrix,
    vectors: np.ndarray,
    truth: np.ndarray,
    learn: np.ndarray,
    held: np.ndarray,
    config: PortraitConfig,
) -> None:
    """Fits on the rows `learn`, in whole batches of a new order each epoch, and keeps the epoch with the least log-loss on `held`."""
    size, names = min(config.batch, len(learn)), [i.name for i in network.inputs]
    network.compile(
        optimizer=keras.optimizers.AdamW(config.trait_learning_rate, weight_decay=config.trait_weight_decay),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,  # compiling costs more than these few steps
    )
    random, best, best_epoch, weights = np.random.default_rng(len(learn)), np.inf, 0, network.get_weights()
    for epoch in range(config.trait_epochs):
        for rows in random.permutation(learn)[: len(learn) // size * size].reshape(-1, size):
            network.train_on_batch(_inputs(names, bag[rows], vectors[rows]), truth[rows])
        chances = softmax(_logits(network, bag[held], vectors[held]), axis=1)
        loss = float(row_logloss(truth[held], chances).mean())
        if loss < best:
            best, best_epoch, weights = loss, epoch, network.get_weights()
        elif epoch - best_epoch >= config.trait_patience:
            break
    network.set_weights(weights)


def _inputs(names: list[str], bag: csr_matrix, vectors: np.ndarray) -> Inputs:
    both = {"bag": bag.toarray(), "vector": vectors}
    return {name: both[name] for name in names}


def _logits(network: keras.Model, bag: csr_matrix, vectors: np.ndarray) -> np.ndarray:
    names, size = [i.name for i in network.inputs], 2048
    blocks = [
        keras.ops.convert_to_numpy(network(_inputs(names, bag[at : at + size], vectors[at : at + size]), training=False))
        for at in range(0, bag.shape[0], size)
    ]
    return np.concatenate(blocks) if blocks else np.zeros((0, network.output.shape[-1]), np.float32)
