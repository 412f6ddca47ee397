"""What the fraud model must beat: thresholds that a shop would set by hand, logistic regression, and gradient boosting."""

from __future__ import annotations

import numpy as np

from training.baselines import boosted_trees, logistic_regression
from training.signatures import ORDER_FEATURES

RULES = "velocity rules"

#: `(features that are added up, at least)`: a rule is hit where the sum reaches the threshold. Set by common sense, on no data.
_VELOCITY = (
    (("user_orders_24h",), 2),
    (("payment_orders_24h",), 2),
    (("device_orders_24h",), 2),
    (("address_orders_7d",), 4),
    (("payment_accounts",), 2),
    (("device_accounts",), 3),
    (("address_accounts",), 4),
    (("amount_over_mean",), 3),
    (("user_chargebacks_total", "payment_chargebacks_total", "device_chargebacks_total", "address_chargebacks_total"), 1),
)
_NEW_ACCOUNT_DAYS = 7


def velocity_rules(numbers: np.ndarray) -> np.ndarray:
    """How many rules each order hits, `(rows,)`, from `numbers` `(rows, ORDER_FEATURES)`."""
    place = {name: number for number, name in enumerate(ORDER_FEATURES)}
    known = np.nan_to_num(numbers)
    hits = sum((known[:, [place[name] for name in names]].sum(axis=1) >= least).astype(float) for names, least in _VELOCITY)
    is_new = numbers[:, place["account_age_days"]] <= _NEW_ACCOUNT_DAYS
    moved = (known[:, place["user_orders_total"]] > 0) & (numbers[:, place["device_orders_total"]] == 0)
    return hits + is_new + (moved & (numbers[:, place["address_orders_total"]] == 0))


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
