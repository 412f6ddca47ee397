"""Pages about the house: model releases, data quality and quarantine, decisions."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from quality.quarantine import stored_counts
from serving.decisions import KINDS
from serving.decisions_recent import Recent, RecentDecisions
from serving.http.decisions_route import FindDecisions, found
from serving.http.problems import ProblemError
from serving.release import ReleaseRefused, Shown
from serving.release_config import NotFollowed
from serving.releases import releases
from serving.shop_front import front
from serving.web.render import page
from serving.web.session import checked_form, may
from settings import get_settings

#: Gives up a model's trial, or takes it back to the version before, if what was shown still stands: `(model, shown) -> the number that is
#: stable from now on`.
RollBack = Callable[[str, Shown], int]
#: Gate results shown, newest window first.
GATES = 40
#: Lists of the decisions log on one page, newest first.
DECISIONS = 50
_MOMENT = re.compile(r"[0-9a-f]{14}")

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
    def take_back(
        model: Annotated[str, Form(max_length=60)],
        stable: Annotated[int | None, Form()] = None,
        canary: Annotated[int | None, Form()] = None,
    ) -> RedirectResponse:
        if model not in {one.model for one in releases(front())}:
            raise ProblemError("bad-request", f"A model to take back must be one that is served. Received {model!r}.")
        try:
            number = roll_back(model, (stable, canary))
        except ReleaseRefused as refused:
            raise ProblemError("release-refused", str(refused)) from refused
        except NotFollowed as silent:
            raise ProblemError("not-served", str(silent)) from silent
        return RedirectResponse(f"/releases?done={model}+{number}", 303)

    return router


def decisions_page_router(find: FindDecisions, recent: RecentDecisions) -> APIRouter:
    """The page of the newest decisions, each of which is shown by its id."""
    router = APIRouter(include_in_schema=False)

    @router.get("/decisions", dependencies=[may("read:decisions")])
    def decisions_page(request: Request, id: str = "", kind: str = "", user: str = "", before: str = "") -> HTMLResponse:
        asked, user = id.strip()[:200], user.strip()[:200]
        kind, before = kind if kind in KINDS else "", before if _MOMENT.fullmatch(before) else ""
        problem, rows, log = None, [], Recent((), None)
        try:
            if asked:
                rows = found(find, asked)
            else:
                log = recent(kind or None, user or None, before or None, DECISIONS)
        except ProblemError as error:
            problem = error
        values: dict[str, Any] = {"id": asked, "rows": rows, "problem": problem, "log": log, "kinds": KINDS}
        values |= {"kind": kind, "user": user, "before": before, "may_see_customers": request.state.key.may("read:portrait")}
        if log.before:
            values["older"] = str(request.url.include_query_params(before=log.before)).split(request.url.netloc, 1)[-1]
            values["looked_until"] = datetime.fromtimestamp(int(log.before, 16) / 1e6, UTC)
        return page(request, "decisions.html", problem.status if problem else 200, **values)

    return router
