"""Plans: only who agreed, wanted and rested; holdouts by chance alone; totals that the rows add up to; and what files and forms may say."""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serving.campaign_files import PLAN, folder, plan_file, read_table
from serving.campaign_plan import plan, read_plan
from serving.campaign_request import EXAMPLE, CampaignRequest, request_of
from serving.errors import BadRequest, NotServed
from settings import get_settings
from tests.serving.campaign_house import CONTACTED, EXCLUDED, REFUSED, UNASKED, USERS, CampaignFront, asked, house
from tests.serving.web_client import caller, consent, day, publish, put, visitor


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CampaignFront:
    return house(tmp_path, monkeypatch)


def rows(name: str = "spring") -> pd.DataFrame:
    return read_table(plan_file(get_settings(), name)).to_pandas()


def test_only_who_agreed_is_wanted_and_was_left_in_peace_is_planned_for(front: CampaignFront) -> None:
    made = plan(asked(), shop=front)
    assert set(rows()["user_id"]) == set(USERS) - {UNASKED, REFUSED, EXCLUDED, CONTACTED}
    assert made.left_out == {
        "no marketing consent": 2, "excluded by id": 1, "excluded by segment": 0, "not of the audience": 0, "contacted lately": 1,
    }  # fmt: skip
    assert CONTACTED in set(plan_rows(front, fatigue_days=3)["user_id"])  # 5 days ago


def plan_rows(front: CampaignFront, **more: object) -> pd.DataFrame:
    plan(asked(**more), shop=front)
    return rows()


def test_a_consent_that_is_taken_back_counts_from_the_next_plan_on(front: CampaignFront) -> None:
    assert "u10" in set(plan_rows(front)["user_id"])
    publish("user_consents", [consent(user) for user in USERS if user != "u10"])
    assert "u10" not in set(plan_rows(front)["user_id"])


def test_without_anybodys_consent_nothing_is_planned(front: CampaignFront) -> None:
    publish("user_consents", [])
    with pytest.raises(NotServed, match="By `consent_marketing` of `users` nobody did"):
        plan(asked(), shop=front)


def test_the_rows_have_the_contracts_columns_and_add_up_to_the_totals(front: CampaignFront) -> None:
    made = plan(asked(), shop=front)
    assert read_table(plan_file(get_settings(), "spring")).schema.names == PLAN.names
    found = rows()
    sent = found[found["offer"].notna()]
    assert made.treated == {"coupon": (sent["offer"] == "coupon").sum(), "mail": (sent["offer"] == "mail").sum()}
    assert made.planned_cost == pytest.approx(sent["cost"].sum())
    assert made.planned_cost <= 5.0
    assert made.expected_profit == pytest.approx((0.5 * sent["spend_uplift"] - sent["cost"]).sum())
    assert made.expected_profit == pytest.approx(made.value)
    assert sum(group["users"] for group in made.groups) == (~found["holdout"]).sum() == made.audience - made.held_out
    assert read_plan("spring", get_settings()) == made.__class__(**vars(made) | {"path": read_plan("spring", get_settings()).path})


def test_an_offer_whose_cost_nobody_knows_is_named(front: CampaignFront, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, front)
    made = plan(asked(), shop=front)  # past campaigns tell what a coupon costs
    assert made.without_cost == ("mail",) == read_plan("spring", get_settings()).without_cost
    assert made.as_text().endswith("Cost of mail unknown, counted as 0: say it in `costs`.")
    assert json.loads((folder(get_settings(), "spring") / "plan.json").read_text())["without_cost"] == ["mail"]
    assert "Cost unknown, counted as 0: mail." in visitor("marketing").get("/campaigns/spring").text
    assert caller("marketing").get("/v1/campaigns/spring").json()["plan"]["without_cost"] == ["mail"]
    for known in ({"costs": {"mail": 0.0}}, {"offers": [{"name": "mail", "contact_cost": 0.1}]}, {"offers": [{"name": "coupon"}]}):
        made = plan(asked(**known), shop=front)
        assert made.without_cost == ()
        assert "unknown" not in made.as_text()


