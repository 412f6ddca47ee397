"""Credit decisions: thresholds, reasons, ways out, purpose, the log, and the road through the API."""

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from feature_repo.contract import service
from serving import credit
from serving.credit import Application, decide, ladder
from serving.decisions import DecisionLog
from serving.decisions_store import stored
from serving.errors import BadRequest, NotServed
from settings import ROOT, get_settings
from tests.serving.fakes import AS_OF, Answer, FakeFront
from tests.serving.web_client import caller, put, shop
from training.credit_policy import POLICY_FILE, Actionable, credit_policy
from training.signatures import CREDIT_BEHAVIOUR

POLICY = replace(
    credit_policy(POLICY_FILE),
    actionable=(Actionable("amount", "down", 0.2, is_share=True), Actionable("x_deb*", "down", 0.0, is_share=True)),
)


@pytest.fixture
def log(house: Path, monkeypatch: pytest.MonkeyPatch) -> DecisionLog:
    made = DecisionLog(house / "landing" / "decisions", is_wall_clock=False, is_durable=True)
    monkeypatch.setattr(credit, "durable_log", lambda: made)
    return made


@pytest.fixture
def front() -> FakeFront:
    return shop()


def asked(amount: float = 1000.0, **columns: Any) -> Application:
    return Application("c1", "ann", amount, {"x_debt": 0.0, "x_job": "permanent"} | columns)


