"""Off-policy evaluation of a plan's rule: recomputed naively, unbiased where a model alone is not, and a verdict that refuses what may
lose."""

import re
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from serving import campaign_evaluation
from serving.campaign_evaluate import evaluate_plan, read_evaluation
from serving.campaign_evaluation import NOTHING, Gain, Trials, cross_fitted, gain, verdict
from serving.campaign_files import ASSIGNMENTS, write_table
from serving.campaign_plan import plan
from settings import get_settings
from tests.serving.campaign_house import USERS, asked, exposure, house
from tests.serving.web_client import day, publish


def drawn(seed: int, users: int = 400, skew: float = 1.0) -> tuple[Trials, float]:
    """Assignments of two offers and nothing, likelier for some, and the rule's true gain for each user.

    Those who would spend anyway get offers more often (`skew`), so a model that only knows who got what is misled.
    """
    draw = np.random.default_rng(seed)
    x = draw.random(users)
    chances = np.stack([1.5 - skew * x, 0.5 + skew * x, np.ones(users)], axis=1)
    chances /= chances.sum(axis=1, keepdims=True)
    given = (draw.random((users, 1)) > chances.cumsum(axis=1)).sum(axis=1) - 1
    effect = np.stack([np.zeros(users), 2 * x - 1, np.full(users, 0.3)], axis=1)
    reward = 5 * x + effect[np.arange(users), given + 1] + draw.normal(0, 1, users)
    wanted = np.where(x > 0.6, 0, np.where(x > 0.3, 1, NOTHING))
    truth = effect[np.arange(users), wanted + 1].mean()
    trials = Trials(np.arange(users).astype(str), reward, chances[np.arange(users), given + 1], given, wanted, x[:, None])
    return trials, float(truth)


def test_the_estimates_are_those_of_a_naive_count() -> None:
    trials, _ = drawn(1, users=60)
    expected = np.random.default_rng(2).normal(size=(60, 3))
    found = gain(trials, expected, samples=20)
    ips = robust = weight = earned = weight_without = earned_without = squares = treated = 0.0
    for row in range(60):
        reward, chance, given, wanted = trials.reward[row], trials.propensity[row], trials.given[row], trials.wanted[row]
        if wanted == NOTHING:
            continue
        treated += 1
        robust += expected[row, wanted + 1] - expected[row, 0]
        if given == wanted:
            weight, earned, squares = weight + 1 / chance, earned + reward / chance, squares + 1 / chance**2
            robust += (reward - expected[row, wanted + 1]) / chance
        elif given == NOTHING:
            weight_without, earned_without = weight_without + 1 / chance, earned_without + reward / chance
            robust -= (reward - expected[row, 0]) / chance
    ips = earned - earned_without
    assert found.ips["mean"] == pytest.approx(ips / 60)
    assert found.snips["mean"] == pytest.approx(treated / 60 * (earned / weight - earned_without / weight_without))
    assert found.doubly_robust["mean"] == pytest.approx(robust / 60)
    assert found.effective_rows == pytest.approx(weight**2 / squares)
    assert found.treated == treated / 60


def test_doubly_robust_is_unbiased_where_the_outcome_model_is_not() -> None:
    """The model says what each arm earned on average: it takes who got an offer for what the offer did."""
    estimates: dict[str, list[float]] = {"model alone": [], "doubly robust": [], "ips": []}
    truths = []
    for seed in range(60):
        trials, truth = drawn(seed, users=600)
        means = np.array([trials.reward[trials.given == arm].mean() for arm in (NOTHING, 0, 1)])
        expected = np.tile(means, (600, 1))
        found = gain(trials, expected, samples=2)
        rows = np.arange(600)
        estimates["model alone"].append(float((expected[rows, trials.wanted + 1] - expected[:, 0]).mean()))
        estimates["doubly robust"].append(found.doubly_robust["mean"])
        estimates["ips"].append(found.ips["mean"])
        truths.append(truth)
    error = {name: np.subtract(values, truths) for name, values in estimates.items()}
    standard = {name: values.std() / np.sqrt(60) for name, values in error.items()}
    assert abs(error["model alone"].mean()) > 10 * standard["model alone"]
    assert abs(error["doubly robust"].mean()) < 3 * standard["doubly robust"]
    assert abs(error["ips"].mean()) < 3 * standard["ips"]
    assert error["doubly robust"].std() < error["ips"].std()


