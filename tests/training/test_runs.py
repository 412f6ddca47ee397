# ruff: noqa: DTZ001 - the house's times are UTC without a zone
"""Training runs on shops handed over by a fake feature repository: what is learned from, what is left behind, what is skipped."""

import json
import shutil
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from settings import get_settings
from tests.training.fake_features import FakeFeatures, events_of, labels_at, no_labels
from training.signatures import GOLDEN_FILE

WINDOW = (date(2024, 1, 1), date(2024, 3, 1))  # 60 days: the last 6 are the holdout
HOLDOUT_AT = datetime(2024, 2, 24)


@pytest.fixture
def features(house, monkeypatch):
    """Puts a fake feature repository in place of the real one."""
    from training import frames

    def install(fake: FakeFeatures) -> FakeFeatures:
        for name in ("training_frame", "rows_as_of", "read_mart"):
            monkeypatch.setattr(frames, name, getattr(fake, name))
        return fake

    return install


@pytest.mark.slow
def test_every_event_known_by_the_holdout_comes_once_though_frames_keep_only_the_newest(features):
    from training.frames import histories_until

    events = features(FakeFeatures(events_of(3, 4), no_labels())).events
    histories = histories_until(HOLDOUT_AT, datetime(2024, 1, 1))
    for user, times in zip(histories.user_ids, histories.times_us, strict=True):
        own = events[(events["user_id"] == user) & (events["at"] < HOLDOUT_AT)]
        assert times.tolist() == own["at"].to_numpy("datetime64[us]").astype(np.int64).tolist()
    assert histories.lengths.tolist() == [14, 14, 13]  # more than the five of a frame: one every fourth day of 54


@pytest.mark.slow
def test_more_users_than_fit_are_read_in_pieces_from_disk_and_teach_the_same(features, house, monkeypatch):
    from settings import get_settings
    from training.histories import joined
    from training.known_histories import known_histories, some_users
    from training.runs import train_encoder, train_model

    features(FakeFeatures(events_of(10, 6), no_labels()))
    start = datetime(2024, 1, 1)
    with known_histories(HOLDOUT_AT, start) as (whole, _):
        pass
    at_once = train_encoder(WINDOW, {"epochs": 2, "seed": 1})
    monkeypatch.setenv("PORTRAIT_TRAINING_USERS_IN_MEMORY", "4")
    get_settings.cache_clear()
    with known_histories(HOLDOUT_AT, start) as (pieces, _):
        parts = list(pieces.read())
        assert [len(part) for part in parts] == [4, 3, 3]
        again = joined(parts)
    assert again.user_ids.tolist() == whole.user_ids.tolist()
    for name in ("item_ids", "event_types", "times_us"):
        for ours, theirs in zip(getattr(again, name), getattr(whole, name), strict=True):
            assert ours.dtype == theirs.dtype
            assert ours.tolist() == theirs.tolist()
    assert len(some_users(HOLDOUT_AT, 1)) == 4

    run = train_encoder(WINDOW, {"epochs": 2, "seed": 1})
    assert run.metrics["users"] == at_once.metrics["users"] == 10
    assert run.path != at_once.path  # other rows, another run
    assert (train_model("recommender", run.path, WINDOW, {"epochs": 2, "seed": 1}).path / "saved_model").is_dir()
    assert not list(house.glob(".histories-*"))


@pytest.mark.slow
def test_a_question_is_the_first_new_item_after_the_holdout(features):
    from training.frames import histories_until, questions_between

    rows = [("a", "seen", 10), ("a", "seen", 55), ("a", "new", 56), ("a", "newer", 57), ("b", "seen", 10), ("c", "new", 58)]
    events = pd.DataFrame(
        [(u, i, "view", datetime(2024, 1, 1) + timedelta(days=d)) for u, i, d in rows], columns=["user_id", "item_id", "type", "at"]
    )
    features(FakeFeatures(events, no_labels()))
    questions = questions_between(histories_until(HOLDOUT_AT, datetime(2024, 1, 1)), HOLDOUT_AT, datetime(2024, 3, 1))
    assert questions.histories.user_ids.tolist() == ["a"]  # b does nothing more, c was unknown
    assert questions.targets.tolist() == ["new"]


