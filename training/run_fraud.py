"""The fraud model's run: most accounts teach it, with those they are linked to, and the orders of the others are asked."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from settings import get_settings
from sources.registry import is_simulated
from training import metrics
from training.export import export_model
from training.fraud import Fraud, ServedFraud, fit_fraud, sampled
from training.fraud_baselines import RULES, fraud_baselines
from training.fraud_config import FraudConfig
from training.fraud_costs import FraudCosts, fraud_costs
from training.fraud_metrics import at_capacity, average_precision, detection_delay, money, reviewed
from training.fraud_rows import FraudRows, house_rows
from training.run_folder import Evidence, TrainingWindow, skip
from training.run_portrait import part_of
from training.served import SavedPredictor, blocks, champion
from training.signatures import FRAUD, ORDER_FEATURES

ASKED_SHARE = 0.3


def train_fraud(config: FraudConfig, window: TrainingWindow, seed: int, draft: Path, provenance: dict[str, object]) -> Evidence:
    """Writes `draft/saved_model` and returns how it did. Raises TrainingSkipped with fewer than `config.least_frauds` to learn from."""
    rows = house_rows(window.end_at)
    if not len(rows.orders):
        raise skip("fraud", window, "`orders` has no rows")
    if not len(rows.delays.days):
        raise skip("fraud", window, "`chargebacks` has no report that was known by then: nobody can say which orders are fraud")
    is_asked = asked_accounts(rows, seed)
    learn = rows[np.flatnonzero(~is_asked)]
    if learn.is_fraud.sum() < config.least_frauds or not (learn.maturity > 0).any():
        found = f"{int(learn.is_fraud.sum())} in {len(learn.orders)} orders that teach"
        raise skip("fraud", window, f"`chargebacks` must report {config.least_frauds} orders to learn from. Found {found}")
    asked = rows[np.flatnonzero(is_asked & (rows.maturity >= config.least_maturity))]

    fraud = fit_fraud(learn.numbers, learn.is_fraud, learn.weight, learn.group, config, seed)
    module = ServedFraud(fraud)
    saved_model = draft / "saved_model"
    golden = _inputs(learn.numbers[np.sort(np.argsort(-learn.is_fraud.astype(int), kind="stable")[:3])])
    facts = {**provenance, "is_simulated": is_simulated(get_settings().landing_dir), "delay_days": _delay_days(rows)}
    export_model(module, module.serve, FRAUD, saved_model, explain=module.explain, golden=golden, provenance=facts)
    return _evidence(fraud, saved_model, learn, asked, config, fraud_costs(), len(asked.orders) / len(rows.orders), seed)


def asked_accounts(rows: FraudRows, seed: int) -> np.ndarray:
    """Whether an order is asked, `(rows,)`: alike for all orders of linked accounts, and in every run as long as no new link comes."""
    account = rows.orders["user_id"].where(rows.orders["user_id"].notna(), rows.orders["order_id"])
    return part_of(account.groupby(rows.group).transform("min"), seed) < ASKED_SHARE


def _delay_days(rows: FraudRows) -> dict[str, float]:
    return {f"{share:.0%}": round(rows.delays.wait(share), 1) for share in (0.1, 0.5, 0.9, 1.0)}


def _evidence(
    fraud: Fraud, saved_model: Path, learn: FraudRows, asked: FraudRows, config: FraudConfig, costs: FraudCosts, share: float, seed: int
) -> Evidence:
    """Average precision of the model, of the baselines and of the served model; all on the same orders."""
    taught = sampled(learn.is_fraud, learn.weight, config, seed)
    scores = {"fraud": _predicted(SavedPredictor(saved_model), asked.numbers)}
    scores |= fraud_baselines(learn.numbers[taught], learn.is_fraud[taught], asked.numbers, seed)
    if published := champion("fraud"):
        scores[f"served version {published[0]}"] = _predicted(SavedPredictor(published[1]), asked.numbers)
    truth, own = asked.is_fraud, scores["fraud"]
    capacity = max(1, round(costs.reviews_a_day * share))

    def precision(name: str, chosen: np.ndarray) -> float:
        return average_precision(truth[chosen], scores[name][chosen])

    everybody = np.arange(len(truth))
    intervals = {
        name: {
            "average precision": metrics.bootstrap(partial(precision, name), len(truth), seed, samples=200),
            **at_capacity(asked.day, score, truth, capacity, seed),
        }
        for name, score in scores.items()
        if len(truth)
    }
    figures = {name: {key: value["mean"] for key, value in found.items()} for name, found in intervals.items()}
    figures.setdefault("fraud", {"average precision": float("nan")})
    if len(truth):
        figures["fraud"] |= {"ece": metrics.ece(truth, own), **money(own, truth, asked.amount, costs)}
    looked = reviewed(asked.day, own, capacity)
    return Evidence(
        len(truth),
        partial(precision, "fraud"),
        partial(precision, RULES),
        partial(precision, f"served version {published[0]}") if published else None,
        figures,
        note=_note(learn, asked, capacity),
        calibration={"probability of fraud": (truth, own)} if len(truth) else {},
        tables={
            "How soon it is seen, by the day's reviews": [
                {"of": of, **detection_delay(group, asked.at_us, truth, looked)}
                for of, group in (("linked accounts", asked.group), ("accounts", _accounts(asked)))
            ],
            "Delay of reports, in days": [{"share reported": key, "days": value} for key, value in _delay_days(learn).items()],
            "Probabilities from low to high": _by_part(truth, own, everybody),
        },
        intervals=intervals,
        champion_path=published[1] if published else None,
        samples=200,
    )


def _note(learn: FraudRows, asked: FraudRows, capacity: int) -> str:
    simulated = "These orders and frauds are simulated. " if is_simulated(get_settings().landing_dir) else ""
    wait = learn.delays.wait(0.9)
    return (
        f"{simulated}{int(learn.is_fraud.sum())} reported frauds taught, {int(asked.is_fraud.sum())} of {len(asked.orders)} orders "
        f"asked about are frauds. Asked are orders of accounts linked to none that taught, old enough that nine reports of ten have come "
        f"({wait:.0f} days); of younger orders that teach, one without a report counts by the share of reports that would have come. "
        f"{capacity} reviews a day are the team's capacity for this share of the orders."
    )


def _accounts(rows: FraudRows) -> np.ndarray:
    return rows.orders["user_id"].where(rows.orders["user_id"].notna(), rows.orders["order_id"]).to_numpy(object).astype(str)


def _by_part(is_fraud: np.ndarray, probability: np.ndarray, rows: np.ndarray) -> list[dict[str, object]]:
    """Orders by probability, cut where the chance of fraud passes a whole power of ten."""
    edges = np.array([0.0, 0.001, 0.01, 0.1, 0.5, 1.0000001])
    part = np.digitize(probability, edges[1:])
    return [
        {
            "probability": f"{edges[number]:g} to {min(edges[number + 1], 1):g}",
            "orders": len(own),
            "mean probability": float(probability[own].mean()),
            "share of frauds": float(is_fraud[own].mean()),
        }
        for number in range(len(edges) - 1)
        if len(own := rows[part == number])
    ]


def _inputs(numbers: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(numbers[:, place], np.float32) for place, name in enumerate(ORDER_FEATURES)}


def _predicted(model: SavedPredictor, numbers: np.ndarray) -> np.ndarray:
    found = [model(_inputs(numbers[rows]))["probability"] for rows in blocks(len(numbers), 4096)]
    return np.concatenate(found) if found else np.zeros(0)
