"""Pages about the house: model releases, data quality and quarantine, decisions."""

import json
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from quality.quarantine import stored_counts
from serving.http.decisions_route import FindDecisions, found
from serving.http.problems import ProblemError
from serving.release import ReleaseRefused
from serving.release_config import NotFollowed
from serving.releases import releases
from serving.shop_front import front
from serving.web.render import page
from serving.web.session import checked_form, may
from settings import get_settings

#: Gives up a model's trial, or takes it back to the version before: `(model) -> the number that is stable from now on`.
RollBack = Callable[[str], int]
#: Gate results shown, newest window first.
GATES = 40

router = APIRouter(include_in_schema=False)


@router.get("/quality", dependencies=[may("read:operations")])
def quality_page(request: Request) -> HTMLResponse:
    """What the gates found, newest window first, and what waits in quarantine, by rule."""
    files = (get_settings().quality_dir / "results").glob("*.json")
    reports = sorted(
        (json.loads(file.read_text()) for file in files), key=lambda one: (one["end"], one["start"], one["stage"]), reverse=True
    )
    gates = [one | {"broken": [rule for rule in one["rules"] if not rule["passed"]]} for one in reports[:GATES]]
    return page(request, "quality.html", gates=gates, counts=stored_counts())


def releases_router(roll_back: RollBack) -> APIRouter:
    """The page of model releases, with a button that calls `roll_back` for whoever may."""
    router = APIRouter(include_in_schema=False)

    @router.get("/releases", dependencies=[may("read:operations")])
    def releases_page(request: Request, done: str = "") -> HTMLResponse:
        return page(request, "releases.html", models=releases(front()), can_roll_back=request.state.key.may("admin"), done=done[:60])

    @router.post("/releases/rollback", dependencies=[may("admin"), Depends(checked_form)])
    def take_back(model: Annotated[str, Form(max_length=60)]) -> RedirectResponse:
        if model not in {one.model for one in releases(front())}:
            raise ProblemError("bad-request", f"A model to take back must be one that is served. Received {model!r}.")
        try:
            number = roll_back(model)
        except ReleaseRefused as refused:
            raise ProblemError("release-refused", str(refused)) from refused
        except NotFollowed as silent:
            raise ProblemError("not-served", str(silent)) from silent
        return RedirectResponse(f"/releases?done={model}+{number}", 303)

    return router


def decisions_page_router(find: FindDecisions) -> APIRouter:
    """The page on which a decision is looked up by its id."""
    router = APIRouter(include_in_schema=False)

    @router.get("/decisions", dependencies=[may("read:decisions")])
    def decisions_page(request: Request, id: str = "") -> HTMLResponse:
        problem, rows = None, []
        try:
            rows = found(find, id.strip()[:200]) if id.strip() else []
        except ProblemError as error:
            problem = error
        return page(request, "decisions.html", problem.status if problem else 200, id=id.strip()[:200], rows=rows, problem=problem)

    return router