@pytest.mark.slow
def test_ten_users_and_six_items_give_a_recommender_and_what_cannot_be_learned_is_skipped_by_name(features, house):
    from training.runs import TrainingSkipped, train_encoder, train_model

    features(FakeFeatures(events_of(10, 6), no_labels()))
    encoder = train_encoder(WINDOW, {"epochs": 2, "seed": 1})
    run = train_model("recommender", encoder.path, WINDOW, {"epochs": 2, "seed": 1})
    assert run.path.parent == house / "candidates" / "recommender"
    left = {path.name for path in run.path.iterdir()}
    assert left == {"saved_model", "report.html", "metrics.json", "verdict.json"}
    verdict = json.loads((run.path / "verdict.json").read_text())
    assert (verdict["rule"], verdict["promoted"]) == ("holdout_too_small", True)
    golden = json.loads((run.path / "saved_model" / GOLDEN_FILE).read_text())
    assert len(golden["inputs"]["event_item_ids"]) == 3

    with pytest.raises(
        TrainingSkipped, match=r"portrait: too few labels: 0 in next_purchase_labels \(20 needed\); `user_traits` has no rows"
    ):
        train_model("portrait", encoder.path, WINDOW, {"seed": 1})
    assert "`user_traits` has no rows" in json.loads((house / "candidates" / "portrait" / "skipped.json").read_text())["reason"]
    with pytest.raises(TrainingSkipped, match="`campaign_exposures` has no campaign with a control group"):
        train_model("uplift", encoder.path, WINDOW, {"seed": 1})

    again = train_model("recommender", encoder.path, WINDOW, {"epochs": 2, "seed": 1})
    assert again.path == run.path
    assert [path.name for path in run.path.parent.iterdir()] == [run.path.name]
    assert json.loads((again.path / "saved_model" / GOLDEN_FILE).read_text()) == golden


@pytest.mark.slow
def test_a_published_champion_is_asked_the_same_questions_and_not_replaced_by_its_equal(features, house):
    from training.runs import train_encoder, train_model

    features(FakeFeatures(events_of(60, 40), no_labels()))
    encoder = train_encoder(WINDOW, {"epochs": 2, "seed": 1})
    first = train_model("recommender", encoder.path, WINDOW, {"seed": 1})
    published = get_settings().models_dir / "recommender" / "3"
    published.parent.mkdir(parents=True)
    (first.path / "saved_model").rename(published)
    second = train_model("recommender", encoder.path, WINDOW, {"seed": 1})
    assert second.metrics["served version 3"] == second.metrics["recommender"]
    assert not second.promoted
    report = (second.path / "report.html").read_text()
    for said in (
        "Beside the model in use, on the same questions",
        "about as well as the model in use",
        "looked at a thing, ",
        "chose next",
    ):
        assert said in report
    assert "How far from the best there is" not in report  # nobody knows a real shop's truth


@pytest.mark.slow
def test_a_simulated_shop_is_measured_against_its_oracle_and_nothing_is_learned_from_its_truth(features, house):
    from sources.files import read_table
    from sources.registry import deliver
    from training.runs import train_encoder, train_model

    size = {"users": 100, "items": 150, "events_per_user": 30, "days": 60, "end": "2024-02-29", "dirt": 0}
    deliver("shop", None, house / "landing", seed=3, options=size)
    rows = read_table(house / "landing", "events").to_pandas().dropna(subset=["user_id"])
    rows = rows.rename(columns={"event_type": "type", "occurred_at": "at"}).sort_values("at", kind="stable")
    features(FakeFeatures(rows[["user_id", "item_id", "type", "at"]], no_labels()))
    encoder = train_encoder(WINDOW, {"epochs": 1, "seed": 1})
    run = train_model("recommender", encoder.path, WINDOW, {"epochs": 1, "seed": 1})
    golden, report = (run.path / "saved_model" / GOLDEN_FILE).read_text(), (run.path / "report.html").read_text()
    figures = run.metrics
    assert figures["oracle"]["NDCG@10"] > max(figures["recommender"]["NDCG@10"], figures["popularity"]["NDCG@10"])
    assert "How far from the best there is" in report and "the best answers are known" in report
    shutil.rmtree(house / "truth")
    again = train_model("recommender", encoder.path, WINDOW, {"epochs": 1, "seed": 1})
    assert again.metrics == {name: values for name, values in figures.items() if name != "oracle"}
    assert (again.path / "saved_model" / GOLDEN_FILE).read_text() == golden


