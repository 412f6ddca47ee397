"""Pages about customers: look one up, and the portrait, live or as of a day."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from serving import offers as marketing
from serving import portraits, stored_portraits
from serving.errors import ConsumerError, NotServed
from serving.http.parameters import as_naive_utc
from serving.http.problems import as_problem
from serving.recommend import recommend
from serving.shop_front import front
from serving.web.charts import interests_over_time
from serving.web.examples import example_users
from serving.web.render import page
from serving.web.session import may

router = APIRouter(include_in_schema=False)

#: Known features in the order in which a person reads them, by heading.
KNOWN = {
    "person": ("registered_at", "country", "city", "first_event_at", "last_event_at", "last_purchase_at", "rating_mean"),
    "activity": (
        *("events_7d", "events_30d", "events_90d", "views_7d", "views_30d", "favourites_30d", "carts_7d", "carts_30d"),
        *("active_days_30d", "sessions_30d", "events_total"),
    ),
    "buying": (
        *("purchases_7d", "purchases_30d", "purchases_90d", "returns_90d", "purchases_total"),
        *("spend_7d", "spend_30d", "spend_90d", "spend_total"),
    ),
}


@router.get("/", dependencies=[may("read:portrait")])
def customer(request: Request, user: str = "", as_of: str = "") -> HTMLResponse:
    """Look up a customer, and the portrait of the one that was looked up."""
    shop = front()
    asked = user.strip()[:200]
    values: dict[str, Any] = {"user": asked, "problem": None, "examples": [], "now": None, "days": [], "as_of": None}
    try:
        values["now"] = shop.clock()
        values["days"] = stored_portraits.published_days(shop)
        values["as_of"] = _chosen(as_of)
        if asked:
            return page(request, "customer.html", known_groups=KNOWN, **values | _portrait(request, asked, values["as_of"]))
        values["examples"] = example_users()
    except ConsumerError as error:
        problem = as_problem(error)
        return page(request, "home.html", problem.status, **values | {"problem": problem})
    return page(request, "home.html", **values)


def _chosen(as_of: str) -> datetime | None:
    """The day that was chosen; none, which is now, where it is no day."""
    try:
        return as_naive_utc(as_of) if as_of else None
    except ValueError:
        return None


def _portrait(request: Request, user: str, as_of: datetime | None) -> dict[str, Any]:
    key_may = request.state.key.may
    told = stored_portraits.timeline(user, as_of)
    chart = interests_over_time([(one.told_at, one.inferred.interests) for one in told])
    about: dict[str, Any] = {"chart": chart, "told": told, "is_past": as_of is not None, "recommendations": None, "offers": None}
    about |= {"offers_note": None, "may_recommend": key_may("read:recommendations"), "may_offer": key_may("read:offers")}
    if as_of is not None:
        past = stored_portraits.show_as_of(user, as_of)
        return about | {"portrait": past.portrait, "told_at": past.told_at}
    portrait = portraits.show(user)
    about |= {"portrait": portrait, "told_at": portrait.as_of}
    if about["may_recommend"]:
        about["recommendations"] = recommend(user, reasons=True)
    if about["may_offer"]:
        about["offers"], about["offers_note"] = _or_reason(lambda: marketing.offers(user))
    return about


def _or_reason(ask: Callable[[], marketing.Offers]) -> tuple[marketing.Offers | None, str | None]:
    try:
        return ask(), None
    except NotServed as reason:
        return None, str(reason)
