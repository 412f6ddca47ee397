"""Parameters that several routes take."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from pydantic import BeforeValidator, WithJsonSchema

from serving.http.problems import ProblemError
from serving.shop_front import MAX_LIST
from serving.web.texts import Texts, language_of


def as_naive_utc(given: Any) -> Any:
    """`2024-05-01`, which is its midnight, or `2024-05-01T10:00:00Z`, or with another offset; without one it is UTC."""
    if not isinstance(given, str):
        return given
    try:
        time = datetime.fromisoformat(given)
        return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    except (ValueError, OverflowError) as fault:
        raise ValueError("a time is written 2024-05-01 or 2024-05-01T10:00:00Z") from fault


def as_day(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return datetime.strptime(given, "%Y-%m-%d").date()  # noqa: DTZ007 - a day has no zone
    except ValueError as fault:
        raise ValueError("a day is written 2024-05-01") from fault


_ID = r"^[^\x00-\x1f\x7f]{1,200}$"  # a path with a line break in it leads nowhere
UserId = Annotated[str, Path(pattern=_ID, description="the shop's own id of a customer", examples=["u002412"])]
ItemId = Annotated[str, Path(pattern=_ID, description="the shop's own id of an item", examples=["i1001"])]
K = Annotated[int, Query(ge=1, le=MAX_LIST, description="length of the list")]
AsOf = Annotated[
    datetime | None,
    BeforeValidator(as_naive_utc),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}),
    Query(description="as known at that time: a day, which is its first moment, or a time; UTC where no offset is given"),
]
Reasons = Annotated[bool, Query(description="name the past events behind each item")]
Debug = Annotated[bool, Query(description="show every stage: candidates, scores, and what which rule took out")]
Day = Annotated[date, BeforeValidator(as_day), WithJsonSchema({"type": "string", "format": "date"}), Query()]


def _texts(request: Request) -> Texts:
    return Texts(language_of(request))


#: Words in the language that the caller accepts.
Language = Annotated[Texts, Depends(_texts)]


def check_window(since: date, until: date) -> None:
    if since >= until:
        raise ProblemError("bad-request", f"`until` must be later than `since`. Received {since} and {until}.")


def request_rules(
    categories: Annotated[list[str] | None, Query(description="only below these category paths")] = None,
    without_categories: Annotated[list[str] | None, Query(description="nothing below these")] = None,
    price_min: Annotated[float | None, Query(ge=0)] = None,
    price_max: Annotated[float | None, Query(ge=0)] = None,
    blocked: Annotated[list[str] | None, Query(description="items not to be shown, beside the shop's own")] = None,
    diversity: Annotated[float | None, Query(ge=0, lt=1, description="0: by relevance alone")] = None,
    category_cap: Annotated[int | None, Query(ge=0, description="most items of one top-level category; 0: no limit")] = None,
    exploration_share: Annotated[float | None, Query(ge=0, le=1, description="share of places that are drawn")] = None,
) -> dict[str, Any]:
    """What a request sets of `serving.rules.OVERRIDES`."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in locals().items()}


RequestRules = Annotated[dict[str, Any], Depends(request_rules)]