def test_segments_of_too_few_are_counted_together(front: CampaignFront, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(least: int) -> dict[str, int]:
        monkeypatch.setattr(front, "settings", get_settings().model_copy(update={"least_segment": least}))
        found: Counter[str] = Counter()
        for group in plan(asked(), shop=front).groups:
            found[group["segment"]] += group["users"]
        return dict(found)

    every = shown(1)
    assert set(every) == {"buyers", "quiet"}
    fewest = min(every.values())
    assert shown(fewest) == every
    assert shown(fewest + 1) == {"other": sum(every.values())}  # the small one would be told by what is missing, were the other shown
    written = json.loads((folder(get_settings(), "spring") / "plan.json").read_text())
    assert {group["segment"] for group in written["groups"]} == {"other"}


def test_the_holdout_gets_nothing_and_would_have_got_what_the_same_price_gives(front: CampaignFront) -> None:
    made = plan(asked(holdout=0.3), shop=front)
    found = rows()
    held = found[found["holdout"]]
    assert held["offer"].isna().all()
    assert (found["propensity"] == np.where(found["holdout"], 0.3, 0.7)).all()
    worth = found["user_id"].str[1:].astype(int) * 0.5 - 0.5  # of a coupon: half of the spend less its mean cost in the past
    mail = found["user_id"].str[1:].astype(int) * 0.25
    gets = np.where(np.maximum(worth - made.price * 0.5, mail) > 0, np.where(worth - made.price * 0.5 > mail, "coupon", "mail"), None)
    assert held["intended_offer"].tolist() == gets[found["holdout"]].tolist()


def test_a_least_holdout_is_drawn_by_the_same_hash(front: CampaignFront) -> None:
    few, many = plan_rows(front, holdout=0.2), plan_rows(front, holdout=0.2, holdout_users=15)
    assert many["holdout"].sum() == 15
    assert set(few.loc[few["holdout"], "user_id"]) < set(many.loc[many["holdout"], "user_id"])
    assert many.loc[many["holdout"], "propensity"].tolist() == [15 / len(many)] * 15


def test_the_same_request_gives_the_same_plan_and_another_name_another_holdout(front: CampaignFront) -> None:
    first = plan_rows(front)
    assert plan_rows(front).equals(first)
    plan(asked(name="autumn"), shop=front)
    assert rows("autumn")["holdout"].tolist() != first["holdout"].tolist()


def test_quotas_channels_and_the_audience_are_kept(front: CampaignFront) -> None:
    offers = [{"name": "coupon", "channel": "coupon", "redemption_cost": 1.0}, {"name": "mail", "contact_cost": 0.2}]
    quotas = [{"segment": "quiet", "most": 2}, {"segment": "buyers", "least_share": 0.5}]
    more = {
        "offers": offers,
        "quotas": quotas,
        "channel_budgets": {"coupon": 1.5},
        "budget": 4.0,
        "audience": {"purchases_total": {"min": 6}},
    }
    found = plan_rows(front, **more)
    assert found["user_id"].min() == "u06"
    given = found[found["offer"].notna()]
    assert (given["segment"] == "quiet").sum() <= 2
    free = found[~found["holdout"] & (found["segment"] == "buyers")]
    assert (given["segment"] == "buyers").sum() >= len(free) / 2
    assert given.loc[given["offer"] == "coupon", "cost"].sum() <= 1.5 + 1e-6
    coupon = given[given["offer"] == "coupon"].iloc[0]
    chance = min(0.5 + coupon["conversion_uplift"], 1.0)  # buys anyway with 0.5, by the stored portrait
    assert coupon["cost"] == pytest.approx(0.5 + 1.0 * chance)


def test_before_any_portrait_is_stored_segments_are_those_of_recency_frequency_and_money(front: CampaignFront) -> None:
    publish("user_portraits", [])
    bought = [
        {"user_id": user, "features_at": day("02-20"), "created_at": day("02-20"), "events_total": 1, "country": "NO"}
        | ({"purchases_total": n, "spend_total": float(n), "last_purchase_at": day("02-01") + timedelta(days=n)} if n >= 10 else {})
        for n, user in enumerate(USERS)
    ]
    publish("user_features", bought, day("02-20"))
    segments = plan_rows(front, quotas=[{"segment": "champions", "most": 1}]).set_index("user_id")["segment"]
    assert (segments["u00"], segments["u29"]) == ("no purchase yet", "champions")


def test_several_offers_for_a_user_are_an_arm_of_their_own(front: CampaignFront) -> None:
    found = plan_rows(front, offers_per_user=2, budget=1000.0)
    both = found[found["offer"] == "coupon+mail"].iloc[-1]
    number = int(both["user_id"][1:])
    assert both["spend_uplift"] == pytest.approx(number * 1.5)
    assert both["cost"] == pytest.approx(0.5)


def untold(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """Past campaigns never delivered these outcomes: the model says NaN."""
    asked_of = CampaignFront.predict

    def predict(self: CampaignFront, *given: Any, **chosen: Any) -> Any:
        answer = asked_of(self, *given, **chosen)
        answer.update({kind: np.full_like(answer[kind], np.nan) for kind in kinds})
        return answer

    monkeypatch.setattr(CampaignFront, "predict", predict)


@pytest.mark.parametrize(
    ("kinds", "more", "message"),
    [
        (
            ["spend_uplift"],
            {},
            r"told: \['conversions', 'visits'\]. Received 'profit', and `spend` of campaign_exposures was not delivered",
        ),
        (["visit_uplift"], {"objective": "visits"}, r"told: \['profit', 'conversions'\]. Received 'visits', and `visited` of"),
        (
            ["conversion_uplift", "visit_uplift"],
            {"objective": "conversions"},
            r"told: \['profit'\]. Received 'conversions', and `converted`",
        ),
        (["conversion_uplift"], {"offers": [{"name": "mail", "redemption_cost": 1.0}]}, r"`redemption_cost` needs .* of \['mail'\]"),
    ],
)
def test_an_outcome_that_was_never_told_is_asked_for_by_name(
    front: CampaignFront, monkeypatch: pytest.MonkeyPatch, kinds: list[str], more: dict, message: str
) -> None:
    untold(monkeypatch, *kinds)
    with pytest.raises(BadRequest, match=message):
        plan(asked(**more), shop=front)


def test_a_plan_for_what_is_known_says_of_the_rest_that_it_is_unknown(front: CampaignFront, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = plan(asked(), shop=front)
    untold(monkeypatch, "conversion_uplift")
    made = plan(asked(), shop=front)
    assert (made.expected_conversions, made.treated) == (None, usual.treated)
    assert (made.planned_cost, made.expected_profit) == (usual.planned_cost, usual.expected_profit)
    untold(monkeypatch, "conversion_uplift", "spend_uplift")
    made = plan(asked(objective="visits"), shop=front)
    assert (made.expected_spend, made.expected_profit) == (None, None)
    assert made.expected_visits == pytest.approx(made.value)
    assert "expected added spend unknown, expected profit unknown" in made.as_text()
    written = (folder(get_settings(), "spring") / "plan.json").read_text()
    assert "NaN" not in written
    assert rows()["spend_uplift"].isna().any()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("objective", "fame", r"`objective` must be one of \['profit', 'conversions', 'visits'\]. Received 'fame'"),
        ("offers", [{"name": "x", "channel": "pigeon"}], r"An offer's `channel` must be one of .* Received 'pigeon'"),
        ("offers", [{"name": "x", "contact_cost": -1}], "`contact_cost` of x must be zero or more. Received -1"),
        ("offers", [{"name": "x"}, {"name": "x"}], "Each offer must be named once"),
        ("offers", [{"title": "x"}], "A campaign must have its fields as in campaign.toml"),
        ("quotas", [{"segment": "s", "least": 3, "most": 2}], "0 <= `least` <= `most` must hold. Received 3"),
        ("channel_budgets", {"pigeon": 1.0}, "`channel_budgets` must be of"),
        ("offers_per_user", 9, "`offers_per_user` must be from 1 to 3. Received 9"),
        ("audience", {"country": "NO"}, "`audience.country` must be a list of values, or min and max. Received 'NO'"),
        ("ends_on", "2024-01-01", "`ends_on` must not be before `starts_on`"),
        ("bugdet", 1.0, r"A campaign may have .* Received \['bugdet'\]. See campaign.toml"),
    ],
)
def test_a_campaign_that_breaks_a_rule_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        CampaignRequest.of({"name": "spring", "budget": 1.0, "starts_on": "2024-02-01", field: value})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"audience": {"colour": ["red"]}}, "`audience` must name `segment` or columns of user_features"),
        ({"audience": {"country": {"min": 1}}}, "`min` and `max` must be of a column of numbers. Received `audience.country`"),
        ({"quotas": [{"segment": "quiet", "least": 10**30}]}, "A segment's least must be at most its users and its most"),
        ({"audience": {"country": ["SE"]}}, "Of 30 known users nobody is left: 2 no marketing consent, 1 excluded by id, 27 not of the"),
        ({"offers": [{"name": "balloon"}]}, r"`offers` must name offers of this shop, \['coupon', 'mail'\]. Received \['balloon'\]"),
        ({"costs": {"balloon": 1.0}}, r"`costs` must name offers of this shop"),
        ({"quotas": [{"segment": "kings"}]}, r"A quota must be of a segment of the audience, \['buyers', 'quiet'\]. Received 'kings'"),
        ({"quotas": [{"segment": "quiet", "least": 9}], "budget": 0.1, "offers": [{"name": "coupon"}]}, "At least it costs 4.50 of 0.10"),
        ({"holdout_users": 99}, "all 26 are held out: lower `holdout`"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_and_leaves_nothing(front: CampaignFront, more: dict, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        plan(asked(**more), shop=front)
    assert not plan_file(get_settings(), "spring").exists()


def test_a_file_is_read_as_the_example_shows_and_goes_round(tmp_path: Path) -> None:
    made = request_of(EXAMPLE)
    assert (made.name, made.offers[0].redemption_cost, made.channel_budgets) == ("spring", 2.0, {"ad": 300.0})
    (tmp_path / "c.json").write_text(json.dumps(made.as_dict()))
    assert request_of(tmp_path / "c.json") == made
    (tmp_path / "c.toml").write_text("name = ")
    with pytest.raises(BadRequest, match=r"A campaign is a TOML or JSON file. c.toml: .* Start from campaign.toml"):
        request_of(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", ("Left in peace since a contact", "at least 6", "quiet: 0 to 2")), ("zh", ("距上次联系至少", "不少于 6", "quiet：0 至 2"))],
)
def test_the_page_says_what_was_asked_for(
    front: CampaignFront, monkeypatch: pytest.MonkeyPatch, language: str, words: tuple[str, ...]
) -> None:
    put(monkeypatch, front)
    more = {"audience": {"purchases_total": {"min": 6}}, "quotas": [{"segment": "quiet", "most": 2}], "exclude_segments": ["kings"]}
    plan(asked(**more), shop=front)
    shown = visitor("marketing", language=language).get("/campaigns/spring").text
    assert all(word in shown for word in (*words, "kings"))
