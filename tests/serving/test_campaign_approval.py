"""From a plan to assignments: refused where it may lose, idempotent, logged with propensities, exported; over HTTP and on the page
alike."""

import csv
import hashlib
import hmac
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from serving import campaign_approval
from serving.campaign_answer import APPROVE, WAIT
from serving.campaign_approval import approve, mark_sent, reject
from serving.campaign_evaluate import Evaluation
from serving.campaign_exports import campaign_key
from serving.campaign_files import ASSIGNMENTS, assignments_file, folder, plan_file, read_table, write_table
from serving.campaign_plan import plan
from serving.campaign_state import CampaignRefused, UnknownCampaign, read_status
from serving.campaign_steps import act_on_answer
from serving.decisions_store import stored
from settings import get_settings
from tests.serving.campaign_house import AS_OF, USERS, CampaignFront, asked, house
from tests.serving.web_client import caller, consent, form_token, publish, put, visitor

AT = datetime(2024, 3, 1, 9, 30)  # noqa: DTZ001
OFFERS = [{"name": "coupon", "channel": "coupon"}, {"name": "mail", "channel": "ad"}]


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CampaignFront:
    return put(monkeypatch, house(tmp_path, monkeypatch))  # type: ignore[return-value]


@pytest.fixture
def planned(front: CampaignFront) -> str:
    plan(asked(holdout=0.4, offers=OFFERS), shop=front)
    return "spring"


def judged(monkeypatch: pytest.MonkeyPatch, verdict: Any) -> None:
    """Plans have this verdict."""
    found = Evaluation("spring", verdict, "as the test says", None, (), 0, 0, 0)
    for module in (campaign_approval, __import__("serving.campaign_steps").campaign_steps):
        monkeypatch.setattr(module, "read_evaluation", lambda *_: found)


def approved(name: str = "spring", **more: Any) -> Any:
    return approve(name, get_settings(), **{"who": "ann", "assigned_at": AT} | more)


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    settings = get_settings()
    return read_table(plan_file(settings, "spring")).to_pandas(), read_table(assignments_file(settings, "spring")).to_pandas()


def tables_of_plan() -> pd.DataFrame:
    return read_table(plan_file(get_settings(), "spring")).to_pandas()