@pytest.mark.slow
def test_a_version_is_registered_with_where_it_came_from_and_is_rebuilt_from_that(features):
    from training import champion, registry
    from training.runs import train_encoder, train_model

    features(FakeFeatures(events_of(20, 8), no_labels()))
    encoder = train_encoder(WINDOW, {"epochs": 2, "seed": 5})
    run = train_model("recommender", encoder.path, WINDOW, {"epochs": 2, "seed": 5})
    golden = (run.path / "saved_model" / GOLDEN_FILE).read_text()
    with pytest.raises(LookupError, match=r"An alias of recommender must be one of \['challenger'\]\. Received 'champion'"):
        registry.provenance_of("recommender", champion.CHAMPION)
    assert champion.crown("recommender", "another run") is None
    assert champion.crown("recommender", run.path.name) == "1"
    provenance = registry.provenance_of("recommender", champion.CHAMPION)
    assert provenance["run"] == run.path.name
    assert (provenance["seed"], provenance["epochs"], provenance["model"]) == (5, 2, "recommender")
    assert provenance["data_hash"] == encoder.path.name.rpartition("_")[2]
    assert provenance["config"]["encoder epochs"] == 2
    assert set(provenance) >= {"feature_service", "window", "versions", "requirements_sha256", "dbt_models_sha256"}
    shutil.rmtree(run.path.parent)
    again = registry.rebuild(provenance)
    assert again.path.name == run.path.name
    assert (again.path / "saved_model" / GOLDEN_FILE).read_text() == golden
    assert not again.promoted


@pytest.mark.slow
def test_a_shop_of_campaigns_alone_trains_uplift_without_an_encoder(features):
    from training.runs import TrainingSkipped, train_encoder, train_model

    random = np.random.default_rng(0)
    people = 400
    arm = random.choice(["control", "mail"], people)
    score = random.uniform(size=people)
    visited = random.uniform(size=people) < 0.2 + 0.5 * (arm == "mail") * score
    marts = no_labels()
    marts["campaign_outcomes"] = pd.DataFrame(
        {
            "campaign_id": "spring",
            "user_id": [f"u{number}" for number in range(people)],
            "assigned_at": datetime(2024, 2, 1),
            "treatment": arm,
            "propensity": 0.5,
            "is_visited": visited,
            "is_converted": None,
            "spend": np.nan,
            "outcome_at": datetime(2024, 2, 15),
            "covariates": [json.dumps({"x_score": value}) for value in score],
        }
    )
    nothing = events_of(0, 1)
    features(FakeFeatures(nothing.astype({"at": "datetime64[us]"}), marts))
    encoder = train_encoder(WINDOW, {"seed": 1})
    assert "No encoder: The encoder learns from users with at least two events" in encoder.reason
    run = train_model("uplift", encoder.path, WINDOW, {"seed": 1})
    assert set(run.metrics) == {"uplift", "random", "s_learner", "t_learner", "x_learner", "dr_learner"}
    report = (run.path / "report.html").read_text()
    assert "Outcomes gained by how many are addressed" in report
    assert "Effects by tenth of the users" in report
    assert "What choosing by the model is worth" in report
    assert run.metrics["random"]["uplift@30%"] == pytest.approx(0.25, abs=0.15)
    with pytest.raises(TrainingSkipped, match="recommender: `events` carry no encoder"):
        train_model("recommender", encoder.path, WINDOW, {"seed": 1})


