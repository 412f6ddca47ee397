"""The steps of a campaign as the DAG takes them: each a call, whose report is for the task's log and for the person who decides."""

from collections.abc import Mapping
from typing import Any

from serving.campaign_answer import APPROVE, REJECT, WAIT
from serving.campaign_approval import approve, reject
from serving.campaign_evaluate import evaluate_plan, read_evaluation
from serving.campaign_plan import plan, read_plan
from serving.campaign_request import CampaignRequest
from serving.campaign_state import read_status
from serving.decisions import decision_time
from serving.shop_front import front
from settings import get_settings

#: Fields of the form that are fields of the request.
FIELDS = (
    "budget", "margin", "holdout", "objective", "offers", "channel_budgets", "offers_per_user", "fatigue_days", "quotas", "audience",
    "starts_on", "ends_on",
)  # fmt: skip


def plan_as_chosen(choices: Mapping[str, Any], who: str) -> str:
    """Plans what a form says; the campaign's name. What is approved already stays as it is."""
    name = choices.get("name") or f"{choices['source']}-{choices['end']}"
    made = plan(CampaignRequest.of({"name": name} | {field: choices.get(field) for field in FIELDS}), who=who)
    print(made.as_text())
    return name


def judge(name: str) -> str:
    """Judges the plan; in words, what it is and what is to be thought of it."""
    found, made = evaluate_plan(name), read_plan(name, get_settings())
    lines = [made.as_text(), f"Verdict: {found.verdict}. {found.reason[:1].upper()}{found.reason[1:]}."]
    if found.gain:
        estimates = {"doubly robust": found.gain.doubly_robust, "SNIPS": found.gain.snips, "IPS": found.gain.ips}
        lines += [f"- {label}: {one['mean']:.3g} ({one['low']:.3g} to {one['high']:.3g})" for label, one in estimates.items()]
        lines.append(f"- {found.gain.effective_rows:.0f} effective rows of {found.gain.users} users")
    text = "\n".join(lines)
    print(text)
    return text


def act_on_answer(name: str, answer: Mapping[str, Any] | None) -> str:
    """`act` on what Airflow's human in the loop left: None where nobody was asked, and the default where nobody answered."""
    said: Mapping[str, Any] = answer or {"chosen_options": [WAIT]}
    user, given = said.get("responded_by_user") or {"name": "nobody"}, said.get("params_input") or {}
    approved = {APPROVE: True, REJECT: False}.get(said["chosen_options"][0])
    return act(name, approved, who=user["name"], role=given.get("role", ""), reason=given.get("reason", ""))


def act(name: str, approved: bool | None, *, who: str, role: str = "", reason: str = "") -> str:
    """Approves or rejects as a person said; where nobody did (None), the plan waits for one, whatever its verdict. The state."""
    settings = get_settings()
    if approved is None:
        state, last = (status := read_status(name, settings)).state, status.last
        print(f"{name} is {state} since {last['at']}; nothing is sent until a person approves it, on the page /campaigns/{name}")
        return state
    if not approved:
        done = reject(name, settings, who=who, role=role, why=reason)
    else:
        found = read_evaluation(name, settings)
        override = "" if found is not None and found.may_be_sent else reason
        at = decision_time(settings, front().clock())
        done = approve(name, settings, who=who, role=role, why=reason, override=override, assigned_at=at)
    print(f"{name} is {done.state} since {done.last['at']} by {done.last['who']}; left out by now: {done.last.get('left_out') or 'nobody'}")
    return done.state