def chance(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def test_the_policys_thresholds_decide_and_every_decision_is_logged_with_its_codes(front: FakeFront, log: DecisionLog) -> None:
    found = [decide(one, shop=front, policy=POLICY) for one in (asked(), asked(x_debt=500.0), asked(x_debt=500.0, x_job="none"))]
    assert [one.decision for one in found] == ["approve", "review", "refuse"]
    assert [one.probability for one in found] == pytest.approx([chance(-2), chance(-1), chance(1)])
    assert found[2].points == pytest.approx(600 - 20 / math.log(2) * (1 + math.log(20)))
    for one in found:
        (row,) = log.find(one.decision_id)
        assert (row["kind"], row["subject"], row["user_id"], row["arm"], row["model"], row["model_version"]) == (
            "credit", "c1", "ann", one.decision, "risk", "3"
        )  # fmt: skip
        assert row["score"] == pytest.approx(one.probability) and row["features_at"] == AS_OF
        assert json.loads(row["reason"]) == [f"{reason.code}:{reason.direction}" for reason in one.reasons]


def test_reasons_are_told_in_both_languages_the_dearest_first_and_none_that_cost_nothing(front: FakeFront, log: DecisionLog) -> None:
    found = decide(asked(x_debt=750.0, x_job="none"), shop=front, policy=POLICY)
    per = 20 / math.log(2)
    assert [(reason.code, reason.direction, reason.points) for reason in found.reasons] == [
        ("x_job", "other", round(2 * per, 1)),
        ("x_debt", "high", round(1.5 * per, 1)),
        ("amount", "high", round(per, 1)),
    ]
    assert [reason.en for reason in found.reasons] == [
        "job: not a typical good payer's",
        "debt: above a typical good payer's",
        "the amount asked for, or the limit given: above a typical good payer's",
    ]
    assert found.reasons[2].zh == "申请金额或授信额度：高于典型的按时还款者"
    again = decide(asked(x_debt=750.0, x_job="none"), shop=front, policy=POLICY)
    assert again.reasons == found.reasons
    cheap = decide(asked(amount=50.0), shop=front, policy=POLICY)
    assert cheap.reasons == () and cheap.ways_out == ()


def test_the_good_payers_points_and_those_of_all_groups_are_the_applicants(front: FakeFront, log: DecisionLog) -> None:
    found = decide(asked(x_debt=750.0, x_job="none"), shop=front, policy=POLICY)
    per = 20 / math.log(2)
    assert found.reference_points == pytest.approx(600 - per * (math.log(20) - 3))
    assert [(group.code, group.points) for group in found.groups] == [
        ("x_job", pytest.approx(-2 * per)),
        ("x_debt", pytest.approx(-1.5 * per)),
        ("amount", pytest.approx(-per)),
    ]
    better = decide(asked(amount=-500.0), shop=front, policy=POLICY)  # a group may raise the score, and is no reason then
    assert better.reasons == () and better.groups[-1].points == pytest.approx(per / 2)
    for one in (found, better):
        assert one.reference_points + sum(group.points for group in one.groups) == pytest.approx(one.points)


def test_a_way_out_changes_the_fewest_of_what_may_change_and_really_changes_the_decision(front: FakeFront, log: DecisionLog) -> None:
    found = decide(asked(x_debt=500.0), shop=front, policy=POLICY)
    assert [[change.column for change in way.changes] for way in found.ways_out] == [["amount"], ["x_debt"]]
    for way in found.ways_out:
        (change,) = way.changes
        changed = asked(change.then, x_debt=500.0) if change.column == "amount" else asked(x_debt=change.then)
        again = decide(changed, shop=front, policy=POLICY)
        assert again.decision == way.decision == "approve" and again.probability == pytest.approx(way.probability)
    amount = found.ways_out[0].changes[0]
    assert (amount.now, amount.then) == (1000.0, 600.0)  # the first of eight steps to 200 that comes below the threshold
    assert decide(asked(700.0, x_debt=500.0), shop=front, policy=POLICY).decision == "review"


def test_a_version_that_tells_no_directions_still_gives_its_reasons(
    front: FakeFront, log: DecisionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = front.predict
    monkeypatch.setattr(
        front, "predict", lambda *asked, **more: Answer({k: v for k, v in predict(*asked, **more).items() if k != "directions"})
    )
    found = decide(asked(), shop=front, policy=POLICY)
    assert [(reason.code, reason.direction, reason.en) for reason in found.reasons] == [
        ("amount", "", "the amount asked for, or the limit given")
    ]
    assert json.loads(log.find(found.decision_id)[0]["reason"]) == ["amount"]


def test_where_no_change_helps_none_is_told(front: FakeFront, log: DecisionLog) -> None:
    stuck = decide(asked(100.0, x_debt=0.0, x_job="none"), shop=front, policy=replace(POLICY, approve_below=0.1, refuse_from=0.2))
    assert stuck.decision == "refuse" and stuck.ways_out == ()


@pytest.mark.parametrize(
    ("now", "rule", "values"),
    [
        (8.0, Actionable("a", "down", 0.0), [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]),
        (3.0, Actionable("a", "down", 1.0), [2.0, 1.0]),
        (0.0, Actionable("a", "down", 0.0), []),
        (100.0, Actionable("a", "down", 0.2, is_share=True), [90.0, 80.0, 70.0, 60.0, 50.0, 40.0, 30.0, 20.0]),
        (100.0, Actionable("a", "up", most=1.8, is_share=True), [110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 170.0, 180.0]),
        (100.0, Actionable("a", "up"), []),
    ],
)
def test_a_ladder_leads_to_the_bound_and_codes_go_by_whole_steps(now: float, rule: Actionable, values: list[float]) -> None:
    assert ladder(now, rule) == pytest.approx(values)


def test_what_is_protected_strange_or_unknown_is_not_read_and_said_so(front: FakeFront, log: DecisionLog) -> None:
    plain = decide(Application("c1", None, 500.0, {"x_job": "permanent"}), shop=front, policy=POLICY)
    told = decide(Application("c1", None, 500.0, {"x_job": "permanent", "x_sex": "m", "x_shoe": 44.0}), shop=front, policy=POLICY)
    assert told.probability == plain.probability
    assert told.warnings == (
        "Not read, since it is protected: x_sex.",
        "Not read, since the model does not know it: x_shoe.",
        "Not known of this applicant: x_debt.",
        "mind this",
    )


def test_a_column_of_the_wrong_kind_is_refused_with_what_the_model_learned(front: FakeFront, log: DecisionLog) -> None:
    with pytest.raises(BadRequest, match=r"The model learned `x_debt` as a number\. Received 'lots'\. Send it as it was"):
        decide(asked(x_debt="lots"), shop=front, policy=POLICY)
    with pytest.raises(BadRequest, match=r"The model learned `x_job` as words\. Received 3\.0"):
        decide(asked(x_job=3.0), shop=front, policy=POLICY)


def test_a_decision_that_cannot_be_logged_is_not_given(front: FakeFront, house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credit, "durable_log", lambda: DecisionLog(house / "full", is_wall_clock=False, queue_rows=0))
    with pytest.raises(NotServed, match=r"must be on disk before it is given\. The log of decisions took no row\. Send the request again"):
        decide(asked(), shop=front, policy=POLICY)


ANSWERS_AND_DIES = """
import os, signal
from serving import credit
from tests.serving.test_credit import POLICY, asked
from tests.serving.web_client import shop
told = credit.decide(asked(x_debt=500.0), shop=shop(), policy=POLICY)
print(told.decision_id, told.decision, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_right_after_the_answer_has_logged_it(house: Path) -> None:
    died = subprocess.run([sys.executable, "-c", ANSWERS_AND_DIES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    decision_id, decision = died.stdout.split()
    (row,) = stored(house / "landing" / "decisions", decision_id)
    assert (row["decision_id"], row["kind"], row["subject"], row["arm"]) == (decision_id, "credit", "c1", decision)


SENTINEL = 424_242.0


class Planted(dict[str, Any]):
    """Features of which every one is the sentinel."""

    def __getitem__(self, name: str) -> Any:
        return SENTINEL

    get = __getitem__  # type: ignore[assignment]


def test_credit_asks_for_behaviour_through_the_consented_service_alone(front: FakeFront, log: DecisionLog) -> None:
    """A value planted in every feature of every other service reaches no input; one in the consented service does."""
    assert set(service("risk_consented_v1")) == {"credit_behaviour"}
    consented: dict[str, Any] = {}
    rows = {"risk_consented_v1": consented}
    front.user_row = lambda name, user: rows.get(name, Planted())  # type: ignore[method-assign]

    def sent() -> list[float]:
        front.asked.clear()
        decide(asked(x_debt=500.0), shop=front, policy=POLICY)
        return [value for _, inputs in front.asked for values in inputs.values() for value in values.tolist()]

    assert SENTINEL not in sent()
    assert {name for _, inputs in front.asked for name in inputs} == {"amount", "x_debt", "x_job", *CREDIT_BEHAVIOUR}
    consented["spend_90d"] = SENTINEL
    assert SENTINEL in sent()


BODY = {"application_id": "c1", "user_id": "ann", "amount": 1000, "columns": {"x_debt": 500, "x_job": "permanent"}}


@pytest.fixture
def client(front: FakeFront, log: DecisionLog, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    put(monkeypatch, front)
    return caller("risk")


def test_the_api_answers_with_the_decision_and_once_for_a_key(client: TestClient, log: DecisionLog) -> None:
    answers = [client.post("/v1/risk/credit", json=BODY, headers={"Idempotency-Key": "k1"}) for _ in range(3)]
    told = answers[0].json()
    assert answers[0].status_code == 200 and told["decision"] == "review" and told["reasons"][0]["zh"]
    assert told["reference_points"] + sum(group["points"] for group in told["groups"]) == pytest.approx(told["points"])
    assert told["as_of"] == "2024-03-01T00:00:00Z" and told["ways_out"][0]["changes"][0]["column"] == "amount"
    assert {answer.content for answer in answers} == {answers[0].content}
    assert answers[1].headers["idempotent-replayed"] == "true"
    other = client.post("/v1/risk/credit", json=BODY | {"amount": 5}, headers={"Idempotency-Key": "k1"})
    assert (other.status_code, other.json()["type"]) == (422, "/docs#key-reused")
    assert client.post("/v1/risk/credit", json=BODY).json()["decision_id"] != told["decision_id"]
    log.close()
    assert len(list(log._folder.rglob("*.parquet"))) == 1 and len(log.find(told["decision_id"])) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": "1000"},
        {"amount": True},
        {"application_id": ""},
        {"application_id": "a\nb"},
        {"columns": {"debt": 1}},
        {"columns": {"x_debt": True}},
        {"columns": {"x_debt": [1]}},
        {"colour": 1},
    ],
)
def test_a_body_that_does_not_fit_is_refused(client: TestClient, wrong: dict[str, Any]) -> None:
    answer = client.post("/v1/risk/credit", json=BODY | wrong)
    assert (answer.status_code, answer.json()["type"]) == (422, "/docs#invalid-parameters")


def test_only_a_key_with_the_scope_decides(client: TestClient, front: FakeFront) -> None:
    answer = caller("read:offers").post("/v1/risk/credit", json=BODY)
    assert (answer.status_code, answer.json()["type"]) == (403, "/docs#scope-missing")
    front.away = "no model"
    assert client.post("/v1/risk/credit", json=BODY).json()["type"] == "/docs#not-served"


def test_a_policy_that_cannot_be_followed_decides_nothing(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy.toml").write_text("[decision]\n")
    monkeypatch.setenv("PORTRAIT_CREDIT_POLICY", str(tmp_path / "policy.toml"))
    get_settings.cache_clear()
    answer = client.post("/v1/risk/credit", json=BODY)
    assert (answer.status_code, answer.json()["type"]) == (503, "/docs#not-served")
    assert "without the credit policy. The credit policy must have the tables and keys" in answer.json()["detail"]


def test_log_odds_and_points_are_the_same_thing_said_twice() -> None:
    odds = np.linspace(-4, 2, 7)
    assert np.diff([POLICY.points(one) for one in odds]) == pytest.approx(-POLICY.points_per_log_odds)