def test_the_cross_fitted_model_narrows_the_interval_which_holds_the_truth() -> None:
    trials, truth = drawn(7, users=2000)
    found, bare = gain(trials, samples=100), gain(trials, np.zeros((2000, 3)), samples=100)
    assert found.doubly_robust["low"] < truth < found.doubly_robust["high"]
    width = found.doubly_robust["high"] - found.doubly_robust["low"]
    assert width < 0.6 * (bare.ips["high"] - bare.ips["low"])


def test_nobodys_expected_reward_comes_from_a_model_that_saw_the_same_user() -> None:
    trials, _ = drawn(3, users=900)
    expected = cross_fitted(trials)
    marked = 17
    changed = Trials(**vars(trials) | {"reward": np.where(np.arange(900) == marked, 1e6, trials.reward)})
    assert cross_fitted(changed)[marked, trials.given[marked] + 1] == pytest.approx(expected[marked, trials.given[marked] + 1], abs=1e-9)


def judged(low: float, high: float, rows: float = 500.0, treated: float = 0.5) -> Gain:
    span = {"mean": (low + high) / 2, "low": low, "high": high}
    return Gain(1000, 1000, treated, rows, 3.0, span, span, span)


@pytest.mark.parametrize(
    ("found", "wanted", "reason"),
    [
        (judged(0.1, 0.3), "blessed", "the gain is 0.2 for each user, 95 % interval 0.1 to 0.3"),
        (judged(-0.1, 0.3), "unsure", "the plan may lose"),
        (judged(-0.3, -0.1), "loss", "the plan would lose"),
        (judged(0.1, 0.3, rows=99.0), "unsure", "only 99 effective rows of 100 needed"),
        (judged(0.0, 0.0, treated=0.0), "unknown", "gives none of the logged users an offer"),
    ],
)
def test_only_a_plan_that_surely_loses_nothing_is_blessed(found: Gain | None, wanted: str, reason: str) -> None:
    said, why = verdict(found, found, objective="profit", coverage=1.0)
    assert said == wanted
    assert reason in why


@pytest.mark.parametrize(
    ("profit", "wanted", "reason"),
    [
        (judged(0.0, 0.3), "blessed", "the gain is 0.2 for each user, 95 % interval 0.1 to 0.3; the profit is 0.15"),
        (judged(-0.1, 0.3), "unsure", "the plan adds visits, 0.2 for each user, .* but may lose money: the profit is 0.1 "),
        (judged(-0.3, -0.1), "loss", "the plan adds visits, .* but would lose money: the profit is -0.2 "),
        (judged(0.1, 0.3, rows=99.0), "unsure", "may lose money: too few logged rows tell what was spent"),
        (None, "unsure", "may lose money: too few logged rows tell what was spent"),
    ],
)
def test_a_plan_for_visits_is_blessed_only_if_it_surely_loses_no_money(profit: Gain | None, wanted: str, reason: str) -> None:
    said, why = verdict(judged(0.1, 0.3), profit, objective="visits", coverage=1.0)
    assert said == wanted
    assert re.search(reason, why)


def test_a_plan_is_not_blessed_by_what_it_would_do_to_a_part_of_those_whom_it_gives_an_offer() -> None:
    good = judged(0.1, 0.3)
    assert verdict(good, good, objective="profit", coverage=0.9)[0] == "blessed"
    said, why = verdict(good, good, objective="profit", coverage=0.05)
    assert said == "unsure"
    assert "only 5% of those whom the rule gives an offer were in a randomised campaign that tried it for them, 90% are needed" in why
    assert verdict(None, None, objective="profit", coverage=0.0) == (
        "unknown",
        "no randomised campaign tried what the plan's rule gives for those to whom it gives it",
    )


