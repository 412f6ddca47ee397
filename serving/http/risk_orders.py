"""`POST /v1/risk/orders`: approve, review or refuse an order while it is placed."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from feature_repo.order_features import AskedOrder
from serving.fraud import decide, log_order
from serving.http.access import needs
from serving.http.answers import Share, UtcTime
from serving.http.idempotent import OnceOnly
from serving.http.parameters import Language, as_naive_utc
from serving.http.problems import told_in_schema
from settings import get_settings

router = APIRouter(prefix="/v1/risk")

Id = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Time = Annotated[datetime, BeforeValidator(as_naive_utc)]


class OrderBody(BaseModel):
    """An order that is being placed; ids are the shop's own, instruments pseudonymous."""

    model_config = ConfigDict(extra="forbid", strict=True)

    order_id: Id
    user_id: Id | None = Field(None, description="null for a guest")
    amount: float = Field(ge=0, le=1e9, allow_inf_nan=False, description="order total in the shop's currency", examples=[149.9])
    payment_id: Id | None = None
    device_id: Id | None = None
    address_id: Id | None = None
    placed_at: Time = Field(description="UTC where no offset is given", examples=["2024-05-01T10:31:07Z"])
    account_opened_at: Time | None = Field(None, description="where the loaded records may not know the account yet")


class Reason(BaseModel):
    """What raises the probability, in words."""

    code: str = Field(examples=["shared_device"])
    text: str = Field(examples=["Several accounts order by this device"])


class LinkedAccountAnswer(BaseModel):
    """Another account that ordered by the same instruments."""

    user_id: str
    shares: list[str] = Field(examples=[["payment", "device"]])


class BurstAnswer(BaseModel):
    """Accounts opened within days of each other that share instruments, one of them this order's or linked to it."""

    user_ids: list[str]
    first_opened_at: UtcTime
    last_opened_at: UtcTime


class OrderAnswer(BaseModel):
    """What was decided about an order, and on what."""

    order_id: str
    verdict: Literal["approve", "review", "refuse"]
    probability: Share = Field(description="that it is charged back as fraud")
    reasons: list[Reason] = Field(description="by falling effect")
    expected_costs: dict[str, float] = Field(description="of each verdict, in the shop's currency; the verdict is the cheapest")
    linked_accounts: list[LinkedAccountAnswer]
    burst: BurstAnswer | None
    counted_to: UtcTime = Field(description="records count up to here; chargebacks known by then")
    asked_since: int = Field(description="orders by the same instruments since then that this API was asked about: they count too")
    stale: list[str] = Field(description="`records`: loaded more than a day before the order; `account_age`: nobody knows it")
    model_version: int
    label: str | None = Field(description="of that version, `stable` or `canary`; null where the model has no release")
    decision_id: str = Field(description="in the log of decisions")
    is_simulated: bool = Field(description="the loaded shop is the simulated one: its frauds are made up")


@router.post(
    "/orders",
    tags=["risk"],
    dependencies=[needs("risk")],
    response_model=OrderAnswer,
    responses=told_in_schema("bad-request", "key-reused", "still-answering", "not-served"),
)
def post_order(body: OrderBody, once: OnceOnly, words: Language) -> Response:
    """Decides about an order while it is placed: the verdict that costs least at its probability of fraud. Every verdict is logged.

    The order counts for those after it, so ask about each once, with an `Idempotency-Key` where the request may be sent again. Reasons
    are worded in the language of `Accept-Language` (en, zh). A verdict `review` waits in `GET /v1/reviews` for a person.
    """

    def answer() -> OrderAnswer:
        verdict = decide(AskedOrder(**body.model_dump()))
        told = asdict(verdict) | {
            "reasons": [Reason(code=code, text=words.named("reason", code)) for code in verdict.reason_codes],
            "expected_costs": verdict.costs,
            "decision_id": log_order(verdict, body.user_id, get_settings()),
        }
        return OrderAnswer.model_validate(told)

    return once.answer(answer)
