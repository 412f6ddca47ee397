"""The page of the manual-review queue: what waits for a person, by what a look at it saves, and the form for the verdict."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from serving.credit import code_in_words
from serving.decisions import decision_time
from serving.errors import ConsumerError
from serving.http.problems import ProblemError, as_problem
from serving.reviews import KINDS, VERDICTS, by_priority, review_queue
from serving.shop_front import front
from serving.web.render import page
from serving.web.session import checked_form, may
from settings import get_settings
from sources.registry import is_simulated
from training.fraud_costs import fraud_costs

router = APIRouter(include_in_schema=False)

SHOWN = 50
SHOWN_DECIDED = 20
MAX_NOTE = 1000


@router.get("/reviews", dependencies=[may("risk")])
def reviews_page(request: Request, kind: str = "", done: str = "") -> HTMLResponse:
    """Everything that waits, or one kind of it, and what was decided last."""
    settings, chosen = get_settings(), kind if kind in KINDS else ""
    every = [one for one in review_queue().all() if chosen in ("", one.kind)]
    waiting = [one for one in every if one.verdict is None]
    decided = sorted((one for one in every if one.verdict), key=lambda one: (one.verdict.decided_at, one.decision_id), reverse=True)  # type: ignore[union-attr]
    try:
        today = decision_time(settings, front().clock()).date()
    except ConsumerError as error:
        problem = as_problem(error)
        return page(request, "error.html", problem.status, problem=problem, request_id=request.state.request_id)
    return page(
        request,
        "reviews.html",
        kind=chosen,
        kinds=KINDS,
        counts={one: sum(review.kind == one for review in review_queue().all() if review.verdict is None) for one in KINDS},
        waiting=by_priority(waiting, settings)[:SHOWN],
        more=max(0, len(waiting) - SHOWN),
        decided=decided[:SHOWN_DECIDED],
        decided_today=sum(one.verdict is not None and one.verdict.decided_at.date() == today for one in decided),
        capacity=fraud_costs().reviews_a_day,
        is_simulated=is_simulated(settings.landing_dir),
        may_see_decisions=request.state.key.may("read:decisions"),
        may_see_customers=request.state.key.may("read:portrait"),
        done=done if done in VERDICTS else "",
        credit_reason=code_in_words,
    )


@router.post("/reviews", dependencies=[may("risk"), Depends(checked_form)])
def decide(
    request: Request,
    decision_id: Annotated[str, Form(max_length=200)],
    verdict: Annotated[str, Form(max_length=20)],
    note: Annotated[str, Form(max_length=MAX_NOTE)] = "",
    kind: Annotated[str, Form(max_length=20)] = "",
) -> RedirectResponse:
    """A person's verdict, and back to the queue."""
    if verdict not in VERDICTS:
        raise ProblemError("bad-request", f"A verdict must be one of {', '.join(VERDICTS)}. Received {verdict!r}.")
    at = decision_time(get_settings(), front().clock())
    review_queue().decide(decision_id, verdict, note.strip(), request.state.key.name, at)
    return RedirectResponse(f"/reviews?done={verdict}" + (f"&kind={kind}" if kind in KINDS else ""), 303)
