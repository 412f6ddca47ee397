"""Thresholds that a shop would set by hand: the baseline that counts them, and what the network is told beside the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from training.signatures import ORDER_FEATURES

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
_PLACE = {name: number for number, name in enumerate(ORDER_FEATURES)}
RULES = len(_VELOCITY) + 2


def rule_hits(numbers: Any) -> Any:
    """Which rules each order hits, `(rows, RULES)` of 0 and 1, from `numbers` `(rows, ORDER_FEATURES)` where NaN is unknown.

    Beside the thresholds: the account is younger than a week; a customer who has ordered before does so by a new device to a new address.
    """
    is_known = ops.isfinite(numbers)
    known = ops.where(is_known, numbers, 0.0)
    adds = np.array([[name in names for names, _ in _VELOCITY] for name in ORDER_FEATURES], np.float32)  # (features, thresholds)
    hits = ops.matmul(known, adds) >= np.array([least for _, least in _VELOCITY], np.float32)

    def is_first(name: str) -> Any:
        return ops.logical_and(is_known[:, _PLACE[name]], known[:, _PLACE[name]] == 0)

    age = _PLACE["account_age_days"]
    is_young = ops.logical_and(is_known[:, age], known[:, age] <= _NEW_ACCOUNT_DAYS)
    has_moved = ops.logical_and(is_first("device_orders_total"), is_first("address_orders_total"))
    has_moved = ops.logical_and(has_moved, known[:, _PLACE["user_orders_total"]] > 0)
    return ops.cast(ops.concatenate([hits, is_young[:, None], has_moved[:, None]], axis=1), "float32")


def velocity_rules(numbers: np.ndarray) -> np.ndarray:
    """How many rules each order hits, `(rows,)`."""
    return ops.convert_to_numpy(ops.sum(rule_hits(numbers.astype(np.float32)), axis=1))


def encoded(numbers: Any) -> Any:
    """What the network reads, `(rows, ORDER_FEATURES + RULES + 1)`: `log(1 + x)`, since most counts are small and a few are large, the
    rules hit, and how many."""
    hits = rule_hits(numbers)
    logs = ops.where(ops.isfinite(numbers), ops.log1p(ops.maximum(numbers, 0.0)), numbers)
    return ops.concatenate([logs, hits, ops.sum(hits, axis=1, keepdims=True)], axis=1)