def test_logs_without_propensities_or_rows_are_refused() -> None:
    trials, _ = drawn(1, users=10)
    for propensity in (np.nan, 1.0):
        with pytest.raises(ValueError, match=r"Every assignment must have a propensity in \(0, 1\)"):
            gain(Trials(**vars(trials) | {"propensity": np.full(10, propensity)}))
    with pytest.raises(ValueError, match="Received none"):
        gain(Trials(*(column[:0] for column in vars(trials).values())))


def logged(effect: float) -> list[dict[str, object]]:
    """Everybody in twenty past campaigns, half with a coupon that adds so much spend."""
    draw = np.random.default_rng(4)
    rows = []
    for number in range(20):
        for user in USERS:
            treatment = "coupon" if draw.random() < 0.5 else "control"
            spend = 3 + effect * (treatment == "coupon") + draw.random()
            rows.append(exposure(user, treatment, "02-21", campaign_id=f"past{number}", spend=spend))
    return rows


def test_a_plan_is_judged_by_past_campaigns_at_its_own_costs_and_the_verdict_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = house(tmp_path, monkeypatch)
    monkeypatch.setattr(campaign_evaluation, "SAMPLES", 100)
    publish("campaign_outcomes", logged(effect=6.0))
    request = asked(offers=[{"name": "coupon", "contact_cost": 1.0}], fatigue_days=0, budget=1000.0)
    plan(request, shop=front)
    found = evaluate_plan("spring", shop=front)
    assert found.verdict == "blessed" and found.gain is not None
    gets = np.array([0.5 * n > 1.0 for n in range(30)]).mean()  # the rule: half of the spend is more than the coupon costs
    assert found.gain.treated == pytest.approx(gets)
    assert found.gain.doubly_robust["mean"] == pytest.approx(gets * (0.5 * 6.0 - 1.0), abs=0.1)
    assert (found.profit, found.coverage) == (found.gain, 1.0)
    assert read_evaluation("spring", get_settings()) == found

    publish("campaign_outcomes", logged(effect=0.0))
    assert evaluate_plan("spring", shop=front).verdict == "loss"

    for propensity in (None, 1.0, 0.999):
        unrandomised = [row | {"propensity": propensity} for row in logged(effect=6.0)]
        publish("campaign_outcomes", unrandomised)
        found = evaluate_plan("spring", shop=front)
        assert (found.verdict, found.not_randomised, found.gain) == ("unknown", 600, None)
        assert found.reason == "no randomised campaign with known outcomes tells what the plan would do"

    untried = [row | {"treatment": row["treatment"].replace("coupon", "gift")} for row in logged(effect=6.0)]  # type: ignore[attr-defined]
    publish("campaign_outcomes", untried)
    found = evaluate_plan("spring", shop=front)
    assert found.not_covered == round(600 * gets)
    assert (found.verdict, found.coverage) == ("unknown", 0.0)

    publish("campaign_outcomes", logged(effect=6.0)[:360] + untried[360:])
    found = evaluate_plan("spring", shop=front)
    assert found.gain is not None and found.gain.doubly_robust["low"] > 0
    assert (found.verdict, found.coverage) == ("unsure", pytest.approx(0.6))
    assert found.reason.startswith("only 60% of those whom the rule gives an offer")


