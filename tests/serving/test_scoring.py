"""Daily portraits: from the served model into the landing table, the mart, and the question of what changed."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serving import scoring, stored_portraits
from serving.errors import NotServed
from sources.files import read_table
from tests.dbt_project.small_shop import day as day_at
from tests.serving.fakes import Answer
from training.signatures import USER_FEATURES

USERS = ["ann", "bob", "cleo"]


class FakeClient:
    """Answers as a portrait model would; `likes` decides the interests."""

    likes = "toys"
    asked: list[dict[str, Any]] = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, _target: str) -> None:
        return

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def predict(self, model: str, inputs: dict[str, Any], **_: Any) -> Answer:
        assert model == "portrait"
        self.asked.append(inputs)
        batch = len(inputs["as_of_us"])
        both = [self.likes, "books" if self.likes == "toys" else "toys"]
        chances = {name: np.linspace(0.1, 0.3, batch) for name in scoring.PROBABILITIES}
        spend = np.where(np.arange(batch) == 0, 12.34567, np.nan)
        return Answer(
            vector=np.tile([0.5, -0.5], (batch, 1)),
            trait_names=np.array([["gender"]] * batch, object),
            trait_values=np.array([[["male", "female", ""]]] * batch, object),
            trait_probabilities=np.tile(np.float32([0.30001, 0.69999, 0.0]), (batch, 1, 1)),
            trait_choices=np.array([["female"]] * batch, object),
            interest_categories=np.array([both] * batch, object),
            interest_shares=np.tile([0.75, 0.25], (batch, 1)),
            interest_alarm=np.zeros(batch, np.int32),
            next_category=np.array([self.likes] * batch, object),
            segment=np.array(["browsers, quiet"] * batch, object),
            expected_spend_90d=spend,
            **chances,
        )


@pytest.fixture
def served(house: Path, monkeypatch: pytest.MonkeyPatch) -> type[FakeClient]:
    """A house with three known users and a served portrait model."""
    from feature_repo import frames
    from serving import model_client, segment_members

    def frame(service: str, labels: pd.DataFrame) -> pd.DataFrame:
        assert service == "portrait_v1"
        lists = {"event_item_ids": ["a"], "event_types": ["view"], "event_times_us": [1]}
        known = {name: pd.Series([value] * len(labels)) for name, value in lists.items()}
        return labels.assign(**known, **dict.fromkeys(USER_FEATURES, 1.0))

    monkeypatch.setattr(frames, "rows_as_of", lambda _view, _at: pd.DataFrame({"user_id": USERS}))
    monkeypatch.setattr(frames, "training_frame", frame)
    monkeypatch.setattr(segment_members, "segments_said", lambda _at: {"ann": {"rfm": "champions", "rules": ["full_carts"]}})
    monkeypatch.setattr(model_client, "ModelClient", FakeClient)
    monkeypatch.setattr(FakeClient, "asked", [])
    monkeypatch.setattr(scoring, "BATCH", 2)
    return FakeClient


def landed(house: Path) -> list[dict[str, Any]]:
    return read_table(house / "landing", "portraits").to_pylist()


def test_a_day_scores_every_known_user_in_batches_and_again_replaces_itself(served: type[FakeClient], house: Path) -> None:
    scored = scoring.score(date(2024, 2, 1))
    assert (scored.users, scored.model_version) == (3, 3)
    assert [len(inputs["as_of_us"]) for inputs in served.asked] == [2, 1]
    assert set(served.asked[0]) >= {"event_item_ids", *USER_FEATURES}
    first = landed(house)
    assert [row["user_id"] for row in first] == USERS
    assert {row["as_of"] for row in first} == {day_at("02-01")}
    assert first[0]["vector"] == [0.5, -0.5]
    assert json.loads(first[0]["portrait"]) == {
        "traits": {"gender": "female"},
        "trait_probabilities": {"gender": {"male": 0.3, "female": 0.7}},
        "interests": {"toys": 0.75, "books": 0.25},
        "interest_alarm": False,
        "next_category": "toys",
        "segment": "browsers, quiet",
        **dict.fromkeys(scoring.PROBABILITIES, 0.1),
        "expected_spend_90d": 12.3457,
        "segments": {"rfm": "champions", "rules": ["full_carts"]},
    }
    assert json.loads(first[1]["portrait"])["expected_spend_90d"] is None  # the model did not say
    scoring.score(date(2024, 2, 1))
    assert landed(house) == first


def test_no_served_model_is_said_so(served: type[FakeClient], house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.model_client import ModelUnavailable

    def away(*_: object, **__: object) -> Answer:
        raise ModelUnavailable("no portrait model at 127.0.0.1:8500")

    monkeypatch.setattr(served, "predict", away)
    with pytest.raises(NotServed, match=r"Scoring asks the served portrait model\. no portrait model at"):
        scoring.score(date(2024, 2, 1))
    assert not (house / "landing" / "portraits").exists()


@pytest.mark.slow
def test_portraits_reach_the_mart_and_answer_what_changed(served: type[FakeClient], house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from feature_repo import frames
    from feature_repo.export import export_marts
    from quality.transform import build
    from tests.dbt_project.small_shop import FIRST, LAST, deliveries, load

    delivered, days = deliveries(), (date(2024, 1, 20), date(2024, 1, 25))
    for day, likes in zip(days, ("toys", "books"), strict=True):
        monkeypatch.setattr(served, "likes", likes)
        scoring.score(day)
    for row in landed(house):
        delivered.setdefault(row["as_of"].date(), {}).setdefault("portraits", []).append(
            {name: row[name] for name in ("user_id", "as_of", "model_version", "vector", "portrait")}
        )
    monkeypatch.undo()
    monkeypatch.setenv("PORTRAIT_HOME", str(house))
    load(delivered, FIRST, days[1])
    build(FIRST, days[1])
    load(delivered, days[1], LAST + timedelta(days=1))
    build(days[1], LAST + timedelta(days=1))
    export_marts(FIRST, LAST + timedelta(days=1))
    known = frames.rows_as_of("user_portraits", day_at("01-24"))
    known = known[known["user_id"].isin(USERS)].reset_index(drop=True)  # the small shop's own portrait stands beside them
    assert known["user_id"].tolist() == USERS
    assert set(known["features_at"]) == {pd.Timestamp("2024-01-20")}
    assert json.loads(known["portrait"][0])["next_category"] == "toys"
    assert stored_portraits.changes("ann", date(2024, 1, 24), date(2024, 1, 27)) == {
        "interests.books": (0.25, 0.75),
        "interests.toys": (0.75, 0.25),
        "next_category": ("toys", "books"),
    }
    assert stored_portraits.changes("ann", date(2024, 1, 2), date(2024, 1, 24))["segment"] == (None, "browsers, quiet")
    assert stored_portraits.changes("ann", date(2024, 1, 21), date(2024, 1, 22)) == {}
