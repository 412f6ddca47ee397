"""The page of segments: a card each, by kind, and one segment's profile against everybody."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from serving.errors import ConsumerError
from serving.http.problems import as_problem
from serving.segment_members import KINDS, Kind
from serving.segments import segments
from serving.shop_front import front
from serving.web.render import page
from serving.web.session import may

router = APIRouter(include_in_schema=False)


@router.get("/segments", dependencies=[may("read:portrait")])
def segments_page(request: Request, name: str = "", kind: str = "") -> HTMLResponse:
    """All segments of a kind, or one with its profile against everybody; where no kind is asked for, the learned ones, and before there are
    any recency, frequency and money."""
    asked: tuple[Kind, ...] = tuple(one for one in KINDS if one == kind) or ("learned", "rfm")
    values: dict[str, Any] = {"found": None, "segment": None, "problem": None, "name": name[:200], "kind": asked[0], "kinds": KINDS}
    for one in asked:
        try:
            values |= {"found": segments(front().clock(), one), "kind": one}
            break
        except ConsumerError as error:
            values["problem"] = values["problem"] or as_problem(error)
    if values["found"] and name:
        values["segment"] = next((one for one in values["found"].segments if one.name == name), None)
    missing = name and values["found"] and not values["segment"]
    return page(request, "segments.html", 404 if missing else 200, **values)
