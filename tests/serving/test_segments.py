"""Segments of hand-written customers: who is where, what cards say, what is too small to be told, and what leaves the house."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from serving.campaign_files import PLAN, plan_file, write_table
from serving.errors import BadRequest, NotServed, UnknownSegment
from serving.segment_churn import adjusted_rand
from serving.segment_export import export, write_members
from serving.segment_lookalike import lookalikes
from serving.segment_members import OTHER, division, labels, people, segments_said
from serving.segment_rfm import GRID, NAMES, NO_PURCHASE, rfm
from serving.segment_rules import DEFAULT_FILE, segment_rules
from serving.segments import members_of, segment, segments
from settings import get_settings
from tests.serving.fakes import FakeFront
from tests.serving.web_client import caller, consent, day, publish, put, said, shop, visitor

NOW, BEFORE = day("03-01"), day("01-31")
BUYERS, IDLE = 100, 40


def features(at: datetime) -> list[dict[str, Any]]:
    """b000 bought longest ago, least and cheapest, b099 just now, most and dearest; i000 to i039 only looked. A month ago the same, but
    that b000 to b019 had bought nothing yet."""
    rows: list[dict[str, Any]] = []
    for n in range(BUYERS):
        has_bought = at == NOW or n >= 20
        row: dict[str, Any] = {"user_id": f"b{n:03d}", "events_30d": n, "purchases_90d": n // 10 if has_bought else 0, "carts_7d": n % 2}
        row |= {"purchases_total": (n + 1) * has_bought, "spend_total": 10.0 * (n + 1) * has_bought, "spend_90d": 5.0 * n * has_bought}
        row |= {
            "last_purchase_at": at - timedelta(days=BUYERS - n) if has_bought else None,
            "last_event_at": at - timedelta(days=BUYERS - n),
        }
        rows.append(row | {"country": "Germany" if n % 4 else "France", "top_categories": ["toys"] if n % 5 == 0 else ["books"]})
    for n in range(IDLE):
        row = {"user_id": f"i{n:03d}", "events_30d": 1, "purchases_total": 0, "spend_total": 0.0, "spend_90d": 0.0, "purchases_90d": 0}
        rows.append(row | {"last_event_at": at - timedelta(days=3), "carts_7d": None})
    return [row | {"features_at": at, "created_at": at, "events_total": row["events_30d"], "purchases_7d": 0} for row in rows]


def portrait(user: str, at: datetime, name: str) -> dict[str, Any]:
    number = int(user[1:])
    vector = [1.0, number / 100] if user.startswith("b") else [-1.0, number / 100]
    return {"user_id": user, "features_at": at, "created_at": at, "model_version": "2", "vector": vector, "portrait": said(0.5, name)}


@pytest.fixture
def front(house: Path, monkeypatch: pytest.MonkeyPatch) -> FakeFront:
    made = put(monkeypatch, shop())
    monkeypatch.setenv("PORTRAIT_LEAST_SEGMENT", "10")
    get_settings.cache_clear()
    for at in (BEFORE, NOW):
        rows = features(at)
        publish("user_features", rows, at)
        told = [portrait(row["user_id"], at, "buyers" if row["purchases_total"] else "browsers, quiet") for row in rows]
        told[-1]["portrait"] = said(0.5, "alone")  # i039
        publish("user_portraits", told, at)
    publish("user_consents", [{"user_id": f"b{n:03d}", "known_at": BEFORE, "has_marketing_consent": n % 2 == 0} for n in range(BUYERS)])
    return made


def by_hand(values: list[float], value: float) -> int:
    """The fifth by the mean place of equal values."""
    below, equal = sum(one < value for one in values), sum(one == value for one in values)
    return int(np.ceil(5 * (below + (equal + 1) / 2) / len(values) - 1e-9))


@settings(deadline=None)
@given(bought=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9), st.integers(-5, 99)), min_size=1, max_size=40))
def test_every_customers_fifths_and_segment_are_what_a_hand_counts(bought: list[tuple[int, int, int]]) -> None:
    users = pd.DataFrame(
        {
            "last_purchase_at": [NOW - timedelta(days=ago) if times else None for ago, times, _ in bought],
            "purchases_total": [times for _, times, _ in bought],
            "spend_total": [float(paid) for _, _, paid in bought],
        }
    ).astype({"last_purchase_at": "datetime64[us]"})
    found = rfm(users, NOW)
    buyers = [one for one in bought if one[1]]
    for (ago, times, paid), told in zip(bought, found.itertuples(), strict=True):
        if not times:
            assert told.segment == NO_PURCHASE and np.isnan(told.recency)
            continue
        recency = by_hand([-one[0] for one in buyers], -ago)
        frequency, money = by_hand([one[1] for one in buyers], times), by_hand([one[2] for one in buyers], paid)
        assert (told.recency, told.frequency, told.money) == (recency, frequency, money)
        assert told.segment == GRID[5 - recency][(frequency + money + 1) // 2 - 1]
    assert set(found["segment"]) <= set(NAMES)


def test_the_best_buyers_are_champions_and_the_worst_are_lost(front: FakeFront) -> None:
    told = labels("rfm", people(NOW))
    assert (told["b099"], told["b000"], told["b050"], told["i000"]) == ("champions", "lost", "need attention", NO_PURCHASE)
    assert {name for row in GRID for name in row} | {NO_PURCHASE} == set(NAMES)


def test_rules_hold_for_whom_all_of_them_hold_and_what_is_unknown_does_not(front: FakeFront, tmp_path: Path) -> None:
    file = tmp_path / "segments.toml"
    file.write_text(
        '[toys_lately]\nsays = "bought toys within 30 days"\ntop_categories = {has = "toys"}\nlast_purchase_at = {days_ago_at_most = 30}\n'
        'country = {one_of = ["Germany"]}\n[not_french]\nsays = "x"\ncountry = {none_of = ["France"]}\n'
        '[full_carts]\nsays = "x"\ncarts_7d = {at_least = 0, at_most = 0}\nlast_event_at = {days_ago_at_least = 51}\n'
    )
    users = people(NOW).features
    found = {rule.name: users.index[rule.holds(users, NOW)].tolist() for rule in segment_rules(file)}
    assert found["toys_lately"] == [f"b{n:03d}" for n in range(70, 100) if n % 5 == 0 and n % 4]
    assert found["not_french"] == [f"b{n:03d}" for n in range(100) if n % 4]
    assert found["full_carts"] == [f"b{n:03d}" for n in range(50) if n % 2 == 0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[a]\nsays = "x"', r"must have `says`, a text, and at least one feature. Received .* in \[a\]"),
        ('[a]\nsays = "x"\ncolour = {at_least = 1}', "must ask for features of user_features, .*spend_90d.*Received 'colour'"),
        ('[a]\nsays = "x"\nspend_90d = {one_of = ["x"]}', "must ask of `spend_90d` at_least or at_most"),
        ('[a]\nsays = "x"\nspend_90d = {at_least = true}', "must give `spend_90d.at_least` a value of its kind. Received True"),
        ('[a]\nsays = "x"\ncountry = {one_of = "DE"}', "must give `country.one_of` a value of its kind"),
        ("[a", "must be a TOML file"),
    ],
)
def test_a_rule_that_cannot_be_asked_is_refused_by_name(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(BadRequest, match=fault):
        segment_rules(tmp_path / "rules.toml")


def test_the_rules_that_come_with_the_house_can_be_asked() -> None:
    assert [rule.name for rule in segment_rules(DEFAULT_FILE)] == ["full_carts", "silent_big_spenders"]


def test_a_card_says_size_value_difference_traits_interests_and_the_best_offer(front: FakeFront) -> None:
    plan = {
        "user_id": ["b098", "b099", "i000", "i001"],
        "intended_offer": ["coupon", "mail", None, "mail"],
        "expected_profit": [4.0, 7.0, 0.0, 1.0],
    }
    empty = {"segment": [""] * 4, "holdout": [False] * 4, "offer": plan["intended_offer"], "propensity": [0.9] * 4, "cost": [1.0] * 4}
    zeros = {kind: [0.0] * 4 for kind in ("visit_uplift", "conversion_uplift", "spend_uplift")}
    write_table(plan_file(get_settings(), "spring"), plan | empty | zeros, PLAN)
    one = segment(NOW, "champions")
    spend = [5.0 * n for n in range(BUYERS)]
    assert members_of(NOW, "champions") == [f"b{n:03d}" for n in range(100 - one.users, 100)]
    assert one.spend_share == pytest.approx(sum(spend[-one.users :]) / sum(spend))
    means = {line.name: (line.mean, line.overall) for line in one.features}
    assert means["spend_90d"] == (pytest.approx(np.mean(spend[-one.users :])), pytest.approx(sum(spend) / 140))
    line, by = one.differs[0]
    values = pd.DataFrame(features(NOW))[line].astype(float)
    assert by == pytest.approx((values[100 - one.users : 100].mean() - values.mean()) / values.std(ddof=0))
    assert one.traits["gender"]["female"] == (1.0, 1.0) and one.interests["toys"] == (0.5, 0.5)
    assert one.best_offer is not None
    assert (one.best_offer.offer, one.best_offer.users, one.best_offer.expected_profit) == ("mail", 1, 7.0)
    assert segment(NOW, NO_PURCHASE).best_offer is not None
    with pytest.raises(UnknownSegment, match=r"`portrait segments list` shows. Received 'nobody'"):
        segment(NOW, "nobody")


def test_no_segment_of_too_few_is_told_nor_can_be_told_from_what_is_missing(front: FakeFront) -> None:
    """i039 is alone: with the next smallest segment it is enough, so nobody can take the shown ones from all and find it."""
    found = segments(NOW)
    assert [(one.name, one.users) for one in found.segments] == [("buyers", 100), (OTHER, 40)]
    assert found.pooled == 2
    everyone = people(NOW)
    parts = division("rfm", everyone, 25)
    assert min(len(users) for users in parts.members.values()) >= 25
    assert sum(len(users) for users in parts.members.values()) == 140
    assert division("rules", everyone, 141).members == {}
    assert division("learned", everyone, 141).members == {}


def test_every_customers_own_segments_are_said_for_the_daily_scoring(front: FakeFront) -> None:
    told = segments_said(NOW)
    assert {user: own["rfm"] for user, own in told.items()} == labels("rfm", people(NOW)).to_dict()
    assert told["b099"]["rules"] == ["full_carts"] and told["b001"]["rules"] == ["full_carts"]  # carts and no purchase in 7 days
    assert (told["b080"]["rules"], told["b075"]["rules"]) == (["silent_big_spenders"], ["full_carts", "silent_big_spenders"])


def test_churn_tells_who_moved_and_who_moved_although_nothing_had_changed(front: FakeFront) -> None:
    learned = segments(NOW).churn
    assert learned is not None
    assert (learned.since, learned.users, learned.moved) == (BEFORE, 140, 20 / 140)
    assert (learned.unchanged, learned.unchanged_moved) == (120, 0.0)
    told = [people(at) for at in (BEFORE, NOW)]
    before, after = (labels("rfm", one) for one in told)
    by_rfm = segments(NOW, "rfm").churn
    assert by_rfm is not None and by_rfm.moved == np.mean(before != after)
    assert by_rfm.agreement == pytest.approx(adjusted_rand_score(before, after))
    assert segments(NOW, "rules").churn is None and segments(BEFORE).churn is None


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=2, max_size=40))
def test_the_adjusted_rand_index_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    before, after = (pd.Series([pair[side] for pair in pairs]) for side in (0, 1))
    assert adjusted_rand(before, after) == pytest.approx(adjusted_rand_score(before, after))


def test_only_who_agreed_to_marketing_leaves_the_house_and_never_a_group_of_too_few(front: FakeFront) -> None:
    written = export("rfm", NOW)
    rows = pq.read_table(written.path, partitioning=None).to_pylist()
    assert {row["user_id"] for row in rows} == {f"b{n:03d}" for n in range(0, 100, 2)}
    assert written.without_consent == 90 and min(written.rows.values()) >= 10
    counted = pd.Series([row["segment"] for row in rows]).value_counts().to_dict()
    assert counted == written.rows
    content = written.path.read_bytes()
    assert export("rfm", NOW).path.read_bytes() == content
    text = export("learned", NOW, "csv")
    assert text.rows == {"buyers": 50} and pa_csv.read_csv(text.path).num_rows == 50


def test_nothing_is_exported_where_no_consents_are_known(front: FakeFront) -> None:
    for file in (get_settings().offline_dir / "user_consents").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(NotServed, match=r"Customers leave the house only where consents are known"):
        export("rfm", NOW)


@pytest.mark.parametrize("method", ["propensity", "vector"])
def test_lookalikes_are_like_the_given_ones_and_a_held_out_part_proves_it(front: FakeFront, method: Any) -> None:
    given_ones = [f"b{n:03d}" for n in range(60, 100)]
    found = lookalikes(given_ones, 20, NOW, method)
    assert all(int(user[1:]) % 2 == 0 and user.startswith("b") and user not in given_ones for user in found.users)
    assert (found.seeds, found.searched) == (40, 140 - 40 + found.held_out)
    assert found.lift == pytest.approx(found.found / 20 * found.searched / found.held_out)
    assert found.lift_low < found.lift < found.lift_high and found.lift > 2
    assert list(found.scores) == sorted(found.scores, reverse=True)


def test_lookalikes_of_customers_drawn_by_lot_have_no_lift(front: FakeFront) -> None:
    drawn = np.random.default_rng(2).choice([f"b{n:03d}" for n in range(100)] + [f"i{n:03d}" for n in range(40)], 60, replace=False)
    found = lookalikes(drawn, 20, NOW)
    assert found.lift_low < 1 < found.lift_high


def test_lookalikes_of_too_few_or_for_too_few_are_refused(front: FakeFront) -> None:
    with pytest.raises(BadRequest, match=r"at least 30 given customers that are known, and others beside them. Received 2 of 140"):
        lookalikes(["b001", "b002", "nobody"], 20, NOW)
    with pytest.raises(BadRequest, match=r"`k` must be at least 10"):
        lookalikes([f"b{n:03d}" for n in range(60, 100)], 9, NOW)


def test_lookalikes_of_whom_too_few_agreed_are_no_list_at_all(front: FakeFront) -> None:
    """`k` is large enough, but of those who are not given only nine agreed: nine people are no segment."""
    given_ones = [f"b{n:03d}" for n in range(60, 100)]
    for agreed, is_enough in ((9, False), (10, True)):
        publish("user_consents", [consent(user) for user in [*given_ones, *(f"i{n:03d}" for n in range(agreed))]])
        if is_enough:
            assert len(lookalikes(given_ones, 20, NOW).users) == agreed
            continue
        with pytest.raises(
            BadRequest, match=r"Lookalikes must be at least 10, the least size of a segment. Received 9 not given ones who agreed"
        ):
            lookalikes(given_ones, 20, NOW)


def test_a_segment_or_a_customer_that_reads_as_a_formula_is_text_in_a_csv(tmp_path: Path) -> None:
    members = {"=cmd()": ["u1", "+1"], "plain": ["@SUM(A1)"]}
    for suffix, cells in (("csv", {("'=cmd()", "'+1"), ("'=cmd()", "u1"), ("plain", "'@SUM(A1)")}), ("parquet", None)):
        write_members(tmp_path / f"s.{suffix}", "learned", NOW, members)
        read = pa_csv.read_csv if suffix == "csv" else pq.read_table
        rows = read(tmp_path / f"s.{suffix}").to_pylist()
        wanted = cells or {(name, user) for name, users in members.items() for user in users}
        assert {(row["segment"], row["user_id"]) for row in rows} == wanted


def test_the_api_shows_cards_to_whoever_may_read_portraits(front: FakeFront) -> None:
    told = caller("read:portrait").get("/v1/segments", params={"kind": "rfm"}).json()
    assert told["kind"] == "rfm" and told["users"] == 140 and told["churn"]["users"] == 140
    assert sum(card["users"] for card in told["segments"]) == 140
    one = caller("read:portrait").get("/v1/segments/no purchase yet").json()
    assert (one["kind"], one["users"], one["share"]) == ("rfm", 40, 40 / 140)
    assert "examples" not in one and "b099" not in json.dumps(told)
    missing = caller("read:portrait").get("/v1/segments/nobody")
    assert (missing.status_code, missing.json()["type"]) == (404, "/docs#unknown-segment")
    assert caller("read:offers").get("/v1/segments").status_code == 403
    assert caller("read:portrait").get("/v1/segments", params={"kind": "magic"}).status_code == 422


@pytest.mark.parametrize("kind", ["rfm", "rules"])
def test_before_anything_was_known_there_are_no_segments_and_no_fault(front: FakeFront, kind: Any) -> None:
    found = segments(day("01-01").replace(year=1), kind)
    assert (found.users, found.segments, found.churn) == (0, (), None)
    early = caller("read:portrait").get("/v1/segments", params={"as_of": "2023-01-01"})  # learned ones need a stored portrait
    assert (early.status_code, early.json()["type"]) == (404, "/docs#unknown-segment")


@pytest.mark.parametrize(("language", "champions"), [("en", "champions"), ("zh", "重要价值客户")])
def test_the_page_shows_a_card_each(front: FakeFront, language: str, champions: str) -> None:
    person = visitor(language=language)
    text = person.get("/segments", params={"kind": "rfm"}).text
    assert f">{champions}</a>" in text and "kind=rfm&amp;name=champions" in text
    assert champions in person.get("/segments", params={"kind": "rfm", "name": "champions"}).text
    assert "full carts" in person.get("/segments", params={"kind": "rules"}).text


def test_before_days_are_scored_the_page_opens_with_recency_frequency_and_money(front: FakeFront) -> None:
    publish("user_portraits", [])
    listed = visitor().get("/segments").text
    assert "No segments yet" not in listed and 'href="/segments?kind=rfm" aria-current="page"' in listed
    assert "No segments yet" in visitor().get("/segments?kind=learned").text
