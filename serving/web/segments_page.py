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
def segments_page(request: Request, name: str = "", kind: str = "learned") -> HTMLResponse:
    """All segments of a kind, or one with its profile against everybody."""
    chosen: Kind = next((one for one in KINDS if one == kind), "learned")
    values: dict[str, Any] = {"found": None, "segment": None, "problem": None, "name": name[:200], "kind": chosen, "kinds": KINDS}
    try:
        values["found"] = segments(front().clock(), chosen)
    except ConsumerError as error:
        values["problem"] = as_problem(error)
    if values["found"] and name:
        values["segment"] = next((one for one in values["found"].segments if one.name == name), None)
    missing = name and values["found"] and not values["segment"]
    return page(request, "segments.html", 404 if missing else 200, **values)
