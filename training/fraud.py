"""How likely an order is to be charged back as fraud: a tabular network, calibrated, and its served form with reason codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from keras import ops

from training.calibration import platt, sigmoid
from training.fraud_config import REASONS, SHOWN_REASONS, FraudConfig
from training.fraud_rules import encoded
from training.signatures import ORDER_FEATURES
from training.tabular import Tabular, TabularConfig, fit_tabular

_SMALLEST = 1e-6


@dataclass(frozen=True)
class Fraud:
    """A fitted model: `sigmoid(slope * logit of the networks' mean + shift)`; `usual` `(features,)` is a usual honest order."""

    tabular: Tabular
    slope: float
    shift: float
    usual: np.ndarray

    def predict(self, numbers: np.ndarray) -> np.ndarray:
        """Probabilities `(rows,)` from `numbers` `(rows, ORDER_FEATURES)`."""
        return sigmoid(self.slope * _logits(_chances(self.tabular, numbers)) + self.shift)


def sampled(is_fraud: np.ndarray, weight: np.ndarray, config: FraudConfig, seed: int) -> np.ndarray:
    """Rows that teach, rising: every fraud, and honest ones drawn with chances in the proportion of their weights `(rows,)`."""
    frauds, honest = np.flatnonzero(is_fraud), np.flatnonzero(~is_fraud & (weight > 0))
    wanted = min(len(honest), max(config.least_honest, config.honest_a_fraud * len(frauds)))
    chances = weight[honest] / weight[honest].sum()
    drawn = np.random.default_rng(seed).choice(honest, wanted, replace=False, p=chances) if wanted else honest
    return np.sort(np.concatenate([frauds, drawn]))


def fit_fraud(numbers: np.ndarray, is_fraud: np.ndarray, weight: np.ndarray, group: np.ndarray, config: FraudConfig, seed: int) -> Fraud:
    """The networks learn from `sampled` rows; the calibration is fitted on all, each asked of networks that never saw its group.

    `numbers` `(rows, ORDER_FEATURES)` float32, `weight` `(rows,)` the maturity of an order's label, `group` `(rows,)` the number of its
    linked accounts: orders of one ring never stand on both sides. Raises ValueError where one of the two classes has no row of weight.
    """
    if not is_fraud.any() or not (~is_fraud & (weight > 0)).any():
        raise ValueError(f"A fraud model needs frauds and honest orders. Received {int(is_fraud.sum())} frauds of {len(is_fraud)} orders.")
    part = _parts(group, is_fraud, config.parts, seed)
    rows = sampled(is_fraud, weight, config, seed)
    read = np.asarray(ops.convert_to_numpy(encoded(numbers[rows])), np.float32)
    truth, shared = is_fraud[rows].astype(np.int64), _tabular_config(config)
    tabular = fit_tabular(read, _no_categories(read), truth, shared, seed, part_of=part[rows])
    unseen = np.zeros(len(numbers))
    for number, network in enumerate(tabular.networks):
        own = part == number
        unseen[own] = _chances(Tabular([network], tabular.sizes), numbers[own])
    slope, shift = platt(_logits(unseen), is_fraud.astype(float), np.where(is_fraud, 1.0, weight))
    usual = np.nanmedian(np.where(is_fraud[rows][:, None], np.nan, numbers[rows]), axis=0)
    return Fraud(tabular, slope, shift, usual.astype(np.float32))


def _tabular_config(config: FraudConfig) -> TabularConfig:
    shared = {name: value for name, value in config.to_dict().items() if name in TabularConfig.__dataclass_fields__}
    return TabularConfig(**shared)


def _parts(group: np.ndarray, is_fraud: np.ndarray, parts: int, seed: int) -> np.ndarray:
    """The part of each row, `(rows,)`: groups with frauds and groups without are each dealt out in turn, in an order drawn by seed."""
    groups, place = np.unique(group, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(groups))
    with_fraud = np.bincount(place, is_fraud, len(groups)) > 0
    dealt = np.empty(len(groups), np.int64)
    dealt[order[np.argsort(with_fraud[order], kind="stable")]] = np.arange(len(groups)) % parts
    return dealt[place]


def _chances(tabular: Tabular, numbers: np.ndarray) -> np.ndarray:
    read = np.asarray(ops.convert_to_numpy(encoded(numbers)), np.float32)
    return tabular.predict_proba(read, _no_categories(read))[:, 1]


def _no_categories(numbers: np.ndarray) -> np.ndarray:
    return np.zeros((len(numbers), 0), np.int32)


def _logits(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability.astype(np.float64), _SMALLEST, 1 - _SMALLEST)
    return np.log(clipped) - np.log1p(-clipped)


class ServedFraud(tf.Module):
    """Probability and reasons from raw features. A reason's effect is what the log-odds fall by where its features are as in a usual order,
    all else as it is (occlusion); `(batch, reasons)` by falling effect, those that raise nothing left blank."""

    def __init__(self, fraud: Fraud) -> None:
        super().__init__()
        self.fraud = fraud
        self.networks = fraud.tabular.networks
        self.usual = tf.Variable(fraud.usual, trainable=False, name="usual")
        place = {name: number for number, name in enumerate(ORDER_FEATURES)}
        self._hides = np.array([[name in group for name in place] for group in REASONS.values()])  # (reasons, features)

    def serve(self, **features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Outputs of the signature, batch first."""
        return {"probability": tf.sigmoid(self._log_odds(self._numbers(features)))}

    def explain(self, **features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Outputs of `explain`, batch first."""
        numbers = self._numbers(features)  # (batch, features)
        batch, reasons, width = tf.shape(numbers)[0], len(REASONS), len(ORDER_FEATURES)
        without = tf.where(self._hides[None], self.usual[None, None], numbers[:, None])  # (batch, reasons, features)
        log_odds = self._log_odds(numbers)
        effects = log_odds[:, None] - tf.reshape(self._log_odds(tf.reshape(without, [-1, width])), [batch, reasons])
        largest = tf.math.top_k(effects, SHOWN_REASONS)
        codes = tf.gather(tf.constant(list(REASONS)), largest.indices)
        return {
            "probability": tf.sigmoid(log_odds),
            "reason_codes": tf.where(largest.values > 0, codes, ""),
            "reason_effects": tf.maximum(largest.values, 0.0),
        }

    @staticmethod
    def _numbers(features: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.stack([features[name] for name in ORDER_FEATURES], axis=1)

    def _log_odds(self, numbers: tf.Tensor) -> tf.Tensor:
        inputs = {"numbers": encoded(numbers), "categories": tf.zeros([tf.shape(numbers)[0], 0], tf.int32)}
        chances = [tf.reduce_mean(tf.nn.softmax(network(inputs, training=False), axis=-1), axis=1)[:, 1] for network in self.networks]
        mean = tf.clip_by_value(tf.add_n(chances) / len(chances), _SMALLEST, 1 - _SMALLEST)
        return self.fraud.slope * (tf.math.log(mean) - tf.math.log1p(-mean)) + self.fraud.shift
