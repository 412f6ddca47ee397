"""`GET /v1/decisions/{decision_id}`, over whatever function finds logged decisions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from serving.http.access import needs
from serving.http.answers import UtcTime
from serving.http.problems import ProblemError, told_in_schema

#: Rows of the landing table `decisions` of a list by its id, or the one row of a place in it; empty where there is none.
FindDecisions = Callable[[str], Sequence[Mapping[str, Any]]]


class DecisionRow(BaseModel):
    """One thing decided for one user."""

    decision_id: str
    decided_at: UtcTime
    user_id: str | None
    kind: str = Field(examples=["recommendation"])
    subject: str = Field(description="the item, offer or application")
    model: str
    model_version: str
    features_at: UtcTime
    rank: int | None = Field(description="place in the list, from 1; null where it was considered and not shown")
    score: float | None
    propensity: float | None = Field(description="the probability with which it was chosen")
    arm: str | None = Field(description="the label of the model that answered, `stable` or `canary`")
    reason: str | None


class DecisionsAnswer(BaseModel):
    """Every row of one decided list, or the one row that was asked for."""

    decision_id: str
    rows: list[DecisionRow]


def found(find: FindDecisions, decision_id: str) -> list[DecisionRow]:
    """The rows of that id; a problem where there are none."""
    rows = [DecisionRow.model_validate(dict(row)) for row in find(decision_id)]
    if not rows:
        raise ProblemError("unknown-decision", f"A decision's id must be one that an answer named. Received {decision_id!r}.")
    return rows


def decisions_router(find: FindDecisions) -> APIRouter:
    """The route over `find`."""
    router = APIRouter(prefix="/v1")

    @router.get(
        "/decisions/{decision_id}",
        tags=["decisions"],
        dependencies=[needs("read:decisions")],
        responses=told_in_schema("unknown-decision"),
    )
    def get_decision(decision_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,200}$")]) -> DecisionsAnswer:
        """What was decided, what else was considered, by which model version and features, with which probability, and why."""
        return DecisionsAnswer(decision_id=decision_id, rows=found(find, decision_id))

    return router
