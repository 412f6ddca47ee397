"""`/v1/campaigns`: plan who gets which offer, read the plan and its verdict, approve or reject it."""

from dataclasses import asdict
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from serving.campaign_approval import approve, reject
from serving.campaign_evaluate import Evaluation, evaluate_plan, read_evaluation
from serving.campaign_exports import exported
from serving.campaign_plan import Plan, plan, read_plan
from serving.campaign_request import DEFAULT_MARGIN, MOST_MONEY, CampaignRequest, Channel, Objective
from serving.campaign_state import Status, read_status
from serving.decisions import decision_time
from serving.http.access import check_scope, needs
from serving.http.answers import UtcTime
from serving.http.problems import told_in_schema
from serving.shop_front import front
from settings import get_settings

router = APIRouter(prefix="/v1", tags=["marketing"])

NAME = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$"
Name = Annotated[str, Path(pattern=NAME)]
Money = Annotated[float, Field(ge=0, le=MOST_MONEY, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Short = Annotated[str, Field(max_length=200)]


class Offer(BaseModel):
    """An offer, a treatment of past campaigns, as it may be given."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=200)
    channel: Channel = "email"
    contact_cost: Money | None = Field(None, description="for everybody who gets it; past campaigns' mean where absent")
    redemption_cost: Money = Field(0.0, description="for each who then buys")


class SegmentQuota(BaseModel):
    """How many users of a segment get an offer; shares are of its users who are not held out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    segment: str = Field(min_length=1, max_length=200)
    least: int = Field(0, ge=0)
    most: int | None = Field(None, ge=0)
    least_share: Share = 0.0
    most_share: Share = 1.0


class Range(BaseModel):
    """From `min` to `max`, both included."""

    model_config = ConfigDict(extra="forbid", strict=True)

    min: float | None = Field(None, allow_inf_nan=False)
    max: float | None = Field(None, allow_inf_nan=False)


class CampaignBody(BaseModel):
    """A campaign to plan."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(pattern=NAME, examples=["spring"])
    budget: Money = Field(description="what contacts and expected redemptions may cost, in the shop's currency", examples=[500.0])
    margin: float = Field(DEFAULT_MARGIN, gt=0, le=1, description="share of spend that is profit")
    holdout: float = Field(0.1, ge=0, lt=1, description="share of the audience that gets nothing, to measure by")
    costs: dict[str, Money] | None = Field(None, description="cost of a contact by offer; past campaigns' mean where absent")
    objective: Objective = "profit"
    offers: list[Offer] = Field([], max_length=20, description="all that past campaigns tried where empty")
    channel_budgets: dict[Channel, Money] = {}
    offers_per_user: int = Field(1, ge=1, le=3, description="above 1, combinations count as offers, their effects added up")
    holdout_users: int = Field(0, ge=0, description="hold out at least so many")
    fatigue_days: int = Field(0, ge=0, le=3650, description="leave out whoever was contacted in so many days before")
    quotas: list[SegmentQuota] = Field([], max_length=200)
    audience: dict[str, Range | list[str | bool | int | float]] = Field({}, description="by `segment` or a column of user_features")
    exclude_users: list[str] = Field([], max_length=100_000)
    exclude_segments: list[str] = Field([], max_length=200)
    starts_on: Annotated[date | None, Field(strict=False)] = None
    ends_on: Annotated[date | None, Field(strict=False)] = None

    def request(self) -> CampaignRequest:
        return CampaignRequest.of(self.model_dump(exclude_none=True))


class PlanAnswer(BaseModel):
    """A campaign's plan in totals, of users who are not held out; its rows lie in the house under `path`."""

    request: dict[str, Any] = Field(description="as it was asked for, with defaults")
    as_of: UtcTime
    model_version: int
    audience: int
    held_out: int
    treated: dict[str, int]
    planned_cost: float
    expected_visits: float | None = Field(description="null of an outcome that past campaigns never told, as the three below")
    expected_conversions: float | None
    expected_spend: float | None
    expected_profit: float | None
    value: float = Field(description="of the objective")
    best_possible: float = Field(description="a value of the objective that no plan within these limits exceeds")
    price: float = Field(description="what one more unit of budget would add to the objective")
    price_in_words: str
    prices: dict[str, dict[str, float]] = Field(description="the same of each channel's budget and each segment's quota")
    curve: list[list[float]] = Field(description="pairs of a budget and the objective's value")
    groups: list[dict[str, Any]] = Field(description="users by segment and offer; segments of too few together as `other`")
    without_cost: list[str] = Field(description="offers of which nobody knows what a contact costs: counted as 0")
    left_out: dict[str, int] = Field(description="users by why they are not of the audience")
    path: str = Field(examples=["campaigns/spring/plan.parquet"])


class EvaluationAnswer(BaseModel):
    """The verdict on a plan, by what its rule would have done in past randomised campaigns."""

    verdict: Literal["blessed", "unsure", "loss", "unknown"]
    reason: str
    gain: dict[str, Any] | None = Field(
        description="for each user against giving nobody anything, by estimator; null without such campaigns"
    )
    campaigns: list[str]
    not_randomised: int
    not_covered: int
    seen_by_model: int
    profit: dict[str, Any] | None = Field(description="the same in money, whatever the objective; null where too little spend is known")
    coverage: float = Field(description="share of those whom the plan's rule gives an offer who could be judged")


class CampaignAnswer(BaseModel):
    """Where a campaign stands."""

    name: str
    state: Literal["planned", "approved", "rejected", "sent"]
    history: list[dict[str, Any]]
    plan: PlanAnswer
    evaluation: EvaluationAnswer | None = Field(description="null until the plan is judged")
    exports: list[str] = Field(description="lists to send by, under `campaigns/<name>/exports/`")


class ApprovalBody(BaseModel):
    """Why a plan is approved; `override` where its verdict does not bless it, in a named `role`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    why: Short = ""
    override: Short = ""
    role: Short = ""


class RejectionBody(BaseModel):
    """Why a plan is rejected."""

    model_config = ConfigDict(extra="forbid", strict=True)

    why: Short = ""


_CAMPAIGN = told_in_schema("bad-request", "unknown-campaign", "campaign-refused", "not-served")


@router.post(
    "/campaigns",
    status_code=201,
    dependencies=[needs("plan:campaigns")],
    responses=told_in_schema("bad-request", "campaign-refused", "not-served"),
)
def plan_campaign(request: Request, body: CampaignBody) -> PlanAnswer:
    """Plans who gets which offer within a budget, and judges the plan by past randomised campaigns.

    Nobody is contacted and nothing is assigned until the plan is approved. Only users who agreed to marketing are planned for.
    """
    made = plan(body.request(), who=request.state.key.name)
    evaluate_plan(made.request.name)
    return _plan(made)


@router.get("/campaigns/{name}", dependencies=[needs("marketing")], responses=told_in_schema("unknown-campaign"))
def get_campaign(name: Name) -> CampaignAnswer:
    """The plan of a campaign, the verdict on it, where it stands and who decided what."""
    return _campaign(read_status(name, get_settings()))


@router.post("/campaigns/{name}/approve", dependencies=[needs("marketing")], responses=_CAMPAIGN)
def approve_campaign(request: Request, name: Name, body: ApprovalBody) -> CampaignAnswer:
    """Assigns everybody and writes the lists to send by; approving twice changes nothing.

    Refused where the verdict does not bless the plan; a key with the scope `override:campaigns` may say in `override` why it is sent
    nevertheless, in a named `role`.
    """
    key, settings = request.state.key, get_settings()
    if body.override:
        check_scope(request, key, "override:campaigns")
    at = decision_time(settings, front().clock())
    return _campaign(approve(name, settings, who=key.name, assigned_at=at, **body.model_dump()))


@router.post("/campaigns/{name}/reject", dependencies=[needs("marketing")], responses=_CAMPAIGN)
def reject_campaign(request: Request, name: Name, body: RejectionBody) -> CampaignAnswer:
    """The plan is not sent; another may be planned under its name."""
    return _campaign(reject(name, get_settings(), who=request.state.key.name, why=body.why))


def _plan(made: Plan) -> PlanAnswer:
    told = asdict(made) | {"request": made.request.as_dict(), "path": f"campaigns/{made.request.name}/plan.parquet"}
    told["curve"] = [list(point) for point in made.curve]
    return PlanAnswer.model_validate({name: told[name] for name in PlanAnswer.model_fields})


def _campaign(status: Status) -> CampaignAnswer:
    settings = get_settings()
    judged: Evaluation | None = read_evaluation(status.name, settings)
    evaluation = {name: value for name, value in asdict(judged).items() if name in EvaluationAnswer.model_fields} if judged else None
    return CampaignAnswer(
        name=status.name,
        state=status.state,
        history=list(status.history),
        plan=_plan(read_plan(status.name, settings)),
        evaluation=EvaluationAnswer.model_validate(evaluation) if evaluation else None,
        exports=exported(status.name, settings),
    )
