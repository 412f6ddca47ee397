"""Each rule of the gate by one example."""

import numpy as np
import pytest

from training.gate import Verdict, judge
from training.metrics import uplift

USERS = 200
FAIR = np.tile([0.0, 0.5], USERS // 2)  # mean .25


def _mean(values: np.ndarray):
    return lambda rows: values[rows].mean()


def _judge(challenger: np.ndarray, baseline: np.ndarray, champion: np.ndarray | None = None) -> Verdict:
    served = None if champion is None else _mean(champion)
    return judge("recommender", len(challenger), _mean(challenger), _mean(baseline), served, seed=1, samples=200)


def test_a_first_model_above_the_baseline_is_promoted_with_its_interval():
    verdict = _judge(FAIR, FAIR - 0.1)
    assert (verdict.promoted, verdict.rule) == (True, "first_model")
    assert verdict.reason == (
        "NDCG@10 0.2500 is above popularity 0.1500 on 200 rows (difference +0.1000, 95 % interval +0.1000 to +0.1000) "
        "and nothing is served yet: promoted (rule first_model)."
    )
    assert verdict.figures["challenger"]["mean"] == 0.25
    assert verdict.figures["difference_to_baseline"]["low"] == pytest.approx(0.1)


@pytest.mark.parametrize("champion", [None, FAIR - 0.2])
def test_a_model_not_above_the_baseline_is_refused_whatever_is_served(champion):
    verdict = _judge(FAIR, FAIR, champion)
    assert (verdict.promoted, verdict.rule) == (False, "below_baseline")
    assert "NDCG@10 0.2500 is not above popularity 0.2500 on 200 rows: not promoted" in verdict.reason


def test_a_challenger_surely_better_on_the_same_users_replaces_the_champion():
    verdict = _judge(FAIR, FAIR - 0.2, champion=FAIR - 0.05)
    assert (verdict.promoted, verdict.rule) == (True, "better")
    assert verdict.figures["difference_to_champion"]["low"] == pytest.approx(0.05)


def test_a_challenger_better_by_luck_does_not_replace_the_champion():
    noise = np.random.default_rng(0).normal(scale=0.5, size=USERS)
    challenger = FAIR + noise - noise.mean() + 0.001
    verdict = _judge(challenger, FAIR - 0.2, champion=FAIR)
    assert (verdict.promoted, verdict.rule) == (False, "not_better")
    assert "is not surely above the served model's 0.2500 on 200 rows" in verdict.reason


def test_the_champion_itself_again_is_not_better():
    assert _judge(FAIR, FAIR - 0.2, champion=FAIR).rule == "not_better"


def test_a_tiny_holdout_lets_a_first_model_through_and_keeps_a_champion():
    few = FAIR[:29]
    first = _judge(few - 0.2, few)
    assert (first.promoted, first.rule) == (True, "holdout_too_small")
    assert first.reason == "Only 29 holdout rows, fewer than 30: promoted as the first model, unproven (rule holdout_too_small)."
    later = _judge(few, few - 0.2, champion=few - 0.1)
    assert (later.promoted, later.rule) == (False, "holdout_too_small")
    assert "the served model stays" in later.reason
    assert _judge(FAIR[:0], FAIR[:0]).promoted


def test_a_metric_that_cannot_be_computed_promotes_nothing():
    verdict = _judge(np.full(USERS, np.nan), FAIR)
    assert (verdict.promoted, verdict.rule) == (False, "not_measurable")


def test_the_gate_judges_metrics_that_are_no_mean_over_rows():
    generator = np.random.default_rng(1)
    responds, is_treated = generator.random(400) < 0.5, generator.random(400) < 0.5
    outcome = responds & is_treated

    def qini(predicted: np.ndarray):
        return lambda rows: uplift(outcome[rows], predicted[rows], is_treated[rows])["qini"]

    verdict = judge("uplift", 400, qini(responds + generator.random(400)), qini(generator.random(400)), seed=2, samples=50)
    assert (verdict.promoted, verdict.rule) == (True, "first_model")
    assert verdict.reason.startswith("qini ")
