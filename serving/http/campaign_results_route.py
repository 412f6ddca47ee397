"""`GET /v1/campaigns/{name}/results`."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from serving.campaign_results import CampaignResults, results
from serving.http.access import needs
from serving.http.answers import UtcTime
from serving.http.parameters import AsOf
from serving.http.problems import told_in_schema
from serving.roi import Line
from serving.roi_ledger import Snapshot

router = APIRouter(prefix="/v1")


class Range(BaseModel):
    """An estimate and its interval, which holds on all days together."""

    mean: float
    low: float
    high: float


class GainAnswer(BaseModel):
    """What an offer brought beyond its holdout."""

    per_user: Range
    total: Range
    variance_reduction: float = Field(description="share of variance that segments and earlier behaviour take out")


class OfferAccount(BaseModel):
    """One offer's account; gains, profit and return are null while nothing is sent or too few users tell."""

    offer: str
    planned: int
    holdout: int
    sent: int
    redeemed: int
    contact_cost: float
    redemption_cost: float
    cost: float
    elapsed: float = Field(ge=0, le=1, description="mean share of the outcome window that is over")
    visits: GainAnswer | None
    conversions: GainAnswer | None
    spend: GainAnswer | None
    profit: Range | None
    roi: Range | None = Field(description="profit by what was spent")
    expected_profit: float = Field(description="what the plan expected by the end")
    p_value: float | None = Field(description="that the offer earns just what it costs; may be looked at daily")
    action: Literal["go_on", "stop_benefit", "stop_harm", "stop_futility", "undecided"]


class ResultsDay(BaseModel):
    """The accounts as they were known when a day began."""

    as_of: UtcTime
    is_over: bool
    is_reported: bool = Field(
        description="the shop itself told who was sent what; otherwise who was assigned counts as sent once the campaign was marked so"
    )
    offers: list[OfferAccount]


class ResultsAnswer(BaseModel):
    """A campaign's results: the newest day's, and those of the days before."""

    name: str
    as_of: UtcTime
    outcome_days: int
    alpha: float = Field(description="chance that an interval of any offer or day leaves out the truth")
    days: list[ResultsDay] = Field(description="oldest first; the last one is the newest")


def results_answer(found: CampaignResults) -> ResultsAnswer:
    return ResultsAnswer(
        name=found.name, as_of=found.as_of, outcome_days=found.outcome_days, alpha=found.alpha, days=[_day(day) for day in found.days]
    )


def _day(snapshot: Snapshot) -> ResultsDay:
    told: dict[str, Any] = {"as_of": snapshot.as_of, "is_over": snapshot.is_over, "is_reported": snapshot.is_reported}
    return ResultsDay.model_validate(told | {"offers": [_account(line) for line in snapshot.lines]})


def _account(line: Line) -> dict[str, Any]:
    told = asdict(line)
    gains = told.pop("gains")
    return told | {"cost": line.cost} | {kind: gains.get(kind) for kind in ("visits", "conversions", "spend")}


@router.get(
    "/campaigns/{name}/results",
    tags=["marketing"],
    dependencies=[needs("marketing")],
    responses=told_in_schema("bad-request", "no-results", "not-served"),
)
def get_results(
    name: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$", description="the campaign's name", examples=["spring"])],
    as_of: AsOf = None,
) -> ResultsAnswer:
    """What a campaign cost and brought beyond its holdout, offer by offer, as known at the end of every day.

    Intervals and p-values hold over all days together: look daily, and stop when `action` says so.
    """
    return results_answer(results(name, as_of))
