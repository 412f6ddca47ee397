"""How well fraud would be found: taught as of one moment with what was reported by then, asked about the orders that followed."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.evaluation import CannotEvaluate, evaluation, landing_tables, required

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from training.fraud_costs import FraudCosts
    from training.fraud_rows import FraudRows

ASKED_DAYS = 30
SHOP_DAYS = 180  # of the simulated shop: reports take up to 45 days, and what is asked must be as old, and yet be younger than what teaches
TABLES = ("orders", "chargebacks", "users")


def evaluate_fraud(
    *,
    source: str,
    data: Path | str | None,
    seed: int = 7,
    epochs: int | None = None,
    truth: "pd.DataFrame | None" = None,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """`average precision`, precision and recall at the team's daily capacity, costs and detection delay on the orders of the last
    ASKED_DAYS whose labels are ripe; model and baselines know nothing that was reported after the first of these orders was placed.

    `truth` (`order_id`, `kind`), for tests and benchmarks alone, takes the place of the reports as what the orders turned out to be, and
    recall at capacity is told by kind of fraud.
    """
    started = time.monotonic()
    import numpy as np
    import pandas as pd

    from feature_repo.order_replay import replayed
    from training import metrics
    from training.fraud import fit_fraud, sampled
    from training.fraud_baselines import fraud_baselines
    from training.fraud_config import FraudConfig
    from training.fraud_costs import fraud_costs
    from training.fraud_rows import rows_known
    from training.splits import targets_sha256

    tables = landing_tables(source, data, seed, TABLES, {"days": SHOP_DAYS})
    orders, chargebacks = (required(tables, name, source).to_pandas() for name in TABLES[:2])
    users = tables["users"].to_pandas() if "users" in tables else None
    first_orders, first_reports = (rows.sort_values("ds").drop_duplicates("order_id") for rows in (orders, chargebacks))
    known = replayed(first_orders, first_reports, users)
    end = pd.Timestamp(max(orders["ds"].max(), chargebacks["ds"].max())) + timedelta(days=1)
    config = FraudConfig() if epochs is None else FraudConfig(epochs=epochs)
    whole = rows_known(known, end)
    if not len(whole.delays.days):
        raise CannotEvaluate(f"This evaluation needs orders that were charged back. Source {source} gave {len(chargebacks)} chargebacks.")
    last = (end - timedelta(days=whole.delays.wait(config.least_maturity))).floor("D")
    first = last - timedelta(days=ASKED_DAYS)
    learn = rows_known(known, first)
    if learn.is_fraud.sum() < config.least_frauds:
        raise CannotEvaluate(
            f"This evaluation needs {config.least_frauds} frauds that were reported before the orders it asks about. Received "
            f"{int(learn.is_fraud.sum())} before {first:%Y-%m-%d}. Give a larger shop, or a longer history."
        )
    placed = whole.orders["placed_at"]
    asked = whole[np.flatnonzero((placed >= first) & (placed < last))]
    kinds = None if truth is None else asked.orders["order_id"].map(truth.set_index("order_id")["kind"])
    is_fraud = asked.is_fraud if kinds is None else kinds.notna().to_numpy()
    if log:
        log(f"{int(learn.is_fraud.sum())} frauds of {len(learn.orders)} orders teach, {int(is_fraud.sum())} of {len(asked.orders)} asked")

    model = fit_fraud(learn.numbers, learn.is_fraud, learn.weight, learn.group, config, seed)
    taught = sampled(learn.is_fraud, learn.weight, config, seed)
    scores = {"fraud": model.predict(asked.numbers)}
    scores |= fraud_baselines(learn.numbers[taught], learn.is_fraud[taught], asked.numbers, seed)
    costs = fraud_costs()
    found = {name: _figures(asked, score, is_fraud, kinds, costs, seed) for name, score in scores.items()}
    own = scores["fraud"]
    found["fraud"] |= {
        "ece": metrics.bootstrap(lambda rows: metrics.ece(is_fraud[rows], own[rows]), len(own), seed, samples=100),
        **_money(asked, own, is_fraud, costs, seed),
    }
    return evaluation(
        started,
        metrics=found.pop("fraud"),
        baselines=found,
        seeds=[seed],
        counts={
            "orders_taught": int((learn.weight > 0).sum()),
            "frauds_taught": int(learn.is_fraud.sum()),
            "orders_asked": len(asked.orders),
            "frauds_asked": int(is_fraud.sum()),
            "reviews_a_day": costs.reviews_a_day,
        },
        is_simulated=source == "shop",
        asked={"first": f"{first:%Y-%m-%d}", "last": f"{last:%Y-%m-%d}", "label": "reports" if truth is None else "the simulator"},
        delay_days={f"{share:.0%}": round(learn.delays.wait(share), 1) for share in (0.1, 0.5, 0.9, 1.0)},
        targets_sha256=targets_sha256(asked.orders["order_id"], is_fraud.astype(int)),
    )


def _figures(
    asked: "FraudRows", score: "np.ndarray", is_fraud: "np.ndarray", kinds: "pd.Series | None", costs: "FraudCosts", seed: int
) -> dict[str, Any]:
    """The figures of one ranking, intervals where rows or days can be resampled."""
    from training import metrics
    from training.fraud_metrics import at_capacity, average_precision, detection_delay, reviewed

    looked = reviewed(asked.day, score, costs.reviews_a_day)
    found: dict[str, Any] = {
        "average precision": metrics.bootstrap(lambda rows: average_precision(is_fraud[rows], score[rows]), len(score), seed, samples=200),
        **at_capacity(asked.day, score, is_fraud, costs.reviews_a_day, seed),
        "detection": detection_delay(asked.group, asked.at_us, is_fraud, looked),
    }
    if kinds is not None:
        found |= {f"recall at capacity, {kind}": float(looked[kinds == kind].mean()) for kind in sorted(kinds.dropna().unique())}
    return found


def _money(asked: "FraudRows", probability: "np.ndarray", is_fraud: "np.ndarray", costs: "FraudCosts", seed: int) -> dict[str, Any]:
    from training import metrics
    from training.fraud_metrics import cost_of, money

    verdicts = [costs.verdict(float(chance), float(total)) for chance, total in zip(probability, asked.amount, strict=True)]

    def saved(rows: "np.ndarray") -> float:
        chosen = (is_fraud[rows], asked.amount[rows], costs)
        return cost_of(["approve"] * len(rows), *chosen) - cost_of([verdicts[row] for row in rows], *chosen)

    return {
        **money(probability, is_fraud, asked.amount, costs),
        "saved by a hundred verdicts": metrics.bootstrap(saved, len(verdicts), seed, samples=20),
    }
