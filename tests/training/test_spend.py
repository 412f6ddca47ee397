# ruff: noqa: DTZ001 - the house's times are UTC without a zone
"""Expected spend: the loss by hand, which windows are learned from, and the evaluation on a tiny shop."""

from datetime import datetime, timedelta
from math import exp, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.training.test_evaluate import _holds_together
from training.evaluate import CannotEvaluate, evaluate_spend
from training.signatures import USER_FEATURES

DAY_US = 86_400_000_000


@pytest.mark.slow
def test_the_loss_is_tweedies_and_least_at_the_mean():
    from training.spend import tweedie

    loss = tweedie(1.5)
    assert float(loss(np.array([3.0]), np.array([[1.2]]))[0]) == pytest.approx(3 * exp(-0.6) / 0.5 + exp(0.6) / 0.5, rel=1e-6)
    assert float(loss(np.array([0.0]), np.array([[1.2]]))[0]) == pytest.approx(2 * sqrt(exp(1.2)), rel=1e-6)
    paid, tried = np.array([0, 0, 0, 8.0]), np.log([1.8, 2.0, 2.2])
    sums = [np.sum(loss(paid, np.full((4, 1), logit))) for logit in tried]
    assert np.argmin(sums) == 1


@pytest.mark.slow
def test_numbers_of_all_time_are_read_as_money_per_purchase_line_alone():
    from training.spend import NUMBERS, WINDOWED, lasting

    numbers = np.arange(2.0 * NUMBERS, dtype=np.float32).reshape(2, -1)
    places = [USER_FEATURES.index(name) for name in ("purchases_total", "spend_total")]
    numbers[:, places] = [[4, 10], [0, 0]]
    got = np.asarray(lasting(numbers))
    assert len(WINDOWED) == len(USER_FEATURES) - 2 and not set(places) & set(WINDOWED)
    np.testing.assert_array_equal(got[:, :-1], numbers[:, [*WINDOWED, -2, -1]])
    np.testing.assert_array_equal(got[:, -1], [2.5, np.nan])


@pytest.mark.slow
def test_pace_by_hand():
    from training.spend import PACE_DAYS, pace

    times = [np.array([1, 5, 9]) * DAY_US, np.array([4]) * DAY_US, np.empty(0, np.int64)]
    np.testing.assert_allclose(pace(times, 10 * DAY_US, 2), [100 * 2 / (5 + PACE_DAYS), 100 / (6 + PACE_DAYS), np.nan], rtol=1e-6)


@pytest.mark.slow
def test_there_is_no_head_where_nobody_paid():
    from training.portrait_config import PortraitConfig
    from training.spend import NUMBERS, fit_spend

    config, rows = PortraitConfig(), 100
    numbers, part = np.ones((rows, NUMBERS), np.float32), np.arange(rows) % config.spend_parts
    assert fit_spend(np.zeros((rows, 4), np.float32), numbers, -np.ones(rows), part, config, 1) is None
    few = np.where(np.arange(rows) < config.min_labels - 1, 5.0, 0.0)
    assert fit_spend(np.zeros((rows, 4), np.float32), numbers, few, part, config, 1) is None


def spent(days_of: dict[str, list[int]]) -> pd.DataFrame:
    """Money 1 on each day, as `user_features` says on the day after and 90 days later."""
    rows = [
        (user, datetime(2024, 1, 1) + timedelta(days=at), sum(at - 90 <= day < at for day in days))
        for user, days in days_of.items()
        for at in sorted({day + later for day in days for later in (1, 90, 91)})
    ]
    return pd.DataFrame(rows, columns=["user_id", "features_at", "spend_90d"]).astype({"spend_90d": float})


