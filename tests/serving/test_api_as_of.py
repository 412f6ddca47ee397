"""Portraits as they were known: of a past day, over days, and by segment. The rows are few enough to check by hand."""

import random
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from feature_repo.contract import PORTRAITS, mart
from feature_repo.frames import rows_as_of
from feature_repo.published import connect
from serving import stored_portraits
from serving.errors import NotServed, UnknownUser
from serving.segments import segments
from tests.serving.fakes import FakeFront
from tests.serving.web_client import caller, day, furnish, publish, put, said, shop


@pytest.fixture
def front(house: Path, monkeypatch: pytest.MonkeyPatch) -> FakeFront:
    furnish()
    return put(monkeypatch, shop())


@pytest.fixture
def client(front: FakeFront) -> TestClient:
    return caller("read:portrait")


@pytest.mark.parametrize(
    ("as_of", "spend", "toys", "told_at", "version"),
    [
        ("2024-02-04", 5.0, None, None, None),
        ("2024-02-05", 5.0, 0.25, "2024-02-05T00:00:00Z", 2),
        ("2024-02-19T23:59:59Z", 5.0, 0.25, "2024-02-05T00:00:00Z", 2),
        ("2024-02-20T01:00:00+02:00", 5.0, 0.25, "2024-02-05T00:00:00Z", 2),
        ("2024-02-20", 12.5, 0.5, "2024-02-20T00:00:00Z", 2),
        ("2024-02-21", 12.5, 0.5, "2024-02-20T00:00:00Z", 2),
        ("2024-02-22", 12.5, 0.75, "2024-02-20T00:00:00Z", 3),
        ("2025-01-01", 12.5, 0.75, "2024-02-20T00:00:00Z", 3),
    ],
)
def test_as_of_a_time_says_what_was_known_by_then_and_no_more(
    client: TestClient, as_of: str, spend: float, toys: float | None, told_at: str | None, version: int | None
) -> None:
    body = client.get("/v1/users/ann/portrait", params={"as_of": as_of}).json()
    assert body["known"]["spend_90d"] == spend
    if toys is None:
        assert body["inferred"] is None
        assert body["note"] == "no portrait of this user had been stored by 2024-02-04 00:00: the daily scoring writes one a day"
        return
    told = body["inferred"]
    assert (told["source"], told["told_at"], told["model_version"], told["interests"]["toys"]) == ("stored", told_at, version, toys)
    shares = [{}, {}] if version == 2 else [{"18-24": 0.5, "25-34": 0.5}, {"female": 0.75, "male": 0.25}]
    assert told["traits"] == [
        {"name": "age_band", "value": None, "probabilities": shares[0]},
        {"name": "gender", "value": "female", "probabilities": shares[1]},
    ]
    assert list(told["traits"][1]["probabilities"]) == list(shares[1])  # most likely first


def test_todays_model_is_never_asked_about_the_past(client: TestClient, front: FakeFront) -> None:
    client.get("/v1/users/ann/portrait?as_of=2024-02-21")
    assert front.asked == []


def test_a_customer_is_unknown_before_the_first_record(client: TestClient) -> None:
    assert client.get("/v1/users/ann/portrait?as_of=2024-01-31").status_code == 404
    with pytest.raises(UnknownUser, match="Received 'nobody'"):
        stored_portraits.show_as_of("nobody", day("03-01"))


def test_a_quote_in_an_id_is_only_a_letter(front: FakeFront) -> None:
    with pytest.raises(UnknownUser):
        stored_portraits.show_as_of("ann' or '1'='1", day("03-01"))
    assert stored_portraits.timeline("ann' or '1'='1") == []


def test_the_timeline_has_each_day_once_as_known_last(front: FakeFront) -> None:
    told = stored_portraits.timeline("ann")
    assert [(one.told_at, one.inferred.interests["toys"]) for one in told] == [(day("02-05"), 0.25), (day("02-20"), 0.75)]
    before = stored_portraits.timeline("ann", day("02-21"))
    assert [one.inferred.interests["toys"] for one in before] == [0.25, 0.5]
    assert list(told[1].inferred.interests) == ["toys", "books"]


