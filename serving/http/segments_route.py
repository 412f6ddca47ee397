"""`GET /v1/segments` and `GET /v1/segments/{name}`."""

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from serving.errors import NotServed
from serving.http.access import needs
from serving.http.answers import UtcTime
from serving.http.parameters import AsOf
from serving.http.problems import ProblemError, told_in_schema
from serving.segments import Segment, Segments, segment, segments
from serving.shop_front import front

router = APIRouter(prefix="/v1")
Kind = Literal["learned", "rfm", "rules"]


class ComparedAnswer(BaseModel):
    """One line of a profile."""

    name: str
    mean: float | None = Field(description="of the segment's customers")
    overall: float | None = Field(description="of all customers")


class ShareAnswer(BaseModel):
    """A share of the segment's customers, or of their interest, and the same of all customers."""

    here: float
    overall: float


class BestOfferAnswer(BaseModel):
    """The offer that the newest campaign's plan expects to earn most on the segment."""

    offer: str
    campaign: str
    users: int
    expected_profit: float = Field(description="on each of them")


class SegmentCard(BaseModel):
    """A segment, and how it differs from all customers."""

    kind: Kind
    name: str
    says: str | None = Field(description="the shop's own word on a segment by rules")
    users: int
    share: float
    spend_share: float | None = Field(description="its part of what all spent in 90 days")
    differs: dict[str, float] = Field(description="features that set it apart most, in standard deviations of all customers")
    features: list[ComparedAnswer]
    probabilities: list[ComparedAnswer]
    traits: dict[str, dict[str, ShareAnswer]]
    interests: dict[str, ShareAnswer]
    best_offer: BestOfferAnswer | None


class ChurnAnswer(BaseModel):
    """Who moved to another segment."""

    since: UtcTime
    users: int = Field(description="told at both times")
    moved: float
    unchanged: int = Field(description="whose numbers are all the same")
    unchanged_moved: float | None = Field(description="the share of these that moved all the same")
    agreement: float = Field(description="adjusted Rand index: 1 is the same division")


class SegmentsAnswer(BaseModel):
    """All segments of a kind, most customers first."""

    kind: Kind
    told_at: UtcTime
    model_versions: list[str] = Field(description="of the portrait model that learned them; empty for other kinds")
    users: int
    pooled: int = Field(description="segments too small to be shown, put together as `other` or left out")
    churn: ChurnAnswer | None
    segments: list[SegmentCard]


def card(one: Segment) -> SegmentCard:
    traits = {trait: _shares(shares) for trait, shares in one.traits.items()}
    return SegmentCard.model_validate(asdict(one) | {"differs": dict(one.differs), "traits": traits, "interests": _shares(one.interests)})


def _shares(pairs: dict[str, tuple[float, float]]) -> dict[str, ShareAnswer]:
    return {name: ShareAnswer(here=here, overall=overall) for name, (here, overall) in pairs.items()}


def segments_answer(found: Segments) -> SegmentsAnswer:
    return SegmentsAnswer.model_validate(asdict(found) | {"segments": [card(one) for one in found.segments]})


@router.get(
    "/segments",
    tags=["portrait"],
    dependencies=[needs("read:portrait")],
    responses=told_in_schema("bad-request", "unknown-segment", "not-served"),
)
def get_segments(kind: Annotated[Kind, Query()] = "learned", as_of: AsOf = None) -> SegmentsAnswer:
    """The shop's segments, a card each: `learned` by the portrait model, `rfm` by recency, frequency and money, or by the shop's `rules`.

    Nothing is told of a segment with fewer customers than the shop's least number.
    """
    try:
        return segments_answer(segments(as_of or front().clock(), kind))
    except NotServed as nothing:
        if as_of is None:
            raise
        raise ProblemError("unknown-segment", f"By {as_of:%Y-%m-%d} no segment may have been told. {nothing}") from nothing


@router.get(
    "/segments/{name:path}",
    tags=["portrait"],
    dependencies=[needs("read:portrait")],
    responses=told_in_schema("bad-request", "unknown-segment", "not-served"),
)
def get_segment(name: Annotated[str, Path(max_length=200, examples=["champions"])], as_of: AsOf = None) -> SegmentCard:
    """One segment's card, of whatever kind has that name."""
    return card(segment(as_of or front().clock(), name))