@pytest.mark.slow
def test_a_label_is_the_money_of_the_90_days_after_it_and_windows_not_over_teach_nothing(monkeypatch):
    from training import frames

    mondays = [datetime(2024, 1, 1) + timedelta(days=7 * week) for week in range(40)]
    asked = pd.DataFrame([(user, at) for at in mondays for user in ("ann", "bob", "new")], columns=["user_id", "label_at"])
    bought = {"ann": [3, 6, 7, 96, 97, 300], "bob": [200]}
    features = spent(bought)

    def rows_as_of(view: str, at: datetime) -> pd.DataFrame:
        assert view == "user_features"
        return features[features["features_at"] <= at].sort_values("features_at").groupby("user_id", as_index=False).tail(1)

    monkeypatch.setattr(frames, "read_mart", lambda _name: asked.assign(known_at=asked["label_at"] + timedelta(days=30)))
    monkeypatch.setattr(frames, "rows_as_of", rows_as_of)
    for end in (datetime(2024, 3, 30), datetime(2024, 4, 8), datetime(2024, 11, 1)):
        got = frames.spend_labels(end)
        assert not len(got) or (got["label_at"] + timedelta(days=90)).max() <= end
        for user, label_at, money in got.itertuples(index=False):
            first = (label_at - datetime(2024, 1, 1)).days
            assert money == sum(first <= day < first + 90 for day in bought.get(user, []))
    assert not len(frames.spend_labels(datetime(2024, 3, 30)))  # 89 days
    week = frames.spend_labels(datetime(2024, 4, 8))
    assert week["label_at"].unique().tolist() == [pd.Timestamp(2024, 1, 1), pd.Timestamp(2024, 1, 8)]
    assert week.loc[week["user_id"] == "ann", "spend"].tolist() == [3, 2]  # days 3, 6 and 7; then 7 and 96, not 97
    later = frames.spend_labels(datetime(2024, 11, 1))["label_at"]
    assert later.min() == pd.Timestamp(2024, 4, 1)  # 91 days of records lie behind it
    assert later.max() == pd.Timestamp(2024, 7, 29)