def decisions() -> list[dict[str, Any]]:
    files = sorted((get_settings().landing_dir / "decisions").rglob("*.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def test_everybody_who_should_get_something_is_assigned_it_or_control_by_chance_alone(
    planned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(monkeypatch, "blessed")
    assert approved(why="looks right").state == "approved"
    rows, assigned = tables()
    wanted = rows[rows["intended_offer"].notna()]
    assert read_table(assignments_file(get_settings(), planned)).schema.names == ASSIGNMENTS.names
    assert assigned["user_id"].tolist() == wanted["user_id"].tolist()
    assert assigned["intended_offer"].tolist() == wanted["intended_offer"].tolist()
    for (_, before), (_, after) in zip(wanted.iterrows(), assigned.iterrows(), strict=True):
        assert after["arm"] == ("control" if before["holdout"] else before["intended_offer"])
        assert after["propensity"] == (0.4 if before["holdout"] else 0.6)
        assert after["planned_cost"] == (0 if before["holdout"] else before["cost"])
    assert set(assigned["assigned_at"]) == {pd.Timestamp(AT)}
    assert {"control", "coupon"} <= set(assigned["arm"])


def test_each_assignment_is_a_decision_with_its_propensity_that_is_found_by_its_id(planned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, "blessed")
    approved()
    _, assigned = tables()
    logged = decisions()
    assert [(row["user_id"], row["subject"], row["propensity"]) for row in logged] == list(
        assigned[["user_id", "intended_offer", "propensity"]].itertuples(index=False, name=None)
    )
    assert [row["rank"] for row in logged] == [None if arm == "control" else 1 for arm in assigned["arm"]]
    assert {(row["kind"], row["model"], row["model_version"], row["decided_at"]) for row in logged} == {("offer", "uplift", "3", AT)}
    found = stored(get_settings().landing_dir / "decisions", logged[3]["decision_id"])
    assert found == [logged[3]]


def test_approving_twice_or_after_a_kill_changes_nothing(planned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, "blessed")
    with monkeypatch.context() as patch:
        patch.setattr(campaign_approval, "move", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):  # all is written but the state
            approved()
    before = tables()[1], decisions()
    first = approved(assigned_at=datetime(2024, 3, 1, 11))  # noqa: DTZ001
    again = approved(who="bob", assigned_at=datetime(2024, 3, 2))  # noqa: DTZ001
    assert again == first
    assert tables()[1].equals(before[0])
    assert decisions() == before[1]


def test_who_does_not_agree_any_more_or_was_contacted_since_the_plan_is_neither_assigned_nor_on_a_list(
    planned: str, front: CampaignFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tables_of_plan()
    treated = rows.loc[rows["offer"] == "coupon", "user_id"].tolist()
    held = rows.loc[rows["holdout"] & rows["intended_offer"].notna(), "user_id"].tolist()
    refused, contacted = {treated[0], held[0]}, {treated[1]}
    publish("user_consents", [consent(user) for user in USERS] + [consent(user, "02-28", marketing=False) for user in refused])
    other = {name: [rows.iloc[0][name]] for name in ("segment", "intended_offer")}
    own = {"user_id": [treated[1]], "arm": ["mail"], "propensity": [1.0], "assigned_at": [AT], "planned_cost": [0.0]}
    write_table(assignments_file(get_settings(), "autumn"), other | own, ASSIGNMENTS)  # another campaign, approved meanwhile
    judged(monkeypatch, "blessed")
    with monkeypatch.context() as patch:
        patch.setattr(campaign_approval, "move", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            approved()
    done = approved()  # a killed approval counts the same
    assert done.last["left_out"] == {"no marketing consent": 2, "contacted lately": 1}
    _, assigned = tables()
    wanted = set(rows.loc[rows["intended_offer"].notna(), "user_id"])
    assert set(assigned["user_id"]) == wanted - refused - contacted
    assert {row["user_id"] for row in decisions()} == set(assigned["user_id"])
    assert not any(user in (folder(get_settings(), planned) / "exports" / "coupon-coupon.csv").read_text() for user in refused | contacted)
    shown = visitor("marketing").get("/campaigns/spring").text
    assert "Left out at approval: no consent to marketing, 2." in shown


def test_a_plan_older_than_thirty_days_of_data_is_made_anew(planned: str, front: CampaignFront, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, "blessed")
    monkeypatch.setattr(front, "clock", lambda: AS_OF + timedelta(days=31))
    with pytest.raises(
        CampaignRefused, match=r"at most 30 days old .* of spring is of 2024-03-01, and records are loaded up to 2024-04-01"
    ):
        approved()
    assert not assignments_file(get_settings(), planned).exists()
    monkeypatch.setattr(front, "clock", lambda: AS_OF + timedelta(days=30))
    assert approved(assigned_at=datetime(2026, 1, 1)).state == "approved"  # noqa: DTZ001  # the clock of the data counts, not the wall's


def test_a_campaign_that_is_over_is_not_approved(front: CampaignFront, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(asked(offers=OFFERS, ends_on="2024-03-01"), shop=front)
    judged(monkeypatch, "blessed")
    with pytest.raises(CampaignRefused, match=r"spring ends on 2024-03-01; received 2024-03-02. Plan it anew with days to come"):
        approved(assigned_at=datetime(2024, 3, 2))  # noqa: DTZ001
    assert approved().state == "approved"


def test_nobody_left_is_nothing_to_approve(planned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, "blessed")
    publish("user_consents", [consent("u00")])  # who gains nothing
    with pytest.raises(CampaignRefused, match="Of spring nobody is left who agrees and gets an offer"):
        approved()
    assert decisions() == []


@pytest.mark.parametrize("verdict", ["unsure", "loss", "unknown"])
def test_a_plan_that_may_lose_is_only_approved_with_a_reason_in_a_named_role(
    planned: str, monkeypatch: pytest.MonkeyPatch, verdict: str
) -> None:
    judged(monkeypatch, verdict)
    with pytest.raises(CampaignRefused, match=f"The verdict on spring is {verdict}: as the test says"):
        approved()
    with pytest.raises(CampaignRefused, match="must do so in a named role"):
        approved(override="we want to learn")
    assert not assignments_file(get_settings(), planned).exists()
    assert decisions() == []
    done = approved(override="we want to learn", role="head of marketing")
    assert {name: done.last[name] for name in ("state", "who", "role", "override")} == {
        "state": "approved", "who": "ann", "role": "head of marketing", "override": "we want to learn",
    }  # fmt: skip


def test_a_plan_that_was_not_judged_is_not_approved(planned: str) -> None:
    with pytest.raises(CampaignRefused, match=r"A plan must be judged before it is approved. spring was not"):
        approved(override="x", role="y")


def test_what_is_approved_is_neither_planned_anew_nor_rejected(front: CampaignFront, planned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, "blessed")
    approved()
    before = tables()[0]
    with pytest.raises(CampaignRefused, match=r"Campaign spring is approved since .* by ann; it cannot become planned. Plan another under"):
        plan(asked(budget=9.0), shop=front)
    with pytest.raises(CampaignRefused, match=r"cannot become rejected. From approved it may become: sent"):
        reject("spring", get_settings(), who="bob")
    assert tables()[0].equals(before)
    sent = mark_sent("spring", get_settings(), who="bob", sent_at=AT)
    assert (sent.state, sent.last["sent_at"]) == ("sent", AT.isoformat())
    assert approved().state == "sent"


def test_a_rejected_plan_may_be_planned_anew_and_an_unknown_one_is_named(front: CampaignFront, planned: str) -> None:
    assert reject("spring", get_settings(), who="bob", why="too dear").last["why"] == "too dear"
    with pytest.raises(CampaignRefused, match=r"it cannot become approved. From rejected it may become: planned"):
        approved()
    plan(asked(), shop=front)
    assert [line["state"] for line in read_status("spring", get_settings()).history] == ["planned", "rejected", "planned"]
    with pytest.raises(UnknownCampaign, match=r"Received 'winter'; there are: spring. Plan it with"):
        approved("winter")


def test_lists_hold_whom_to_send_to_and_advertisers_get_hashes_that_only_the_house_can_make(
    planned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(monkeypatch, "blessed")
    approved()
    _, assigned = tables()
    exports = folder(get_settings(), planned) / "exports"
    listed = list(csv.DictReader((exports / "coupon-coupon.csv").open()))
    assert [row["user_id"] for row in listed] == assigned.loc[assigned["arm"] == "coupon", "user_id"].tolist()
    to_hash = assigned.loc[assigned["arm"] == "mail", "user_id"].tolist()
    key = campaign_key("spring", get_settings())
    wanted = sorted(hmac.new(key, user.encode(), hashlib.sha256).hexdigest() for user in to_hash)
    assert read_table(exports / "ad-mail.parquet").to_pydict() == {"hashed_id": wanted}
    assert not any(user in (exports / "ad-mail.csv").read_text() for user in to_hash)
    assert campaign_key("autumn", get_settings()) != key
    assert (get_settings().home / "secrets" / "audience_secret").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("verdict", ["blessed", "unsure"])
def test_without_a_persons_answer_nothing_is_approved_whatever_the_verdict(
    planned: str, monkeypatch: pytest.MonkeyPatch, verdict: str
) -> None:
    judged(monkeypatch, verdict)
    silence = {"chosen_options": [WAIT], "responded_by_user": None, "params_input": {"reason": "", "role": ""}, "timedout": True}
    for answer in (None, silence):  # a run that follows `deploy`, and one whose hour is over
        assert act_on_answer(planned, answer) == "planned"
    assert not assignments_file(get_settings(), planned).exists()
    assert not (folder(get_settings(), planned) / "exports").exists()
    assert decisions() == []


def test_a_blessed_plan_that_a_person_approves_in_airflow_needs_no_more_words(planned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, "blessed")
    answer = {"chosen_options": [APPROVE], "responded_by_user": {"id": "7", "name": "ann"}, "params_input": {"reason": "", "role": ""}}
    assert act_on_answer(planned, answer) == "approved"
    assert read_status(planned, get_settings()).last["who"] == "ann"


def test_what_a_person_answers_in_airflow_is_done_in_that_persons_name(planned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, "loss")
    answer = {
        "chosen_options": ["Approve"],
        "responded_by_user": {"id": "7", "name": "ann"},
        "params_input": {"reason": "", "role": "head"},
    }
    with pytest.raises(CampaignRefused, match="The verdict on spring is loss"):
        act_on_answer("spring", answer)
    assert act_on_answer("spring", answer | {"params_input": {"reason": "learn", "role": "head"}}) == "approved"
    assert {name: read_status("spring", get_settings()).last[name] for name in ("who", "role", "override")} == {
        "who": "ann", "role": "head", "override": "learn",
    }  # fmt: skip
    plan(asked(name="autumn"), shop=front_of(monkeypatch))
    assert act_on_answer("autumn", None) == "planned"
    assert act_on_answer("autumn", {"chosen_options": ["Reject"], "responded_by_user": None}) == "rejected"


def front_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    from serving import campaign_steps

    return campaign_steps.front()


def test_over_http_a_campaign_is_planned_read_and_overridden_only_by_a_key_that_may(front: CampaignFront) -> None:
    planner, marketer = caller("plan:campaigns"), caller("marketing")
    body = {"name": "spring", "budget": 5.0, "margin": 0.5, "quotas": [{"segment": "quiet", "most": 2}]}
    answer = planner.post("/v1/campaigns", json=body)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["path"], answer.json()["request"]["quotas"][0]["most"]) == ("campaigns/spring/plan.parquet", 2)
    assert planner.get("/v1/campaigns/spring").status_code == 403
    told = marketer.get("/v1/campaigns/spring").json()
    assert (told["state"], told["evaluation"]["verdict"]) == ("planned", "unknown")
    refused = marketer.post("/v1/campaigns/spring/approve", json={})
    assert (refused.status_code, refused.json()["type"]) == (409, "/docs#campaign-refused")
    given = {"override": "we want to learn", "role": "head of marketing"}
    assert marketer.post("/v1/campaigns/spring/approve", json=given).status_code == 403
    done = caller("marketing", "override:campaigns").post("/v1/campaigns/spring/approve", json=given)
    assert (done.status_code, done.json()["state"]) == (200, "approved")
    assert done.json()["exports"]
    assert marketer.post("/v1/campaigns/spring/reject", json={}).status_code == 409
    assert marketer.get("/v1/campaigns/winter").status_code == 404
    assert planner.post("/v1/campaigns", json=body).status_code == 409


def test_on_the_page_a_plan_is_read_and_approved_or_rejected(front: CampaignFront) -> None:
    caller().post("/v1/campaigns", json={"name": "spring", "budget": 5.0, "margin": 0.5}).raise_for_status()
    marketer = visitor("marketing")
    shown = marketer.get("/campaigns/spring")
    assert "would return" in shown.text
    assert "your key may not approve against the verdict" in shown.text
    token = form_token(shown.text)
    override = {"override": "learn", "role": "head", "form_token": token}
    assert marketer.post("/campaigns/spring/approve", data=override).status_code == 403
    assert marketer.post("/campaigns/spring/reject", data={"why": "too dear"}).status_code == 403  # without the form's token
    done = marketer.post("/campaigns/spring/reject", data={"why": "too dear", "form_token": token})
    assert "too dear" in done.text and "rejected" in done.text
    assert "spring" in marketer.get("/campaigns").text
    assert marketer.get("/campaigns/spring/exports/..%2Fplan.json").status_code == 404
    assert visitor("read:portrait").get("/campaigns").status_code == 403
