"""Reasons, series, policy, fairness and warnings of the credit model, recomputed by hand or by a second way."""

from datetime import datetime
from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from tests.training.credit_shop import applications, as_mart
from training.credit_columns import CreditColumns
from training.credit_evidence import calibrated_ece, fairness, reason_stability, surely, traits_of
from training.credit_explain import DIRECTIONS, attributions, coalitions, directions, good_payer, groups_of, reasons
from training.credit_policy import POLICY_FILE, BadPolicy, credit_policy
from training.credit_rows import warnings_of
from training.metrics import ece

COLUMNS = CreditColumns(("amount", "x_late_1", "x_late_2", "x_late_3", "x_debt"), {"x_job": ("none", "permanent")})


def log_odds(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """A model with an interaction, so that orders matter."""
    numbers, words = inputs["numbers"].astype(float), inputs["words"]
    return numbers[:, 1:4].sum(axis=1) * (1 + numbers[:, 4]) + 0.5 * numbers[:, 0] + (words[:, 0] == 1)


ONE = {"numbers": np.array([[2.0, 1.0, 1.0, 0.0, 3.0]], np.float32), "words": np.array([[1]], np.int32)}
TYPICAL = {"numbers": np.array([[1.0, 0.0, 0.0, 0.0, 1.0]], np.float32), "words": np.array([[2]], np.int32)}


def by_orders(groups: list[list[str]]) -> np.ndarray:
    """Shapley values the long way: every order, each group's effect when its turn comes."""
    values, orders = np.zeros(len(groups)), list(permutations(range(len(groups))))
    for order in orders:
        now = {kind: rows.copy() for kind, rows in TYPICAL.items()}
        before = log_odds(now)[0]
        for group in order:
            for name in groups[group]:
                if name in COLUMNS.numbers:
                    now["numbers"][0, COLUMNS.numbers.index(name)] = ONE["numbers"][0, COLUMNS.numbers.index(name)]
                else:
                    now["words"][0, 0] = ONE["words"][0, 0]
            after = log_odds(now)[0]
            values[group] += (after - before) / len(orders)
            before = after
    return values


def test_a_series_is_one_group_and_effects_are_the_shapley_values_of_all_orders() -> None:
    groups = groups_of(COLUMNS)
    assert groups == {"amount": ["amount"], "x_late": ["x_late_1", "x_late_2", "x_late_3"], "x_debt": ["x_debt"], "x_job": ["x_job"]}
    found = attributions(ONE, TYPICAL, COLUMNS, log_odds)
    np.testing.assert_allclose(found[0], by_orders(list(groups.values())), atol=1e-9)
    assert found.sum() == pytest.approx(log_odds(ONE)[0] - log_odds(TYPICAL)[0])


def test_who_keeps_behaviour_back_is_compared_with_one_who_does_too() -> None:
    columns = CreditColumns(("amount", "spend_90d"), {})
    reference = {"numbers": np.array([[1.0, 50.0]], np.float32), "words": np.zeros((1, 0), np.int32)}
    people = {"numbers": np.array([[2.0, np.nan], [2.0, 20.0]], np.float32), "words": np.zeros((2, 0), np.int32)}
    found = attributions(
        people, reference, columns, lambda rows: rows["numbers"][:, 0] + np.where(np.isnan(rows["numbers"][:, 1]), 9.0, 0.0)
    )
    assert found.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    found = attributions(people, reference, columns, lambda rows: -np.nan_to_num(rows["numbers"][:, 1]))
    assert found.tolist() == [[0.0, 0.0], [0.0, 30.0]]


def test_a_reason_says_on_which_side_of_the_good_payers_the_own_values_lie() -> None:
    columns = CreditColumns(("amount", "x_late_1", "x_late_2", "x_late_3", "spend_90d"), {"x_job": ("none", "permanent")})
    typical = {"numbers": np.array([[10.0, 1.0, 1.0, 1.0, 50.0]], np.float32), "words": np.array([[2]], np.int32)}
    people = {
        "numbers": np.array(
            [
                [11.0, 2.0, 1.0, 1.0, 49.0],
                [9.0, 0.0, 0.0, 2.0, 50.0],
                [10.0, 5.0, 0.0, np.nan, np.nan],
                [np.nan, 3.0, 0.0, 0.0, 51.0],
            ],
            np.float32,
        ),
        "words": np.array([[2], [1], [0], [2]], np.int32),
    }
    # months of row 2: two below by 1 and one above by 1; of row 3: above by 4, below by 1; of row 4: above by 2 and below by 2
    assert directions(people, typical, columns).tolist() == [
        ["high", "high", "low", ""],
        ["low", "mixed", "", "other"],
        ["", "high", "unknown", "other"],
        ["unknown", "mixed", "high", ""],
    ]
    nobody = {"numbers": np.full((1, 5), np.nan, np.float32), "words": np.array([[2]], np.int32)}
    assert directions(people, nobody, columns)[0].tolist() == ["other", "other", "other", ""]


def test_beyond_eight_groups_the_drawn_orders_still_add_up_and_are_the_same_each_time() -> None:
    is_own, weights = coalitions(12)
    again = coalitions(12)
    assert (is_own == again[0]).all() and (weights == again[1]).all() and len(is_own) < 500
    effects = np.arange(1.0, 13.0)  # an additive game: every value is its own effect
    np.testing.assert_allclose((is_own @ effects) @ weights, effects, atol=1e-9)


def test_reasons_are_the_strongest_that_cost_enough_and_helping_groups_are_none() -> None:
    values = np.array([[0.5, -2.0, 0.7, 0.05], [0.0, -1.0, 0.0, -0.1]])
    assert reasons(values, least=0.1) == [[2, 0], []]
    assert reasons(values, least=0.01, most=2) == [[2, 0], []]


def test_the_good_payer_is_the_middle_of_those_who_paid_and_were_likely_to() -> None:
    inputs = {
        "numbers": np.array([[1.0], [3.0], [5.0], [99.0], [np.nan]], np.float32),
        "words": np.array([[1], [1], [2], [2], [1]], np.int32),
    }
    typical = good_payer(inputs, np.array([0, 0, 0, 1, 0]), np.array([0.1, 0.2, 0.3, 0.05, 0.9]))
    assert (typical["numbers"].tolist(), typical["words"].tolist()) == ([[2.0]], [[1]])


def test_a_series_is_summed_up_as_numpy_would() -> None:
    from keras import ops

    from training.credit_series import Series, series_features

    names = ("amount", "x_paid_1", "x_paid_2", "x_paid_3", "x_bill_3", "x_bill_1", "x_bill_2", "x_age", "x_late_1", "x_late_2", "x_late_3")
    draw = np.random.default_rng(0)
    numbers = np.column_stack([draw.uniform(1, 9, (40, 8)), draw.integers(-1, 3, (40, 3))]).astype(np.float32)
    numbers[7, 2] = np.nan
    known = Series.of(names, numbers)
    assert known.series == [[1, 2, 3], [5, 6, 4], [8, 9, 10]] and known.amounts == [[1, 2, 3], [5, 6, 4]] and known.amount == 0
    found = ops.convert_to_numpy(series_features(ops.convert_to_tensor(numbers), known))
    assert found.shape == (40, 11 + known.columns)
    late = numbers[:, 8:11]
    np.testing.assert_allclose(found[:, 29], late.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found[:, 32], late.std(axis=1), atol=1e-5)
    assert (found[:, 35] == (late > 0).sum(axis=1)).all() and (found[:, 37] == (late < 0).sum(axis=1)).all()
    paid, bill, asked = numbers[:, 1:4], numbers[:, [5, 6, 4]], numbers[:, :1]
    np.testing.assert_allclose(found[:, 38:41], paid / asked, rtol=1e-5)
    np.testing.assert_allclose(found[:, 44:46], paid[:, :2] / np.maximum(bill[:, 1:], 1), rtol=1e-5)
    np.testing.assert_allclose(found[:, 46:48], (bill[:, 1:] - paid[:, :2]) / asked, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[:, 48:50], (bill[:, :2] - bill[:, 1:] + paid[:, :2]) / asked, rtol=1e-4, atol=1e-5)
    assert np.isnan(found[7, 11]) and np.isfinite(found[7, 29])


def test_edges_are_a_numbers_own_values_where_they_are_few() -> None:
    from training.credit_network import edges_of

    many = np.linspace(0, 1, 200)
    edges = edges_of(np.column_stack([np.repeat([-1.0, 0.0, 5.0, np.nan], 50), many, np.full(200, np.nan)]), 4)
    assert edges.tolist() == [[-1, 0, 5, 5, 5], [0, 0.25, 0.5, 0.75, 1], [0] * 5]


def test_points_double_the_odds_as_the_policy_says() -> None:
    policy = credit_policy(POLICY_FILE)
    assert policy.points(-np.log(20)) == pytest.approx(600)
    assert policy.points(-np.log(40)) == pytest.approx(620)
    assert policy.points(-np.log(10)) == pytest.approx(580)
    assert [policy.decide(chance) for chance in (0.1, 0.2, 0.49, 0.5)] == ["approve", "review", "review", "refuse"]
    assert policy.in_words("x_other_debt", "high") == {
        "en": "debt elsewhere: above a typical good payer's",
        "zh": "其他负债：高于典型的按时还款者",
    }
    assert set(policy.directions) == set(DIRECTIONS)
    assert policy.in_words("x_pay")["zh"] == "近几个月的还款逾期情况" and policy.in_words("x_shoe_size")["en"] == "shoe size"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("approve_below = 0.2", "approve_below = 0.7"), r"must rise and lie between 0 and 1\. Received 0\.7 and 0\.5"),
        (("double_odds = 20", "double_odds = 0"), r"must be above 0\. Received 20 and 0"),
        (('column = "x_other_debt"', 'column = "x_ag*"'), r"protected\. Received 'x_ag\*' as actionable, which is 'x_age'\. Take it out"),
        (('to = "up"', 'to = "sideways"'), r"'down' or 'up'\. Received 'sideways' for 'x_pay_amt1'"),
        (('en = "{name}: below', 'en = "below'), r"must hold `\{name\}` once\. Received .below a typical good payer's. for 'low'"),
        (("[score]", "[scores]"), r"must have the tables and keys of training/credit\.toml\. .*KeyError\('score'\)"),
        (("[score]", "[score"), r"The credit policy is a TOML file\. .*Start from training/credit\.toml"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused_with_the_way_out(change: tuple[str, str], message: str, tmp_path) -> None:
    text = POLICY_FILE.read_text(encoding="utf-8")
    assert change[0] in text
    (tmp_path / "policy.toml").write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(BadPolicy, match=message):
        credit_policy(tmp_path / "policy.toml")


def test_fairness_counts_approvals_among_those_who_paid_back() -> None:
    draw = np.random.default_rng(1)
    sex = draw.choice(["f", "m", ""], 4000)
    truth, chances = (draw.random(4000) < 0.2).astype(float), draw.uniform(0, 0.4, 4000)
    chances[sex == "f"] += 0.1
    found = {row["value"]: row for row in fairness({"x_sex": sex}, truth, chances, 0.2)}
    own, others = chances[(sex == "f") & (truth == 0)] < 0.2, chances[(sex == "m") & (truth == 0)] < 0.2
    assert set(found) == {"f", "m"} and found["f"]["approved_of_good"] == own.mean()
    gap = found["f"]["approved_gap"]
    assert gap["mean"] == pytest.approx(own.mean() - others.mean()) and gap["high"] < 0 < surely(gap) < -gap["mean"]
    off = found["f"]["calibration_gap"]
    assert off["mean"] == pytest.approx(chances[sex == "f"].mean() - truth[sex == "f"].mean()) and off["low"] > 0
    assert surely({"mean": 0.1, "low": -0.1, "high": 0.3}) == 0


def test_a_trait_that_is_a_number_is_told_in_bands() -> None:
    frame = pd.DataFrame({"x_age": [20.0, 30.0, 40.0, 50.0, 60.0, np.nan], "x_sex": ["f", None, "m", "f", "m", "m"]})
    found = traits_of(frame, ["x_age", "x_sex", "x_gone"])
    assert found["x_sex"].tolist() == ["f", "", "m", "f", "m", "m"] and set(found) == {"x_age", "x_sex"}
    assert found["x_age"][0].startswith("under") and found["x_age"][4].startswith("from") and found["x_age"][5] == ""


def test_a_perfectly_calibrated_model_has_some_ece_and_a_wrong_one_has_more() -> None:
    chances = np.random.default_rng(0).uniform(0.05, 0.5, 3000)
    perfect = calibrated_ece(chances, seed=1)
    truth = np.random.default_rng(2).random(3000) < chances
    assert perfect["low"] <= ece(truth, chances) <= perfect["high"] < ece(truth, np.clip(1.5 * chances, 0, 1))


def test_the_same_application_gets_the_same_reasons_and_a_little_change_rarely_others() -> None:
    draw = np.random.default_rng(0)
    inputs = {
        "numbers": np.column_stack([draw.uniform(100, 900, 60), draw.integers(0, 3, (60, 3)), draw.uniform(0, 9, 60)]).astype(np.float32),
        "words": draw.integers(0, 3, (60, 1)).astype(np.int32),
    }
    found = reason_stability(inputs, TYPICAL, COLUMNS, log_odds, least=0.1, seed=1)
    assert found["same_input"] == 1.0 and 0.9 <= found["set"] <= found["first"] <= 1.0
    assert 0.9 <= found["direction"] <= 1.0


def test_missing_outcomes_and_the_missing_of_missing_ones_are_both_told() -> None:
    mart = as_mart(applications(100))
    rows = mart.assign(defaulted=mart["is_defaulted"].astype(float))
    end, known = datetime(2024, 3, 1), np.ones(100, bool)  # noqa: DTZ001
    assert "learned from accepted applicants alone" in warnings_of(rows, known, end)[0]
    known[:30] = False
    assert warnings_of(rows, known, end) == [
        "30% of the ripe applications have no outcome. Where these were refused or lost for a reason, the model is too kind to applicants "
        "like them (reject inference)."
    ]
    assert warnings_of(rows, known, datetime(2024, 1, 5))[0].startswith("Every ripe application")  # noqa: DTZ001 - nothing is ripe yet
