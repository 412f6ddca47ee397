"""Each rule of the gate by one example."""

import numpy as np
import pytest

from training.gate import BadRules, Measured, Verdict, gate_of, judge
from training.metrics import uplift

USERS = 200
FAIR = np.tile([0.0, 0.5], USERS // 2)  # mean .25


def _mean(values: np.ndarray):
    return lambda rows: values[rows].mean()


def _judge(challenger: np.ndarray, baseline: np.ndarray, champion: np.ndarray | None = None, **more: object) -> Verdict:
    served = None if champion is None else _mean(champion)
    return judge("recommender", len(challenger), _mean(challenger), _mean(baseline), served, seed=1, samples=200, **more)


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


def test_a_model_that_loses_on_a_slice_is_refused_though_better_on_the_whole():
    is_new = np.arange(USERS) < 100
    challenger, slices = np.where(is_new, FAIR - 0.1, FAIR + 0.3), {"new users": is_new, "others": ~is_new}
    verdict = _judge(challenger, FAIR - 0.3, FAIR, measured=Measured(slices=slices))
    assert (verdict.promoted, verdict.rule) == (False, "slice_worse")
    assert "NDCG@10 of new users (100 rows) falls from 0.2500 (difference -0.1000" in verdict.reason
    assert verdict.figures["slices"]["others"] == {
        "rows": 100,
        "champion": 0.25,
        **dict.fromkeys(("mean", "low", "high"), pytest.approx(0.3)),
    }
    few = {"new users": is_new & (np.arange(USERS) < 99)}
    assert _judge(challenger, FAIR - 0.3, FAIR, measured=Measured(slices=few)).promoted


@pytest.mark.parametrize(
    ("measured", "rule", "words"),
    [
        (Measured(coverage=0.1, champion_coverage=0.3), "narrow", "Lists cover 10.0% of the items, less than 15.0%"),
        (
            Measured(latency_ms={1: 5, 32: 70}, champion_latency_ms={1: 1, 32: 20}),
            "slow",
            "A batch of 32 takes 70.0 ms, the served model 20.0",
        ),
        (Measured(latency_ms={1: 19}, champion_latency_ms={1: 1}), "better", "promoted"),
    ],
)
def test_a_better_model_with_narrow_lists_or_slow_answers_is_refused(measured, rule, words):
    verdict = _judge(FAIR, FAIR - 0.2, FAIR - 0.05, measured=measured)
    assert verdict.rule == rule
    assert words in verdict.reason


def test_probabilities_that_mean_nothing_are_refused():
    verdict = judge("portrait", USERS, _mean(FAIR), _mean(FAIR - 1), seed=1, samples=50, measured=Measured(ece=0.2))
    assert (verdict.promoted, verdict.rule) == (False, "miscalibrated")


def test_a_person_edits_the_rules(tmp_path):
    rules = tmp_path / "rules.toml"
    text = "[recommender]\nmetric = 'NDCG@10'\nbaseline = 'popularity'\nrules = [{ name = 'below_baseline', margin = 0.2 }]\n"
    rules.write_text(text)
    gate = gate_of("recommender", rules)
    refused = _judge(FAIR, FAIR - 0.1, gate=gate)
    assert "is not above popularity 0.1500 by more than 0.2" in refused.reason
    assert _judge(FAIR, FAIR - 0.3, gate=gate).rule == "nobody_promoted"
    rules.write_text(text.replace("margin", "margins"))
    with pytest.raises(BadRules, match=r"A rule must be one of .*'below_baseline': \['margin'\].*has \{.*'margins': 0\.2\}"):
        gate_of("recommender", rules)
    rules.write_text("[recommender")
    with pytest.raises(BadRules, match=r"The gate's rules are a TOML file"):
        gate_of("recommender", rules)
    rules.write_text("[portrait]\nmetric = 'x'\n")
    with pytest.raises(BadRules, match=r"`\[recommender\]` must have \['baseline', 'metric', 'rules'\]"):
        gate_of("recommender", rules)


@pytest.mark.parametrize(
    ("unfair", "rule", "told"),
    [
        ({"approved_gap": ("sex male", 0.12)}, "unfair", "sex male: approvals among those who pay back are surely off by more than 0.120"),
        (
            {"calibration_gap": ("sex male", 0.06)},
            "unfair",
            "sex male: probabilities are surely off by more than 0.060, where 0.05 is allowed",
        ),
        ({"approved_gap": ("sex male", 0.1), "calibration_gap": ("age from 60", 0.05)}, "first_model", "auc 0.2500 is above amount alone"),
    ],
)
def test_a_model_that_surely_treats_a_group_worse_is_refused(unfair, rule, told):
    verdict = judge("risk", USERS, _mean(FAIR), _mean(FAIR - 0.1), seed=1, samples=50, measured=Measured(unfair=unfair))
    assert verdict.rule == rule and told in verdict.reason
