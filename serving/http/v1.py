"""Version 1 of the API: portraits, recommendations, offers, events.

Paths take ids with slashes in them: a shop's ids are its own.
"""

from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from serving import decided, events, portraits, stored_portraits
from serving import offers as marketing
from serving.errors import UnknownUser
from serving.http.access import needs
from serving.http.answers import (
    Change,
    ChangesAnswer,
    OffersAnswer,
    PortraitAnswer,
    RecommendationsAnswer,
    SessionBody,
    Taken,
    portrait_answer,
    recommendations_answer,
)
from serving.http.parameters import AsOf, Day, Debug, K, Reasons, RequestRules, UserId, check_window
from serving.http.problems import told_in_schema
from serving.recommend import Recommendations, SessionEvent, recommend, recommend_session
from serving.shop_front import front

router = APIRouter(prefix="/v1")


@router.get(
    "/users/{user_id:path}/portrait",
    tags=["portrait"],
    dependencies=[needs("read:portrait")],
    responses=told_in_schema("unknown-user", "not-served"),
)
def get_portrait(user_id: UserId, as_of: AsOf = None) -> PortraitAnswer:
    """What is known and inferred of a user, with the time and model version of each.

    With `as_of`, what was known then, and the model's lines from the newest portrait that had been stored by then (`inferred.source` is
    `stored`): today's model is never asked about the past.
    """
    if as_of is None:
        return portrait_answer(portraits.show(user_id), "live", None)
    past = stored_portraits.show_as_of(user_id, as_of)
    return portrait_answer(past.portrait, "stored", past.told_at)


@router.get(
    "/users/{user_id:path}/portrait/changes",
    tags=["portrait"],
    dependencies=[needs("read:portrait")],
    responses=told_in_schema("bad-request", "unknown-user", "not-served"),
)
def get_changes(user_id: UserId, since: Day, until: Day) -> ChangesAnswer:
    """What the daily portraits say differently: as known at the first moment of `since`, and of `until`."""
    check_window(since, until)
    if front().user_row("user_v1", user_id).get("events_total") is None:
        raise UnknownUser(user_id)
    found = [Change(line=line, then=then, now=now) for line, (then, now) in stored_portraits.changes(user_id, since, until).items()]
    return ChangesAnswer(user_id=user_id, since=str(since), until=str(until), changes=found)


@router.get(
    "/users/{user_id:path}/recommendations",
    tags=["recommendation"],
    dependencies=[needs("read:recommendations")],
    responses=told_in_schema("bad-request", "not-found", "not-served"),
)
def get_recommendations(
    request: Request, user_id: UserId, rules: RequestRules, k: K = 10, reasons: Reasons = False, debug: Debug = False
) -> RecommendationsAnswer:
    """The `k` best items for a user; popular items, with a note, for an unknown user or while the model is away.

    Filters, variety and exploration are the shop's rules, as far as the request sets none of its own. Explored places are drawn by the
    request's `X-Request-ID`, so a retry gives the same list. Every answer is logged.
    """
    return _decided(request, recommend(user_id, k, request_id=request.state.request_id, overrides=rules, reasons=reasons, debug=debug))


@router.post(
    "/recommendations",
    tags=["recommendation"],
    dependencies=[needs("read:recommendations")],
    responses=told_in_schema("bad-request", "not-served"),
)
def post_recommendations(request: Request, body: SessionBody) -> RecommendationsAnswer:
    """The `k` best items for a visitor nobody knows, from what was done in this visit alone."""
    events = [SessionEvent(event.item_id, event.event_type, event.occurred_at) for event in body.events]
    answer = recommend_session(
        events, body.k, request_id=request.state.request_id, overrides=body.rules(), reasons=body.reasons, debug=body.debug
    )
    return _decided(request, answer)


def _decided(request: Request, answer: Recommendations) -> RecommendationsAnswer:
    request.app.state.gate.metrics.recommended.labels(answer.source).inc()
    return recommendations_answer(answer, decided.log_recommendations(answer))


@router.get(
    "/users/{user_id:path}/offers",
    tags=["marketing"],
    dependencies=[needs("read:offers")],
    responses=told_in_schema("unknown-user", "not-served"),
)
def get_offers(user_id: UserId) -> OffersAnswer:
    """What each offer would change for a user, by falling expected profit; the advice is logged."""
    answer = marketing.offers(user_id)
    return OffersAnswer.model_validate(asdict(answer) | {"decision_id": decided.log_offers(answer)})


@router.post(
    "/events",
    tags=["events"],
    summary="Take live events",
    dependencies=[needs("write:events")],
    openapi_extra=events.DESCRIPTION,
    responses={
        202: {"description": "On disk; online soon", "model": Taken},
        **told_in_schema("events-refused", "bad-request", "too-large", "not-stored"),
    },
)
async def post_events(request: Request, response: Response) -> Taken:
    """Takes what users do, as it happens: an event, or a list of them, in the columns of the landing table `events`.

    Each is judged by the rules of a delivered file. Accepted events are on disk when the answer comes (200: and in their users' online
    features; 202: these will follow). An `event_id` that was taken before is counted as a duplicate, so a request may be sent again. Where
    events are refused the answer is 400 and names each with its rule in `refused`; the others of the request were taken.
    """
    report = await events.take(request)
    response.status_code = 200 if report.is_online else 202
    return Taken(accepted=report.accepted, duplicates=report.duplicates, is_online=report.is_online)
