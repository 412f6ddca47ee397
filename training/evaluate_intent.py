"""How well a yes-or-no column of a table is predicted from its other columns: purchase intention of visits, for one."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.evaluation import CannotEvaluate, evaluation, over_splits

#: A whole-number column with no more distinct values than this is read as categories too: codes of browsers and regions have no order.
MOST_CODES = 24


def evaluate_intent(
    *, csv: Path | str, target: str, folds: int = 5, seed: int = 7, log: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """`auc`, `accuracy`, `balanced_accuracy`, `logloss`, `ece` of the column `target`; its second value in sorted order is true.

    Means over stratified `folds`, with corrected t intervals; boosted trees and a logistic regression are fitted on the same folds. Every
    fold's network is stopped on rows kept out of the fold's own training rows.
    """
    started = time.monotonic()
    import numpy as np

    from training import baselines, metrics, splits
    from training.tabular import TabularConfig, fit_tabular

    numbers, categories, truth = read_table(Path(csv), target)
    fold_of = splits.folds_of(truth, folds, seed)
    found: dict[str, list[dict[str, float]]] = {"portrait": [], "boosted_trees": [], "logistic_regression": []}
    config = TabularConfig()
    for fold in range(folds):
        learn, asked = fold_of != fold, fold_of == fold
        network = fit_tabular(numbers[learn], categories[learn], truth[learn], config, seed + fold, log)
        columns = np.column_stack([numbers, categories])
        one_hot = [np.eye(column.max() + 1)[column] for column in categories.T]
        spread = np.column_stack([np.nan_to_num(numbers), *one_hot])
        for name, chances in (
            ("portrait", network.predict_proba(numbers[asked], categories[asked])),
            ("boosted_trees", baselines.boosted_trees(columns[learn], truth[learn], columns[asked], seed)),
            ("logistic_regression", baselines.logistic_regression(spread[learn], truth[learn], spread[asked])),
        ):
            found[name].append(metrics.classification(truth[asked], chances))
        if log:
            log(f"fold {fold + 1} of {folds}: " + ", ".join(f"{name} AUC {rows[-1]['auc']:.4f}" for name, rows in found.items()))
    averaged = {name: over_splits(rows, 1 / folds) for name, rows in found.items()}
    return evaluation(
        started,
        metrics=averaged.pop("portrait"),
        baselines=averaged,
        seeds=[seed],
        counts={
            "rows": len(truth),
            "true": int(truth.sum()),
            "folds": folds,
            **{"numbers": numbers.shape[1], "columns": categories.shape[1]},
        },
        targets_sha256=splits.targets_sha256([f"{row:08d}" for row in range(len(truth))], truth.tolist()),
    )


def read_table(path: Path, target: str) -> tuple[Any, Any, Any]:
    """`numbers` `(rows, numbers)` float32 with NaN for unknown, `categories` `(rows, columns)` int32 with 0 for unknown, `truth` `(rows,)`.

    Raises CannotEvaluate where the column `target` is missing or has not exactly two values.
    """
    import numpy as np
    import pandas as pd

    table = pd.read_csv(path)
    if target not in table:
        raise CannotEvaluate(f"`target` must be a column of {path.name}. Received '{target}'. Its columns: {', '.join(table.columns)}.")
    values = sorted(table[target].dropna().unique())
    if len(values) != 2 or table[target].isna().any():
        unknown = int(table[target].isna().sum())
        raise CannotEvaluate(f"`{target}` must have two values and none unknown. Received {len(values)} values, {unknown} unknown.")
    numbers, codes = [], []
    for name in table.columns.drop(target):
        column = table[name]
        is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if is_number:
            numbers.append(column.to_numpy(np.float32))
        if not is_number or ((column.dropna() % 1 == 0).all() and column.nunique() <= MOST_CODES):
            codes.append(pd.factorize(column, sort=True)[0] + 1)
    rows = len(table)
    return (
        np.column_stack(numbers) if numbers else np.zeros((rows, 0), np.float32),
        np.column_stack(codes).astype(np.int32) if codes else np.zeros((rows, 0), np.int32),
        (table[target] == values[1]).to_numpy(np.int64),
    )
