"""`POST /v1/risk/credit`."""

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.credit import Application, decide
from serving.http.access import needs
from serving.http.answers import Share, UtcTime
from serving.http.idempotent import OnceOnly
from serving.http.problems import told_in_schema

router = APIRouter(prefix="/v1/risk")

Id = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Word = Annotated[str, Field(max_length=200, strict=True)]
Verdict = Literal["approve", "review", "refuse"]


class CreditBody(BaseModel):
    """An application for credit: what is known of it, in the columns of the landing table `credit_applications`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    application_id: Id = Field(examples=["c00000000042"])
    user_id: Id | None = Field(None, examples=["u002412"])
    amount: Number | None = Field(None, description="the amount applied for; null is unknown", examples=[700.0])
    columns: dict[Annotated[str, Field(pattern=r"^x_[A-Za-z0-9_]{1,100}$")], Number | Word | None] = Field(
        default_factory=dict,
        max_length=500,
        description="the shop's own columns, typed as the model learned them; one that is missing or null is unknown",
        examples=[{"x_income": 2400.0, "x_other_debt": 900.0, "x_employment": "permanent"}],
    )


class CreditReason(BaseModel):
    """What lowered the score."""

    code: str = Field(description="a column, or the stem of a series of columns", examples=["x_other_debt"])
    direction: Literal["high", "low", "mixed", "other", "unknown", ""] = Field(
        description="where the applicant's own values lie to those of a typical good payer; '' where the served version does not tell",
        examples=["high"],
    )
    points: float = Field(description="what it cost compared with a typical good payer")
    en: str = Field(examples=["debt elsewhere: above a typical good payer's"])
    zh: str = Field(examples=["其他负债：高于典型的按时还款者"])


class GroupPointsAnswer(BaseModel):
    """What a group of columns adds to the typical good payer's points."""

    code: str = Field(description="a column, or the stem of a series of columns", examples=["x_income"])
    points: float = Field(description="below 0 where it lowers the score")


class ColumnChange(BaseModel):
    """A column that would have to be different."""

    column: str
    now: float
    then: float


class CreditWayOut(BaseModel):
    """Changes, of what a person can change, after which the decision would be another."""

    changes: list[ColumnChange]
    probability: Share
    points: float
    decision: Verdict


class CreditAnswer(BaseModel):
    """A decision about credit, with all that it rests on."""

    application_id: str
    decision: Verdict = Field(description="by the thresholds of the shop's credit policy; `review` waits for a person")
    probability: Share = Field(description="calibrated probability that the credit is not paid back")
    points: float = Field(description="the score: see `[score]` of the credit policy")
    reference_points: float = Field(description="the score of the typical good payer with whom the applicant is compared")
    groups: list[GroupPointsAnswer] = Field(
        description="all that the model reads, from lowering to raising: with `reference_points` `points`"
    )
    reasons: list[CreditReason] = Field(description="what lowered the score most, the strongest first")
    ways_out: list[CreditWayOut] = Field(description="the smallest changes that would better the decision; empty where none would")
    warnings: list[str]
    model_version: int
    as_of: UtcTime
    decision_id: str = Field(description="in the log of decisions")


@router.post(
    "/credit",
    tags=["risk"],
    dependencies=[needs("risk")],
    response_model=CreditAnswer,
    responses=told_in_schema("bad-request", "not-served", "still-answering", "key-reused"),
)
def post_credit(body: CreditBody, once: OnceOnly) -> Response:
    """Decides on one application: approve, review or refuse, with points, reasons and what would change it. Every decision is logged.

    The model reads `amount`, `columns`, and of those customers alone who agreed to it (`consent_credit`) what they did in the shop; nothing
    that the policy protects. With an `Idempotency-Key` a request sent again gets the same answer and is decided once.
    """
    return once.answer(lambda: CreditAnswer.model_validate(asdict(decide(Application(**body.model_dump())))))
