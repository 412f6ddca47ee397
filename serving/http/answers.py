"""What the API answers, typed: one model a route. Times are UTC and say so; unknown numbers are null."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from feature_repo.frames import naive_utc
from serving import portraits
from serving.http.parameters import as_naive_utc
from serving.recommend import MAX_SESSION, Recommendations
from serving.rules import OVERRIDES
from serving.shop_front import MAX_LIST


def _as_utc(time: datetime) -> str:
    return f"{naive_utc(time).isoformat()}Z"


#: `2024-05-01T00:00:00Z`, from a time with a zone, or from one without, which is UTC throughout the house.
UtcTime = Annotated[datetime, PlainSerializer(_as_utc, str, when_used="json")]
Share = Annotated[float, Field(ge=0, le=1)]
Plain = str | bool | int | float | None


class Trait(BaseModel):
    """An inferred trait."""

    name: str = Field(examples=["gender"])
    value: str | None = Field(description="null where no value is certain enough to be said")
    probabilities: dict[str, float] = Field(description="of each value, most likely first; empty in a stored portrait")


class Inferred(BaseModel):
    """What a portrait model said of a user, when, and which version of it."""

    source: Literal["live", "stored"] = Field(
        description="`live`: the served model answered now. `stored`: from the portrait that the daily scoring stored before `as_of`"
    )
    told_at: UtcTime = Field(description="the time as of which the model was asked")
    model_version: int
    vector: list[float] = Field(description="the user's place among all users: near ones are alike; of one model version")
    traits: list[Trait]
    segment: str | None
    interests: dict[str, float] = Field(description="shares by top-level category, most first")
    interests_30d_ago: dict[str, float] | None = Field(description="null without events by then, and in a stored portrait")
    interest_alarm: bool = Field(description="the taste changed at once within 30 days")
    next_category: str | None
    purchase_probability_7d: Share | None
    purchase_probability_30d: Share | None
    churn_probability_7d: Share | None
    churn_probability_30d: Share | None
    expected_spend_90d: float | None


class RecentEvent(BaseModel):
    """One of the newest events of a user."""

    occurred_at: UtcTime
    event_type: str
    item_id: str
    title: str | None


class PortraitAnswer(BaseModel):
    """What is known and inferred of a user, with the time and model version of each."""

    user_id: str
    as_of: UtcTime
    features_at: UtcTime | None = Field(description="the time up to which `known` was counted")
    known: dict[str, UtcTime | Plain | list[Plain]] = Field(description="features, as the marts' contract names them")
    recent: list[RecentEvent]
    inferred: Inferred | None = Field(description="null, with `note`, where no model speaks")
    note: str | None


class Change(BaseModel):
    """One line of the portrait that the stored portraits say differently."""

    line: str = Field(examples=["interests.books"])
    then: Plain
    now: Plain


class ChangesAnswer(BaseModel):
    """What the daily portraits known at the two midnights say differently."""

    user_id: str
    since: str
    until: str
    changes: list[Change]


class PlacedItem(BaseModel):
    """An item as a customer sees it, and its place in a list."""

    rank: int = Field(ge=1)
    item_id: str
    title: str | None
    category: str | None
    brand: str | None
    price: float | None
    in_stock: bool


class RecommendedItem(PlacedItem):
    """One place of the list."""

    score: float | None = Field(description="the model's logit; null in a list by popularity")
    reason: str = Field(description="ranked, promoted, explored or popular")
    propensity: float = Field(description="the chance that this item stood here, given the places above it")
    because: list["PastEvent"] = Field(description="the past events behind it, the strongest first; where reasons were asked for")


class PastEvent(BaseModel):
    """A past event without which an item's score would be lower."""

    item_id: str
    title: str | None
    event_type: str
    occurred_at: UtcTime
    effect: float = Field(description="what the item's score falls by without it")


class Stage(BaseModel):
    """What a stage of the recommender left, and what it took out."""

    name: str = Field(examples=["filter"])
    count: int
    items: list[tuple[str, float | None]] = Field(description="item id and score, in the stage's order")
    removed: dict[str, list[str]] = Field(description="item ids by the rule that took them out")