def test_without_published_features_the_way_out_is_named(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.shop_front import ShopFront

    monkeypatch.setattr("serving.shop_front.OnlineFeatures", lambda: None)
    with pytest.raises(NotServed, match=r"Run the `ingest` DAG"):
        stored_portraits.show_as_of("ann", day("03-01"), shop=ShopFront())


def test_segments_are_counted_and_compared_with_everybody(front: FakeFront) -> None:
    found = segments(day("03-01"))
    assert (found.users, found.told_at, found.model_versions) == (2, day("02-20"), ("2", "3"))
    assert [(one.name, one.users, one.share) for one in found.segments] == [("browsers, quiet", 1, 0.5), ("buyers", 1, 0.5)]
    buyers = found.segments[1]
    assert buyers.examples == ("ann",)
    spend = next(line for line in buyers.features if line.name == "spend_90d")
    assert (spend.mean, spend.overall, spend.ratio) == (12.5, 6.25, 2.0)
    chance = next(line for line in buyers.probabilities if line.name == "churn_probability_7d")
    assert (chance.mean, chance.overall) == (0.9, pytest.approx(0.5))
    assert buyers.interests["toys"] == (0.75, pytest.approx(0.425))
    assert buyers.traits["gender"] == {"female": (1.0, 1.0)}


def test_segments_before_a_portrait_was_stored_are_refused_with_the_way_out(front: FakeFront) -> None:
    with pytest.raises(NotServed, match=r"Segments need stored portraits, .* Run the `score` DAG"):
        segments(day("01-15"))


def test_what_changed_is_told_line_by_line_and_reads_no_portrait_of_others(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from feature_repo import frames

    monkeypatch.delattr(frames, "rows_as_of")  # everybody's
    asked = {"since": "2024-02-06", "until": "2024-02-22"}
    body = client.get("/v1/users/ann/portrait/changes", params=asked).json()
    told = {change["line"]: (change["then"], change["now"]) for change in body["changes"]}
    assert told["interests.toys"] == (0.25, 0.75) and told["segment"] == ("browsers, quiet", "buyers")
    assert told["trait_probabilities.gender.female"] == (None, 0.75)  # was not stored then
    assert "traits.gender" not in told and "next_category" not in told
    assert (
        client.get("/v1/users/ann/portrait/changes", params=asked | {"since": "2024-02-22", "until": "2024-02-23"}).json()["changes"] == []
    )
    assert client.get("/v1/users/bob/portrait/changes", params=asked).json()["changes"] != []


def test_reading_the_newest_files_first_finds_what_reading_all_of_them_would(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Late corrections, users who were silent for long, several of a day; beside `rows_as_of`, which reads everything."""
    generator = random.Random(3)
    begin, rows = day("01-01"), {}
    for user in ("ann", "bob", "cleo"):
        for _ in range(25 if user != "cleo" else 2):
            told = begin + timedelta(days=generator.randrange(60))
            known = told + timedelta(days=generator.choice((0, 0, 0, 1, 20)), hours=generator.choice((0, 0, 5)))
            rows[user, told, known] = {"user_id": user, "features_at": told, "created_at": known, "portrait": said(generator.random())}
    publish(PORTRAITS, list(rows.values()))
    opened: list[int] = []
    day_files = stored_portraits.day_files
    monkeypatch.setattr(stored_portraits, "day_files", lambda *asked: opened.append(len(day_files(*asked))) or day_files(*asked))
    monkeypatch.setattr(stored_portraits, "FILES_FIRST", 1)
    for asked in (begin + timedelta(days=number, hours=hour) for number in range(-1, 85, 3) for hour in (0, 3)):
        everybody = rows_as_of(PORTRAITS, asked).set_index("user_id")
        for user in ("ann", "bob", "cleo", "nobody"):
            with connect() as connection:
                found = stored_portraits._as_known(connection, mart(PORTRAITS), user, asked)
            assert (found and found["portrait"]) == (everybody["portrait"].get(user)), (user, asked)
    assert max(opened) > 20