def test_what_a_plan_for_visits_costs_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    front = house(tmp_path, monkeypatch)
    monkeypatch.setattr(campaign_evaluation, "SAMPLES", 100)
    request = {"objective": "visits", "fatigue_days": 0, "budget": 1000.0}
    rows = [row | {"is_visited": row["treatment"] == "coupon"} for row in logged(effect=6.0)]
    publish("campaign_outcomes", rows)
    for cost, wanted, profit in ((1.0, "blessed", 0.5 * 6.0 - 1.0), (4.0, "loss", 0.5 * 6.0 - 4.0)):
        plan(asked(offers=[{"name": "coupon", "contact_cost": cost}], **request), shop=front)
        found = evaluate_plan("spring", shop=front)
        assert found.gain is not None and found.profit is not None
        assert found.gain.doubly_robust["low"] > 0.8
        assert found.profit.doubly_robust["mean"] == pytest.approx(found.gain.treated * profit, abs=0.1)
        assert found.verdict == wanted
    publish("campaign_outcomes", [row | {"spend": row["spend"] if number % 5 else None} for number, row in enumerate(rows)])
    found = evaluate_plan("spring", shop=front)  # of a fifth nobody knows what was spent, perhaps because nothing was
    assert (found.verdict, found.profit) == ("unsure", None)
    assert "but may lose money: too few logged rows tell what was spent" in found.reason


def test_users_that_the_model_learned_from_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    front = house(tmp_path, monkeypatch)
    publish("campaign_outcomes", logged(effect=6.0))
    plan(asked(fatigue_days=0), shop=front)
    told = get_settings().models_dir / "uplift" / "3" / "assets.extra"
    (told / "provenance.json").write_text('{"window": "2024-01-01/2024-03-01", "seed": 7}')
    found = evaluate_plan("spring", shop=front)
    assert found.seen_by_model > 0 and found.gain is not None
    assert found.gain.users == len(USERS) - (found.seen_by_model + found.not_covered) / 20
    (told / "provenance.json").write_text('{"window": "2024-01-01/2024-02-01", "seed": 7}')
    assert evaluate_plan("spring", shop=front).seen_by_model == 0
    (told / "provenance.json").unlink()
    found = evaluate_plan("spring", shop=front)
    assert (found.verdict, found.seen_by_model, found.gain) == ("unknown", 600, None)
    assert found.reason == "all 600 rows of randomised campaigns may have taught the model, and would judge it too kindly"


def test_of_the_houses_own_campaigns_those_are_judged_by_for_whom_the_offer_was_intended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = house(tmp_path, monkeypatch)
    intended = {user: ("coupon", "gift")[number % 2] for number, user in enumerate(USERS)}
    columns: dict[str, list[object]] = {
        "user_id": list(USERS), "segment": list(USERS), "intended_offer": list(intended.values()), "arm": list(intended.values()),
        "propensity": [0.5] * 30, "assigned_at": [day("02-21") + timedelta(hours=9)] * 30, "planned_cost": [0.0] * 30,
    }  # fmt: skip
    rows = [row | {"campaign_id": f"past{n // 30}"} for n, row in enumerate(logged(effect=6.0))]
    for row in rows:
        row["treatment"] = row["treatment"] if row["treatment"] == "control" else intended[str(row["user_id"])]
        row["assigned_at"] = day("02-21") + timedelta(hours=10)
    for number in range(20):
        write_table(get_settings().campaigns_dir / f"past{number}" / "assignments.parquet", columns, ASSIGNMENTS)
    publish("campaign_outcomes", rows)
    plan(asked(offers=[{"name": "coupon", "contact_cost": 1.0}], fatigue_days=0, budget=1000.0), shop=front)
    found = evaluate_plan("spring", shop=front)
    wants = [number for number in range(30) if 0.5 * number > 1.0]
    assert (found.not_randomised, found.not_covered) == (0, 20 * sum(number % 2 for number in wants))


def test_the_rule_is_asked_as_of_each_assignment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    front = house(tmp_path, monkeypatch)
    publish("campaign_outcomes", [exposure("u05", "control", "02-25"), exposure("u06", "coupon", "02-10")])
    plan(asked(), shop=front)
    evaluate_plan("spring", shop=front)
    _, inputs = front.asked[-1]
    at = {datetime.utcfromtimestamp(us / 1e6).day: n for us, n in zip(inputs["as_of_us"], inputs["purchases_total"], strict=True)}  # noqa: DTZ004
    assert at[25] == 5
    assert np.isnan(at[10])  # features of u06 became known on the 20th
