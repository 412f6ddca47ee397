"""Hyper-parameters of the fraud model, and its reasons. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

#: What a reviewer is told, and the inputs that say it: an effect is that of the whole group, since its members say the same in other spans.
REASONS: dict[str, tuple[str, ...]] = {
    "new_account": ("account_age_days", "user_orders_total"),
    "unusual_amount": ("amount", "amount_over_mean"),
    **{
        f"{kind}_velocity": tuple(f"{kind}_{what}_{span}" for what in ("orders", "amount") for span in ("1h", "24h", "7d"))
        for kind in ("user", "payment", "device", "address")
    },
    **{f"shared_{kind}": (f"{kind}_accounts",) for kind in ("payment", "device", "address")},
    **{f"new_{kind}": (f"{kind}_orders_total",) for kind in ("payment", "device", "address")},
    **{f"{kind}_charged_back": (f"{kind}_chargebacks_total",) for kind in ("user", "payment", "device", "address")},
}
SHOWN_REASONS = 4


@dataclass(frozen=True)
class FraudConfig:
    """How the network learns. Small and quick, since frauds are few: docs/risk-fraud.md says what was tried, and on which shops."""

    members: int = 8
    bins: int = 4
    number_dim: int = 4
    hidden: int = 64
    learning_rate: float = 5e-3
    batch: int = 128
    epochs: int = 15
    patience: int = 5
    parts: int = 3
    is_compiled: bool = False  # the rows are few
    honest_a_fraud: int = 30  # honest orders that teach, for each fraud
    least_honest: int = 2_000
    least_frauds: int = 10  # with fewer, nothing is taught
    least_maturity: float = 0.9  # an order without a chargeback is asked as an honest one once so many reports would have come

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
