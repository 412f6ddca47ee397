"""How well a declared trait would be inferred for users who did not declare it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.evaluation import (
    CannotEvaluate,
    encoder_config,
    evaluation,
    event_counts,
    histories_and_catalogue,
    landing_tables,
    over_splits,
    required,
)


def evaluate_traits(
    *,
    source: str,
    data: Path | str | None,
    trait: str,
    folds: int = 5,
    seed: int = 7,
    epochs: int | None = None,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """`auc`, `accuracy`, `balanced_accuracy`, `logloss`, `ece` of one declared trait: means over `folds` of users, with corrected
    t intervals.

    The encoder learns from everybody's behaviour, never from a declaration; the heads and the baselines learn from the declarations of
    the other folds alone. The shop's own case is the same: it knows what all users did, and what some of them declared.
    """
    started = time.monotonic()
    import numpy as np

    from training import baselines, metrics, splits
    from training.encoder import train_encoder_network
    from training.portrait_config import PortraitConfig
    from training.traits import fit_traits

    tables = landing_tables(source, data, seed, ("events", "items", "item_attributes", "user_traits"))
    histories, catalogue = histories_and_catalogue({**tables, "events": required(tables, "events", source)})
    declared = required(tables, "user_traits", source).select(["user_id", "trait", "value"]).to_pandas().dropna()
    labels = declared[declared["trait"] == trait].drop_duplicates("user_id", keep="last")
    if labels.empty:
        raise CannotEvaluate(f"`trait` must be one of {sorted(set(declared['trait']))} for this source. Received '{trait}'.")
    labels = labels[labels["user_id"].isin(histories.user_ids)].sort_values("user_id", ignore_index=True)
    values, truth = np.unique(labels["value"].to_numpy(str), return_inverse=True)
    if len(values) < 2 or len(labels) < 2 * folds:
        raise CannotEvaluate(f"Trait {trait} needs two values and {2 * folds} users with events. Received {len(values)} and {len(labels)}.")
    users = histories[np.searchsorted(histories.user_ids, labels["user_id"].to_numpy(object))]
    fold_of = splits.folds_of(truth, folds, seed)
    encoder = train_encoder_network(histories, catalogue, encoder_config(epochs=epochs), seed, log)
    counts = event_counts(users, catalogue)

    found: dict[str, list[dict[str, float]]] = {"portrait": [], "base_rate": [], "logistic_regression": []}
    for fold in range(folds):
        learn, asked = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        traits = fit_traits(encoder, users[learn], labels.iloc[learn], PortraitConfig(), seed + fold)
        if trait not in traits.heads:
            raise CannotEvaluate(f"Trait {trait} cannot be learnt: {traits.skipped[trait]}.")
        known, probabilities = traits.predict_proba(users[asked])[trait]
        own = np.zeros((len(asked), len(values)))
        own[:, np.searchsorted(values, known)] = probabilities
        base = np.tile(baselines.base_rate(truth[learn], len(values)), (len(asked), 1))
        regression = baselines.trait_regression(counts[learn], truth[learn], counts[asked], len(values))
        for name, predicted in zip(found, (own, base, regression), strict=True):
            found[name].append(metrics.classification(truth[asked], predicted))
        if log:
            log(f"fold {fold + 1} of {folds}: " + ", ".join(f"{key} {value:.4f}" for key, value in found["portrait"][-1].items()))
    averaged = {name: over_splits(rows, 1 / folds) for name, rows in found.items()}
    return evaluation(
        started,
        metrics=averaged.pop("portrait"),
        baselines=averaged,
        seeds=[seed],
        counts={
            "users": len(histories),
            "labelled_users": len(labels),
            "values": len(values),
            "folds": folds,
            "items": len(catalogue),
            "events": int(histories.lengths.sum()),
        },
        targets_sha256=splits.targets_sha256(labels["user_id"], labels["value"]),
    )
