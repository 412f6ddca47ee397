"""What a review team would get, counted again day by day, and what verdicts cost, by hand."""

from pathlib import Path

import numpy as np
import pytest

from training.fraud_config import REASONS
from training.fraud_costs import COSTS_FILE, VERDICTS, BadCosts, FraudCosts, fraud_costs
from training.fraud_metrics import at_capacity, average_precision, cost_of, detection_delay, money, reviewed
from training.signatures import ORDER_FEATURES

COSTS = FraudCosts(2, 4.0, 1.0, 20.0, 0.3, 15.0, 0.9, 0.05)


@pytest.fixture
def days() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    return generator.integers(0, 6, 80), np.round(generator.random(80), 1), generator.random(80) < 0.15


def test_each_days_reviews_are_its_first_by_score(days) -> None:
    day, score, _ = days
    looked = reviewed(day, score, 3)
    for one in range(6):
        own = np.flatnonzero(day == one)
        best = sorted(own, key=lambda row: (-score[row], row))[:3]
        assert sorted(np.flatnonzero(looked & (day == one))) == sorted(best)
    assert not reviewed(day, score, 0).any()


def test_precision_and_recall_at_capacity_are_means_over_days(days) -> None:
    day, score, is_fraud = days
    found = at_capacity(day, score, is_fraud, 3, seed=1)
    precision, best, hits = [], [], 0
    for one in range(6):
        own = sorted(np.flatnonzero(day == one), key=lambda row: (-score[row], row))
        hits += is_fraud[own[:3]].sum()
        precision.append(is_fraud[own[:3]].mean())
        best.append(min(3, is_fraud[own].sum()) / len(own[:3]))
    assert found["precision at capacity"]["mean"] == pytest.approx(np.mean(precision))
    assert found["recall at capacity"]["mean"] == pytest.approx(hits / is_fraud.sum())
    assert found["best precision"]["mean"] == pytest.approx(np.mean(best))
    assert found["precision at capacity"]["low"] <= np.mean(precision) <= found["precision at capacity"]["high"]


def test_average_precision_is_the_mean_precision_at_each_fraud() -> None:
    is_fraud, score = np.array([1, 0, 1, 0, 0], bool), np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    assert average_precision(is_fraud, score) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert np.isnan(average_precision(np.zeros(3, bool), np.arange(3.0)))


def test_a_rings_delay_runs_from_its_first_fraud_to_its_first_flag() -> None:
    """Ring 1: frauds at 0, 2 and 5 hours, the one at 2 flagged; ring 2: one fraud, not flagged; group 3 has a flag and no fraud."""
    group, hours = np.array([1, 1, 1, 2, 3]), np.array([0, 2, 5, 1, 1])
    is_fraud, flagged = np.array([1, 1, 1, 1, 0], bool), np.array([0, 1, 1, 0, 1], bool)
    found = detection_delay(group, hours * 3_600_000_000, is_fraud, flagged)
    assert found == {"groups": 2, "groups found": 0.5, "median hours to the first flag": 2, "frauds before it": 1}
    assert np.isnan(detection_delay(group, hours, np.zeros(5, bool), flagged)["groups found"])


def test_costs_of_verdicts_by_hand() -> None:
    """An order of 100 with a chance of 20 %: a missed fraud costs 120, an insulted customer 45."""
    costs = COSTS.of(0.2, 100.0)
    assert costs == {"approve": pytest.approx(24.0), "refuse": pytest.approx(36.0), "review": pytest.approx(4 + 2.4 + 0.05 * 36)}
    assert COSTS.verdict(0.2, 100.0) == "review"
    assert COSTS.saved_by_review(0.2, 100.0) == pytest.approx(24 - 8.2)
    assert (COSTS.verdict(0.0, 100.0), COSTS.verdict(0.99, 100.0)) == ("approve", "refuse")


def test_no_other_threshold_costs_less_where_probabilities_are_true() -> None:
    generator = np.random.default_rng(8)
    probability, amount = generator.beta(0.3, 3, 20_000), generator.gamma(2, 40, 20_000)
    is_fraud = generator.random(20_000) < probability
    own = money(probability, is_fraud, amount, COSTS)
    assert own["cost a hundred orders"] < own["cost with no check"]
    assert sum(own[f"share {name}"] for name in VERDICTS) == pytest.approx(1)
    for low, high in ((0.01, 0.5), (0.05, 0.5), (0.1, 0.9), (0.3, 0.6)):
        fixed = ["approve" if chance < low else "refuse" if chance > high else "review" for chance in probability]
        assert own["cost a hundred orders"] <= cost_of(fixed, is_fraud, amount, COSTS) * 1.01


def test_costs_are_read_from_a_file_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    assert fraud_costs(COSTS_FILE).reviews_a_day == 10
    file, text = tmp_path / "costs.toml", COSTS_FILE.read_text()
    for wrong, rule in (
        (text.replace("review_catches = 0.9", "review_catches = 1.5"), r"`review_catches` must be a share from 0 to 1. .* has 1.5"),
        (text.replace("reviews_a_day = 10", "reviews_a_day = 2.5"), r"`reviews_a_day` must be a whole number of zero or more. .* has 2.5"),
        (text.replace("review_cost = 4.0", "review_cost = -1"), r"`review_cost` must be zero or more. .* has -1"),
        (text + "\nbribe = 3", r"must be \['reviews_a_day', .*'bribe'"),
        ("reviews_a_day =", "are a TOML file"),
    ):
        file.write_text(wrong)
        with pytest.raises(BadCosts, match=rule):
            fraud_costs(file)


@pytest.mark.slow
def test_the_hand_made_rules_count_what_an_order_hits() -> None:
    from training.fraud_rules import RULES, encoded, velocity_rules

    quiet = np.zeros((1, len(ORDER_FEATURES)), np.float32)
    place = {name: number for number, name in enumerate(ORDER_FEATURES)}
    quiet[0, [place["account_age_days"], place["device_orders_total"], place["address_orders_total"]]] = 400, 3, 3
    loud = quiet.copy()
    loud[0, [place[name] for name in ("payment_accounts", "device_orders_24h", "address_chargebacks_total")]] = 2, 5, 1
    assert velocity_rules(np.concatenate([quiet, loud])).tolist() == [0, 3]
    moved = quiet.copy()
    moved[0, [place["user_orders_total"], place["device_orders_total"], place["address_orders_total"]]] = 9, 0, 0
    assert velocity_rules(moved).tolist() == [1]  # an old customer by a new device to a new address
    unknown = np.full_like(quiet, np.nan)
    assert velocity_rules(unknown).tolist() == [0]
    read = np.asarray(encoded(loud))[0]
    assert read[: len(ORDER_FEATURES)].tolist() == pytest.approx(np.log1p(loud[0]).tolist(), rel=1e-5)
    assert read[len(ORDER_FEATURES) :].sum() == 2 * 3 and len(read) == len(ORDER_FEATURES) + RULES + 1


def test_every_feature_stands_behind_one_reason() -> None:
    assert sorted(name for group in REASONS.values() for name in group) == sorted(ORDER_FEATURES)
