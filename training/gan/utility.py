"""Train on synthetic, test on real: what a table is worth to whoever learns from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from training.gan.features import TableFeatures, boosted
from training.metrics import Interval, auc, interval

#: Gradient boosting as it is tuned, once and on real rows; every table is then read by the same one.
CHOICES: tuple[dict[str, Any], ...] = (
    {"learning_rate": 0.1, "max_leaf_nodes": 15, "max_iter": 200},
    {"learning_rate": 0.05, "max_leaf_nodes": 31, "max_iter": 200},
    {"learning_rate": 0.05, "max_leaf_nodes": 15, "max_iter": 400},
    {"learning_rate": 0.05, "max_leaf_nodes": 15, "max_iter": 400, "l2_regularization": 10.0, "min_samples_leaf": 50},
    {"learning_rate": 0.03, "max_leaf_nodes": 15, "max_iter": 700, "l2_regularization": 3.0},
    {"learning_rate": 0.1, "max_leaf_nodes": 7, "max_iter": 400},
)


def tune(learn: pd.DataFrame, held: pd.DataFrame, target: str, seed: int) -> dict[str, Any]:
    """The choice with the best log-loss on `held`, fitted on `learn`; both are real."""
    from sklearn.metrics import log_loss

    features = TableFeatures.of(learn, target)
    losses = []
    for choice in CHOICES:
        model = boosted(features, seed, **choice).fit(features.matrix(learn), learn[target])
        losses.append(log_loss(held[target], model.predict_proba(features.matrix(held)), labels=model.classes_))
    return CHOICES[int(np.argmin(losses))]


def predicted(table: pd.DataFrame, asked: pd.DataFrame, target: str, choice: dict[str, Any], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities `(asked rows, classes)` after learning from `table`, and the classes."""
    features = TableFeatures.of(table, target)
    if table[target].nunique() < 2:
        return np.ones((len(asked), 1)), table[target].unique()
    model = boosted(features, seed, **choice).fit(features.matrix(table), table[target])
    return model.predict_proba(features.matrix(asked)), model.classes_


def scores(truth: np.ndarray, chances: np.ndarray, classes: np.ndarray, chosen: np.ndarray | None = None) -> dict[str, float]:
    """`auc` (mean of one class against the rest where there are more than two), `macro_f1` of the likeliest class, `accuracy`."""
    rows = slice(None) if chosen is None else chosen
    truth, chances = truth[rows], chances[rows]
    said, present = classes[chances.argmax(1)], np.unique(truth)
    areas = [auc(truth == label, chances[:, place]) for place, label in enumerate(classes) if label in present]
    return {
        "auc": float(np.mean(areas)) if len(classes) > 1 else 0.5,
        "macro_f1": float(np.mean([_f1(truth == label, said == label) for label in present])),
        "accuracy": float((said == truth).mean()),
    }


def utility(
    table: pd.DataFrame, asked: pd.DataFrame, target: str, choice: dict[str, Any], seed: int, samples: int = 200
) -> dict[str, Interval]:
    """The `scores` on the real rows `asked` after learning from `table`, with bootstrap intervals over those rows."""
    chances, classes = predicted(table, asked, target, choice, seed)
    truth, random = asked[target].to_numpy(), np.random.default_rng(seed)
    value = scores(truth, chances, classes)
    drawn = [scores(truth, chances, classes, random.integers(0, len(truth), len(truth))) for _ in range(samples)]
    return {name: interval(value[name], np.array([one[name] for one in drawn])) for name in value}


def _f1(is_true: np.ndarray, is_said: np.ndarray) -> float:
    both = float((is_true & is_said).sum())
    return 2 * both / max(float(is_true.sum() + is_said.sum()), 1.0)
