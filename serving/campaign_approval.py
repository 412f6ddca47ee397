"""Approving a plan or rejecting it. Approval assigns those who still agree and were not contacted since: who gets what and who is held out,
with the probability of it, as of a given moment; the same goes to the log of decisions and into the lists to send by. Each step may be
killed and done again."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from serving.campaign_audience import left_out_since
from serving.campaign_evaluate import Evaluation, read_evaluation
from serving.campaign_exports import export
from serving.campaign_files import ASSIGNMENTS, CONTROL, assignments_file, plan_file, read_table, write_table
from serving.campaign_plan import Plan, read_plan
from serving.campaign_state import CampaignRefused, Status, changing, may_become, move, read_status
from serving.decisions_store import SEGMENT_ROWS, Segments, list_id
from serving.model_inputs import to_us
from serving.shop_front import front
from settings import Settings
from training.signatures import UPLIFT

if TYPE_CHECKING:
    import pandas as pd

#: An older plan is not approved: what the model said of its users does not hold any more.
MOST_PLAN_AGE = timedelta(days=30)


def approve(name: str, settings: Settings, *, who: str, assigned_at: datetime, role: str = "", why: str = "", override: str = "") -> Status:
    """Assigns the campaign as of `assigned_at` (UTC, without zone); approving what is approved changes nothing.

    Of the plan's users those are left out, and counted in the status, who do not agree any more by what is loaded, or whom a campaign
    contacted since. CampaignRefused where the plan is too old or nobody is left, and where the verdict does not bless the plan, unless
    somebody in a named role says in `override` why it is sent nevertheless.
    """
    with changing(name, settings):
        status = read_status(name, settings)
        if status.state in ("approved", "sent"):
            return status
        may_become(name, "approved", settings)
        plan = read_plan(name, settings)
        _check(name, read_evaluation(name, settings), override, role)
        rows, left_out = _assigned(name, plan, settings, assigned_at)
        _log(name, plan, rows, settings)
        export(name, rows, {str(offer["name"]): str(offer["channel"]) for offer in plan.offers}, settings)
        return move(name, "approved", settings, who=who, role=role, why=why, override=override, left_out=left_out)


def reject(name: str, settings: Settings, *, who: str, role: str = "", why: str = "") -> Status:
    """The plan is not sent; another may be planned under its name."""
    with changing(name, settings):
        status = read_status(name, settings)
        return status if status.state == "rejected" else move(name, "rejected", settings, who=who, role=role, why=why)


def mark_sent(name: str, settings: Settings, *, who: str, sent_at: datetime) -> Status:
    """Notes that an approved campaign's lists were sent at `sent_at`, on the clock by which it was assigned: results count from then."""
    with changing(name, settings):
        status = read_status(name, settings)
        return status if status.state == "sent" else move(name, "sent", settings, who=who, sent_at=sent_at.isoformat())


def _check(name: str, found: Evaluation | None, override: str, role: str) -> None:
    if found is None:
        raise CampaignRefused(f"A plan must be judged before it is approved. {name} was not. Run `portrait campaign evaluate {name}`.")
    if found.may_be_sent:
        return
    if not override.strip():
        raise CampaignRefused(
            f"A plan must surely not lose to be approved. The verdict on {name} is {found.verdict}: {found.reason}. Plan another, or have "
            "somebody in a named role override it with a reason."
        )
    if not role.strip():
        raise CampaignRefused(
            f"Whoever overrides a verdict must do so in a named role. Received none for {name}. Name it, e.g. head of marketing."
        )


def _assigned(name: str, plan: Plan, settings: Settings, assigned_at: datetime) -> tuple[pa.Table, dict[str, int]]:
    """The assignments, on disk, and how many of the plan's users are not among them by which reason; the assignments that a killed approval
    of the same plan left are taken as they are."""
    path, as_of = assignments_file(settings, name), front().clock()
    rows = read_table(plan_file(settings, name)).to_pandas()
    rows = rows[rows["intended_offer"].notna()]
    has_refused, is_contacted = left_out_since(plan.request, rows["user_id"].to_numpy(object), as_of, settings)
    if not path.exists():
        _write(name, plan, rows[~has_refused & ~is_contacted], path, assigned_at, as_of)
    assigned = read_table(path)
    is_left_out = ~rows["user_id"].isin(assigned["user_id"].to_pylist()).to_numpy()
    reasons = {"no marketing consent": is_left_out & has_refused, "contacted lately": is_left_out & ~has_refused}
    return assigned, {reason: int(users.sum()) for reason, users in reasons.items() if users.any()}


def _write(name: str, plan: Plan, rows: "pd.DataFrame", path: Path, assigned_at: datetime, as_of: datetime) -> None:
    if as_of - plan.as_of > MOST_PLAN_AGE:
        raise CampaignRefused(
            f"A plan must be at most {MOST_PLAN_AGE.days} days old to be approved. That of {name} is of {plan.as_of:%Y-%m-%d}, and records "
            f"are loaded up to {as_of:%Y-%m-%d}. Plan it anew under its name."
        )
    if plan.request.ends_on and assigned_at.date() > plan.request.ends_on:
        raise CampaignRefused(
            f"A campaign must not be over when it is approved. {name} ends on {plan.request.ends_on}; received {assigned_at:%Y-%m-%d}. "
            "Plan it anew with days to come."
        )
    if rows.empty:
        raise CampaignRefused(f"A campaign needs somebody to assign. Of {name} nobody is left who agrees and gets an offer. Plan it anew.")
    held = rows["holdout"].to_numpy(bool)
    columns = {
        "user_id": rows["user_id"],
        "segment": rows["segment"],
        "intended_offer": rows["intended_offer"],
        "arm": np.where(held, CONTROL, rows["intended_offer"]),
        "propensity": rows["propensity"],
        "assigned_at": [assigned_at] * len(rows),
        "planned_cost": np.where(held, 0.0, rows["cost"]),
    }
    write_table(path, columns, ASSIGNMENTS)


def _log(name: str, plan: Plan, rows: pa.Table, settings: Settings) -> None:
    """A decision for every user, a list of its own each; ids follow from campaign, user's place and moment, so that a second writing is the
    same rows in the same files."""
    writer = hashlib.sha256(f"{settings.home.name}\t{name}\t{plan.as_of}".encode()).hexdigest()[:12]
    segments = Segments(settings.landing_dir / "decisions", writer, is_wall_clock=settings.clock == "wall")
    (settings.landing_dir / "decisions").mkdir(parents=True, exist_ok=True)
    for start in range(0, rows.num_rows, SEGMENT_ROWS):
        segments.append(list(_decisions(name, plan, rows.slice(start, SEGMENT_ROWS), writer, start)))


def _decisions(name: str, plan: Plan, rows: pa.Table, writer: str, start: int) -> Iterator[dict[str, object]]:
    for place, row in enumerate(rows.to_pylist(), start):
        at, is_control = row["assigned_at"], row["arm"] == CONTROL
        yield {
            "decision_id": f"{list_id(at.date(), to_us(at.replace(tzinfo=UTC)) + place, writer)}.1",
            "decided_at": at,
            "user_id": row["user_id"],
            "kind": "offer",
            "subject": row["intended_offer"],
            "rank": None if is_control else 1,
            "score": None,
            "propensity": row["propensity"],
            "arm": None,
            "model": UPLIFT.name,
            "model_version": str(plan.model_version),
            "features_at": plan.as_of,
            "reason": f"campaign {name}: held out" if is_control else f"campaign {name}",
        }
