"""What the fraud model must beat: thresholds that a shop would set by hand, logistic regression, and gradient boosting."""

from __future__ import annotations

import numpy as np

from training.baselines import boosted_trees, logistic_regression
from training.fraud_rules import velocity_rules

RULES = "velocity rules"


def fraud_baselines(numbers: np.ndarray, is_fraud: np.ndarray, asked: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Scores `(asked rows,)` by baseline, the learned ones fitted on exactly the rows that the model learns from."""
    truth = is_fraud.astype(int)

    def logs(values: np.ndarray) -> np.ndarray:  # an unknown number as a usual one, beside whether it is known
        known = np.isfinite(values)
        return np.concatenate([np.log1p(np.where(known, values, np.nanmedian(numbers, axis=0))), known], axis=1)

    return {
        RULES: velocity_rules(asked),
        "logistic regression": logistic_regression(logs(numbers), truth, logs(asked))[:, 1],
        "gradient boosting": boosted_trees(numbers, truth, asked, seed)[:, 1],
    }