class RecommendationsAnswer(BaseModel):
    """A ranked list, and where it came from."""

    user_id: str = Field(description="'' for a session of nobody known")
    decision_id: str | None = Field(description="of this list in the log of decisions, place n is `<id>.n`; null where the log was full")
    items: list[RecommendedItem]
    source: str = Field(description="`model` or `popularity`")
    note: str | None = Field(description="why it is not the model's own list")
    model_version: int | None
    label: str | None = Field(description="of that version, `stable` or `canary`; null where the model has no release")
    as_of: UtcTime
    features_at: UtcTime | None
    candidates: int = Field(description="what could be placed after the filters")
    stages: list[Stage] | None = Field(description="where `debug` was asked for")


class OfferEffect(BaseModel):
    """What one offer would change."""

    offer: str
    visit_uplift: float
    conversion_uplift: float
    spend_uplift: float
    cost: float
    expected_profit: float
    visit_uplift_low: float | None = Field(None, description="where the 95 % interval of `visit_uplift` begins; null from an older model")
    visit_uplift_high: float | None = Field(None, description="and ends")
    spend_uplift_low: float | None = Field(None, description="where the 95 % interval of `spend_uplift` begins; null from an older model")
    spend_uplift_high: float | None = Field(None, description="and ends")


class OffersAnswer(BaseModel):
    """Every offer for a user by falling expected profit."""

    user_id: str
    as_of: UtcTime
    features_at: UtcTime | None
    model_version: int
    effects: list[OfferEffect]
    best: str | None = Field(description="null where every offer loses money")
    label: str | None = Field(description="of that version, `stable` or `canary`; null where the model has no release")
    decision_id: str | None = Field(description="in the log of decisions, offer n of the list is `<id>.n`; null where the log was full")


class VisitedItem(BaseModel):
    """Something a visitor did; without a time it is taken as just done, in the order given."""

    model_config = ConfigDict(extra="forbid", strict=True)

    item_id: str = Field(min_length=1, max_length=200)
    event_type: str = Field("view", examples=["view", "cart"], max_length=40)
    occurred_at: Annotated[datetime | None, BeforeValidator(as_naive_utc)] = None


class SessionBody(BaseModel):
    """A visit of nobody known, and the list that is wanted; the rules are those of the shop where None."""

    model_config = ConfigDict(extra="forbid", strict=True)

    events: list[VisitedItem] = Field(max_length=MAX_SESSION, description="oldest first")
    k: int = Field(10, ge=1, le=MAX_LIST)
    reasons: bool = False
    debug: bool = False
    categories: list[str] | None = None
    without_categories: list[str] | None = None
    price_min: float | None = Field(None, ge=0)
    price_max: float | None = Field(None, ge=0)
    blocked: list[str] | None = None
    diversity: float | None = Field(None, ge=0, lt=1)
    category_cap: int | None = Field(None, ge=0)
    exploration_share: float | None = Field(None, ge=0, le=1)

    def rules(self) -> dict[str, Any]:
        given = self.model_dump(include=set(OVERRIDES))
        return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


class Taken(BaseModel):
    """What became of the events of a request."""

    accepted: int = Field(ge=0)
    duplicates: int = Field(ge=0, description="events whose `event_id` was taken before: nothing changed")
    is_online: bool = Field(description="whether they are in their users' online features already")


class Alive(BaseModel):
    status: Literal["ok"]


class Ready(BaseModel):
    """Whether the house can answer, and what of it."""

    status: Literal["ready", "not ready"]
    checks: dict[str, str] = Field(examples=[{"features": "ok", "model portrait": "version 3"}])


def portrait_answer(answer: portraits.Portrait, source: Literal["live", "stored"], told_at: datetime | None) -> PortraitAnswer:
    """Arrays as lists; the model's lines with where they come from."""
    known = {name: _plain(value) for name, value in answer.known.items()}
    inferred = asdict(answer.inferred) | {"source": source, "told_at": told_at or answer.as_of} if answer.inferred else None
    return PortraitAnswer.model_validate(asdict(answer) | {"known": known, "inferred": inferred})


def recommendations_answer(answer: Recommendations, decision_id: str | None) -> RecommendationsAnswer:
    """One flat object per item."""
    items = [{**asdict(place), **asdict(place.card)} for place in answer.items]
    return RecommendationsAnswer.model_validate(asdict(answer) | {"items": items, "decision_id": decision_id})


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