@pytest.mark.slow
def test_activity_counts_as_user_features_does():
    from training.activity import activity_of

    rows = [
        ("a", None, "view", "2024-01-01 10:00", None, None),
        ("a", None, "purchase", "2024-01-01 10:30", 2, 5.0),
        ("a", None, "return", "2024-01-01 11:01", 1, 5.0),  # 31 silent minutes: a second visit
        ("a", "s", "purchase", "2024-02-01 00:00", None, 3.0),
        ("a", "s", "view", "2024-02-01 23:00", None, None),  # a session that the shop named
        ("b", None, "cart", "2024-01-31 23:59", None, None),
        ("guest", None, "purchase", "2024-01-31 23:59", 1, 99.0),
    ]
    events = pd.DataFrame(rows, columns=["user_id", "session_id", "event_type", "occurred_at", "quantity", "unit_price"])
    activity = activity_of(events.astype({"occurred_at": "datetime64[us]"}), np.array(["a", "b"], object))
    at = int(np.datetime64("2024-02-08", "us").astype(int))
    got = [dict(zip(USER_FEATURES, row, strict=True)) for row in activity.numbers(at).tolist()]
    assert got[0] == {
        **dict.fromkeys(USER_FEATURES, 0.0),
        **{"events_7d": 2, "events_30d": 2, "events_90d": 5, "views_30d": 1, "purchases_7d": 1, "purchases_30d": 1, "purchases_90d": 2},
        **{
            "returns_90d": 1,
            "active_days_30d": 1,
            "sessions_30d": 1,
            "spend_30d": 3,
            "spend_90d": 8,
            "purchases_total": 2,
            "spend_total": 8,
        },
    }
    assert (got[1]["carts_30d"], got[1]["sessions_30d"], got[1]["active_days_30d"], got[1]["events_7d"]) == (1, 1, 1, 0)
    assert activity.total("sessions", 0, at).tolist() == [3, 1]
    assert activity.total("spend", at - 38 * DAY_US, at - 7 * DAY_US).tolist() == [5, 0]  # until 1 February, not with it


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landing folder of 70 days: user n buys at n mod 5 every (1 + n mod 3) * 2 days, every tenth is silent from day 40 on."""
    folder = tmp_path_factory.mktemp("landing")
    events = [
        {
            "user_id": f"u{user:02}",
            "item_id": f"i{(user + day) % 12:02}",
            "event_type": "purchase",
            "occurred_at": datetime(2024, 1, 1, 12) + timedelta(days=day),
            "quantity": 1,
            "unit_price": 1.0 + user % 5,
        }
        for user in range(60)
        for day in range(user % 2, 70, 2 * (1 + user % 3))
        if day < 40 or user % 10
    ]
    pd.DataFrame([{"event_id": f"e{number}", **event} for number, event in enumerate(events)]).to_csv(folder / "events.csv", index=False)
    return folder


@pytest.mark.slow
def test_spend_gives_the_promised_object_and_asks_the_last_days_alone(shop: Path):
    from training.splits import targets_sha256

    result = evaluate_spend(source="landing", data=shop, days=14, seed=3, epochs=1)
    figures = {"mae", "rmse", "gini", "spearman", "total_ratio", "decile_error"}
    baselines = {"last_days_again", "boosted_trees"}
    _holds_together(result, figures, baselines, more={"differences", "deciles"})
    assert set(result["deciles"]) == {"portrait", *baselines} and len(result["deciles"]["portrait"]) == 10
    counts = result["counts"]
    assert (counts["users"], counts["test_users"], counts["days_before_the_cut"]) == (60, 60, 56)
    assert counts["learned_windows"] == 5  # of days 42, 35, 28, 21, 14: as many lie behind the last as before it
    money = {
        f"u{user:02}": sum(1.0 + user % 5 for day in range(user % 2, 70, 2 * (1 + user % 3)) if day >= 56 and user % 10)
        for user in range(60)
    }
    assert result["targets_sha256"] == targets_sha256(money, [f"{amount:.2f}" for amount in money.values()])
    assert result["metrics"]["gini"]["mean"] > 0.6


@pytest.mark.slow
def test_what_no_window_fits_into_is_said(shop: Path):
    with pytest.raises(CannotEvaluate, match=r"Windows of 90 days need more than 180 days of events\. Received 70\. Load more, or ask for"):
        evaluate_spend(source="landing", data=shop, days=90)


def test_buyers_reach_the_library_as_frequency_recency_age_and_money(tmp_path: Path):
    """The library's place is taken by a program that gives back what it was given."""
    from training.activity import Activity
    from training.evaluate_spend import by_lifetimes

    days = np.array([2, 2, 5, 9, 12, 20, 4])  # user 0 buys on days 2, 5 and 12 and brings back on 9; user 1 once, on 4
    adds = {"spend": np.array([5.0, 1.0, 10.0, -2.0, 7.0, 99.0, 3.0]), "purchases": np.array([1.0, 1, 1, 0, 1, 1, 1])}
    activity = Activity(3, np.array([0, 0, 0, 0, 0, 0, 1]), days * DAY_US, adds)
    echo = tmp_path / "python"
    line = 'awk -F, \'NR == 1 { print "spend"; next } { print $1 * 1000 + $2 * 100 + $3 + $4 * 10 }\' "$5" > "$7"'
    echo.write_text(f"#!/bin/sh\n{line}\n")
    echo.chmod(0o755)
    said = by_lifetimes(activity, 15 * DAY_US, 14, echo)
    assert said.tolist() == pytest.approx([2 * 1000 + 10 * 100 + 13 + 7.5 * 10, 11, 0])


def test_windows_are_learned_from_that_are_over_by_the_cut_and_have_as_much_behind_them():
    from training.activity import Activity
    from training.evaluate_spend import learning_times

    def times(days: int) -> tuple[int, int, list[int]]:
        activity = Activity(1, np.zeros(2, int), np.array([0, days]) * DAY_US - np.array([0, 1]), {})
        first, cut, learned = learning_times(activity, 90)
        return first // DAY_US, cut // DAY_US, [at // DAY_US for at in learned]

    assert times(374) == (0, 284, [194, *range(187, 89, -7)])
    assert times(270) == (0, 180, [90])
    assert times(181) == (0, 91, [1])
