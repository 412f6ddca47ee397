"""Off-policy estimates and the online metric, recomputed by hand and against a policy whose value is known."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from serving.outcomes import Logged, difference, evaluate, greedy

DAY = datetime.fromisoformat("2024-05-01 12:00")


def logged(**changed: np.ndarray) -> Logged:
    columns = {
        "user": np.array(["a", "a", "b", "c"]),
        "reward": np.array([1.0, 0.0, 1.0, 0.0]),
        "propensity": np.array([0.5, 0.25, 0.8, 0.1]),
        "target": np.array([1.0, 0.5, 0.2, 0.0]),
    }
    return Logged(**columns | changed)


def test_the_estimates_are_what_a_hand_computes() -> None:
    """Weights 2, 2, 0.25, 0: IPS (2 + 0.25) / 4, SNIPS 2.25 / 4.25, effective rows 4.25^2 / (4 + 4 + 0.0625)."""
    found = evaluate(logged())
    assert (found.rows, found.users, found.largest_weight) == (4, 3, 2.0)
    assert found.logged["mean"] == 0.5
    assert found.ips["mean"] == pytest.approx(2.25 / 4)
    assert found.snips["mean"] == pytest.approx(2.25 / 4.25)
    assert found.effective_rows == pytest.approx(4.25**2 / 8.0625)
    assert found.doubly_robust is None


def test_doubly_robust_is_the_models_value_plus_the_weighted_residual() -> None:
    """(0.5 + 2 x 0.6) + (0.5 + 2 x -0.3) + (0.5 + 0.25 x 0.2) + (0.5 + 0), over 4."""
    found = evaluate(logged(expected=np.array([0.4, 0.3, 0.8, 0.9]), expected_target=np.full(4, 0.5)))
    assert found.doubly_robust and found.doubly_robust["mean"] == pytest.approx((1.7 - 0.1 + 0.55 + 0.5) / 4)


def test_the_policy_that_logged_is_worth_what_was_logged() -> None:
    found = evaluate(logged(target=np.array([0.5, 0.25, 0.8, 0.1])))
    assert found.ips == found.snips == found.logged
    assert found.effective_rows == 4


def test_intervals_resample_users_and_not_rows() -> None:
    """A hundred rows of one user are one draw: the interval of two users is wide, however many rows they have."""
    user = np.repeat(["a", "b"], 100)
    few = evaluate(Logged(user, np.repeat([1.0, 0.0], 100), np.full(200, 0.5), np.full(200, 0.5)))
    assert (few.logged["low"], few.logged["high"]) == (0.0, 1.0)
    many = evaluate(Logged(np.arange(200), np.repeat([1.0, 0.0], 100), np.full(200, 0.5), np.full(200, 0.5)))
    assert many.logged["high"] - many.logged["low"] < 0.16


def test_the_true_value_of_a_policy_is_inside_the_interval_and_naive_logging_is_not() -> None:
    """Two items, bought with probability 0.1 and 0.5; the log shows the second in one of five cases, the judged policy always."""
    draw = np.random.default_rng(3)
    is_second = draw.random(20_000) < 0.2
    reward = (draw.random(20_000) < np.where(is_second, 0.5, 0.1)).astype(float)
    found = evaluate(Logged(draw.integers(0, 5_000, 20_000), reward, np.where(is_second, 0.2, 0.8), is_second.astype(float)))
    for estimate in (found.ips, found.snips):
        assert estimate["low"] < 0.5 < estimate["high"] and estimate["high"] - estimate["low"] < 0.06
    assert found.logged["high"] < 0.25
    assert found.effective_rows == is_second.sum()


@pytest.mark.parametrize("bad", [0.0, 1.2, np.nan])
def test_a_propensity_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"Every decision must have a propensity in \(0, 1\]"):
        evaluate(logged(propensity=np.array([bad, 0.5, 0.5, 0.5])))
    with pytest.raises(ValueError, match=r"needs decisions with known outcomes\. Received none"):
        evaluate(Logged(*[np.empty(0)] * 4))


def rows(*given: tuple) -> pd.DataFrame:
    """`(decision_id, user, rank, score, propensity, reward)`."""
    names = ["decision_id", "user_id", "rank", "score", "propensity", "is_purchased_7d"]
    return pd.DataFrame(given, columns=names)


def test_greedy_shows_at_each_place_the_next_highest_score() -> None:
    """List x explored: the best candidate was not shown, so place 1 would have been another. Pending and unscored rows are left out."""
    found = greedy(
        rows(
            ("x.1", "u1", 1, 2.0, 0.25, True),
            ("x.2", "u1", 2, 1.0, 1.0, False),
            ("x.3", "u1", 0, 3.0, None, None),
            ("y.1", "u2", 1, 9.0, 0.75, False),
            ("y.2", "u2", 2, 8.0, 1.0, None),
            ("z.1", "u3", 1, None, None, True),
        ),
        "is_purchased_7d",
    )
    assert found.user.tolist() == ["u1", "u1", "u2"]
    assert found.reward.tolist() == [1.0, 0.0, 0.0]
    assert found.target.tolist() == [0.0, 0.0, 1.0]
    assert found.propensity.tolist() == [0.25, 1.0, 0.75]


def shown(version: str, user: str, bought: float, day: str = "2024-05-01") -> dict:
    return {"model_version": version, "user_id": user, "decided_at": datetime.fromisoformat(f"{day} 12:00"), "is_purchased_7d": bought}


def test_the_online_difference_compares_days_on_which_both_answered() -> None:
    decisions = [
        shown("2", "a", 1),
        shown("2", "a", 0),
        shown("2", "b", 1),
        shown("1", "c", 0),
        shown("1", "d", 1),
        shown("1", "e", 0, "2024-04-30"),
    ]
    found = difference(pd.DataFrame(decisions), 2, 1, "is_purchased_7d")
    assert found is not None
    assert (found.decisions, found.canary, found.stable) == (2, pytest.approx(2 / 3), 0.5)
    assert found.difference["mean"] == pytest.approx(1 / 6)
    assert difference(pd.DataFrame(decisions), 3, 1, "is_purchased_7d") is None


def test_a_worse_version_is_surely_worse_on_enough_users() -> None:
    draw = np.random.default_rng(5)
    decisions = [
        shown("2" if user % 5 == 0 else "1", f"u{user}", draw.random() < (0.05 if user % 5 == 0 else 0.15)) for user in range(6_000)
    ]
    found = difference(pd.DataFrame(decisions), 2, 1, "is_purchased_7d")
    assert found and found.difference["high"] < 0 and found.difference["low"] < -0.1 < found.difference["high"] and found.decisions == 1_200