@pytest.mark.slow
def test_portrait_learns_from_labels_known_before_the_ones_it_is_asked(features):
    from training.run_portrait import OUTCOME_WINDOW, _learned_and_asked
    from training.runs import train_encoder, train_model

    marts = no_labels()
    marts["next_purchase_labels"] = labels_at([datetime(2024, 1, 31) - timedelta(days=back) for back in (0, 14, 28, 30)])
    traits = [(f"u{user:02d}", "side", "left" if user % 2 else "right", datetime(2024, 1, 1)) for user in range(40)]
    marts["trait_labels"] = pd.DataFrame(traits, columns=["user_id", "trait", "value", "known_at"])
    features(FakeFeatures(events_of(40, 12), marts))

    learned, asked = _learned_and_asked(marts["next_purchase_labels"], OUTCOME_WINDOW, seed=1)
    assert set(asked.labels["label_at"]) == {pd.Timestamp("2024-01-31")}
    assert set(learned.labels["label_at"]) == {pd.Timestamp("2024-01-01")}  # others were not known on 31 January
    encoder = train_encoder(WINDOW, {"epochs": 2, "seed": 1})
    run = train_model("portrait", encoder.path, WINDOW, {"epochs": 2, "seed": 1})
    assert set(run.metrics) == {"portrait", "base rate"}
    assert {"side logloss", "purchase_30d auc", "churn_30d ece"} <= set(run.metrics["portrait"])
    report = (run.path / "report.html").read_text()
    for said in (
        "<caption>side</caption>",
        "<th>unknown</th>",
        "declared left",
        "buys within 30 days, ",
        "interests now, and 30 days before",
    ):
        assert said in report


@pytest.mark.slow
def test_expected_spend_is_served_where_windows_of_90_days_are_over_and_untold_elsewhere(features):
    from training.runs import train_encoder, train_model

    marts = no_labels()
    marts["next_purchase_labels"] = labels_at([datetime(2024, 3, 4), datetime(2024, 6, 3)])
    features(FakeFeatures(events_of(40, 12, days=250), marts))
    said = {}
    for end in (date(2024, 9, 2), date(2024, 6, 1)):  # 90 days after both label times; one too few after the first
        window = (date(2024, 1, 1), end)
        encoder = train_encoder(window, {"epochs": 1, "seed": 1})
        run = train_model("portrait", encoder.path, window, {"epochs": 1, "seed": 1})
        golden = json.loads((run.path / "saved_model" / GOLDEN_FILE).read_text())
        said[end] = golden["outputs"]["expected_spend_90d"], run.metrics
    expected, metrics = said[date(2024, 9, 2)]
    assert expected == pytest.approx([22.5] * 3, rel=0.3)  # an event every fourth day, each worth 1
    assert metrics["portrait"]["spend_90d total_ratio"] == pytest.approx(1, abs=0.2)
    assert {"spend_90d mae", "spend_90d gini"} <= set(metrics["base rate"])
    untold, metrics = said[date(2024, 6, 1)]
    assert np.isnan(untold).all()
    assert not any(name.startswith("spend_90d") for name in metrics["portrait"])


def test_a_window_must_have_a_day_and_holds_its_last_tenth_or_week_back():
    from training.run_folder import TrainingWindow

    with pytest.raises(ValueError, match=r"start must lie before its end\. Received 2024-01-02 to 2024-01-02"):
        TrainingWindow(date(2024, 1, 2), date(2024, 1, 2))
    held = [TrainingWindow(date(2024, 1, 1), date(2024, 1, 1) + timedelta(days=days)) for days in (2, 30, 90)]
    assert [(window.end_at - window.holdout_at).days for window in held] == [1, 3, 7]


def test_a_run_folder_is_whole_or_not_there(house):
    from training.run_folder import TrainingWindow, run_folder

    window = TrainingWindow(*WINDOW)
    with pytest.raises(RuntimeError, match="power cut"), run_folder("recommender", window, 1, "abc") as (draft, final):
        (draft / "half").write_text("x")
        raise RuntimeError("power cut")
    assert list((house / "candidates" / "recommender").iterdir()) == []
    for text in ("first", "second"):
        with run_folder("recommender", window, 1, "abc") as (draft, final):
            (draft / "whole").write_text(text)
    assert (final / "whole").read_text() == "second"
    assert [path.name for path in final.parent.iterdir()] == ["2024-01-01_2024-03-01_s1_abc"]


def test_unknown_models_are_refused_with_the_names_there_are(house):
    from training.runs import train_model

    with pytest.raises(KeyError, match=r"must be one of \['fraud', 'portrait', 'recommender', 'risk', 'uplift'\]\. Received 'gan'"):
        train_model("gan", house, WINDOW)
