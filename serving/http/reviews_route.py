"""The manual-review queue over HTTP: what waits for a person, and the person's verdict."""

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from serving.decisions import decision_time
from serving.http.access import needs
from serving.http.answers import UtcTime
from serving.http.idempotent import OnceOnly
from serving.http.problems import told_in_schema
from serving.reviews import PersonsVerdict, Review, by_priority, review_queue
from serving.shop_front import front
from settings import get_settings
from training.fraud_costs import fraud_costs

router = APIRouter(prefix="/v1/reviews")

MAX_NOTE = 1000


class PersonsVerdictAnswer(BaseModel):
    """What a person decided."""

    verdict: str = Field(examples=["refuse"])
    note: str
    by: str = Field(description="the name of the key that was used")
    decided_at: UtcTime


class ReviewAnswer(BaseModel):
    """A decision that was left to a person."""

    decision_id: str
    kind: str = Field(examples=["order"])
    subject: str = Field(description="the order or application")
    user_id: str | None
    decided_at: UtcTime
    model: str
    model_version: str
    probability: float | None
    reason_codes: list[str]
    saved_by_review: float | None = Field(None, description="what a look at it is expected to save; null where its total is not known")
    verdict: PersonsVerdictAnswer | None


class QueueAnswer(BaseModel):
    """What waits, the largest saving first, and how far the day's capacity reaches."""

    waiting: int
    reviews_a_day: int
    decided_today: int
    reviews: list[ReviewAnswer]


class VerdictBody(BaseModel):
    """A person's verdict."""

    model_config = ConfigDict(extra="forbid", strict=True)

    verdict: Literal["approve", "refuse"]
    note: str = Field("", max_length=MAX_NOTE)


Kind = Annotated[Literal["order", "credit"] | None, Query(description="only reviews of this kind")]
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,200}$")]


@router.get("", tags=["risk"], dependencies=[needs("risk")], responses=told_in_schema("not-served"))
def get_reviews(kind: Kind = None, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> QueueAnswer:
    """Decisions about orders and credit that wait for a person, with what a look at each is expected to save."""
    settings, every = get_settings(), review_queue().all()
    waiting = [one for one in every if one.verdict is None and kind in (None, one.kind)]
    shown = by_priority(waiting, settings)[:limit]
    today = decision_time(settings, front().clock()).date()
    decided = sum(one.verdict is not None and one.verdict.decided_at.date() == today for one in every)
    reviews = [review_answer(review, saved) for review, saved in shown]
    return QueueAnswer(waiting=len(waiting), reviews_a_day=fraud_costs().reviews_a_day, decided_today=decided, reviews=reviews)


@router.post(
    "/{decision_id}",
    tags=["risk"],
    dependencies=[needs("risk")],
    response_model=ReviewAnswer,
    responses=told_in_schema("bad-request", "unknown-decision", "already-reviewed", "key-reused", "still-answering", "not-served"),
)
def post_review(request: Request, decision_id: Id, body: VerdictBody, once: OnceOnly) -> Response:
    """Approves or refuses what waits. The verdict is on disk when the answer comes; it is never changed, and teaches as a label."""

    def answer() -> ReviewAnswer:
        at = decision_time(get_settings(), front().clock())
        return review_answer(review_queue().decide(decision_id, body.verdict, body.note, request.state.key.name, at), None)

    return once.answer(answer)


def review_answer(review: Review, saved: float | None) -> ReviewAnswer:
    verdict: PersonsVerdict | None = review.verdict
    told = asdict(review) | {"saved_by_review": saved, "verdict": verdict and asdict(verdict)}
    return ReviewAnswer.model_validate({name: told[name] for name in ReviewAnswer.model_fields})
