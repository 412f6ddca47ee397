"""Pages of campaigns: all of them, and one with its budget curve, who gets what, the verdict, and the form to approve or reject it."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from serving.campaign_approval import approve, reject
from serving.campaign_evaluate import read_evaluation
from serving.campaign_exports import exported
from serving.campaign_files import folder
from serving.campaign_plan import Plan, read_plan
from serving.campaign_state import planned, read_status
from serving.decisions import decision_time
from serving.http.access import check_scope
from serving.http.problems import ProblemError
from serving.shop_front import front
from serving.web.charts import value_by_budget
from serving.web.render import page
from serving.web.session import checked_form, may
from settings import get_settings

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form(max_length=200)]


@router.get("/campaigns", dependencies=[may("marketing")])
def campaigns_page(request: Request) -> HTMLResponse:
    """Every campaign, the last decided first, with what it costs and should earn."""
    settings = get_settings()
    rows = [(read_status(name, settings), read_plan(name, settings)) for name in planned(settings)]
    rows.sort(key=lambda row: row[0].last["at"], reverse=True)
    return page(request, "campaigns.html", rows=rows)


@router.get("/campaigns/{name}", dependencies=[may("marketing")])
def campaign_page(request: Request, name: str) -> HTMLResponse:
    """One campaign."""
    settings = get_settings()
    status, plan, key = read_status(name, settings), read_plan(name, settings), request.state.key
    values: dict[str, Any] = {
        "campaign": status,
        "plan": plan,
        "evaluation": read_evaluation(name, settings),
        "chart": value_by_budget(plan.curve, plan.request.budget),
        "segments": _by_segment(plan),
        "exports": exported(name, settings),
        "may_override": key.may("override:campaigns"),
    }
    return page(request, "campaign.html", **values)


@router.post("/campaigns/{name}/approve", dependencies=[may("marketing"), Depends(checked_form)])
def approve_form(request: Request, name: str, why: Text = "", override: Text = "", role: Text = "") -> RedirectResponse:
    key, settings = request.state.key, get_settings()
    if override:
        check_scope(request, key, "override:campaigns")
    at = decision_time(settings, front().clock())
    approve(name, settings, who=key.name, role=role, why=why, override=override, assigned_at=at)
    return RedirectResponse(f"/campaigns/{name}", 303)


@router.post("/campaigns/{name}/reject", dependencies=[may("marketing"), Depends(checked_form)])
def reject_form(request: Request, name: str, why: Text = "") -> RedirectResponse:
    reject(name, get_settings(), who=request.state.key.name, why=why)
    return RedirectResponse(f"/campaigns/{name}", 303)


@router.get("/campaigns/{name}/exports/{file}", response_model=None, dependencies=[may("marketing")])
def export_file(name: str, file: str) -> FileResponse:
    """A list to send by."""
    settings = get_settings()
    if name not in planned(settings) or file not in exported(name, settings):
        raise ProblemError("not-found", "A list must be one that the campaign's page names. Received another.")
    path: Path = folder(settings, name) / "exports" / file
    return FileResponse(path, filename=f"{name}-{file}", headers={"Cache-Control": "no-store"})


def _by_segment(plan: Plan) -> list[tuple[str, dict[str, int], int]]:
    """For each segment its users by offer ('' for none) and in all, most users first; none is held out."""
    found: dict[str, dict[str, int]] = {}
    for group in plan.groups:
        found.setdefault(group["segment"], {})[group["offer"] or ""] = group["users"]
    return sorted(((name, offers, sum(offers.values())) for name, offers in found.items()), key=lambda row: (-row[2], row[0]))
