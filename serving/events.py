"""`POST /v1/events`: takes live events in landing form, one object or a list, and answers once they are on disk and online.

The body is read as it comes and judged by the landing rules alone, so an event means the same here and in a delivered file.
"""

import json
from dataclasses import asdict
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from feature_repo.live import LiveReport, accept
from feature_repo.live_rules import Refused
from sources.landing import LANDING, Column

MAX_EVENTS = 5_000
MAX_BYTES = 4 * 1024 * 1024
PATH = "/v1/events"

_JSON_TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "timestamp": {"type": "string", "format": "date-time"},
    "float": {"type": "number"},
}
EXAMPLE = {
    "event_id": "web-7f3a",
    "user_id": "u42",
    "item_id": "i1001",
    "event_type": "purchase",
    "occurred_at": "2024-05-01T10:31:07.250Z",
    "session_id": "s9",
    "order_id": "o77",
    "quantity": 1,
    "unit_price": 19.9,
}


async def post_events(request: Request) -> JSONResponse:
    """Takes what users do, as it happens: an event, or a list of them, in the columns of the landing table `events`.

    Each is judged by the rules of a delivered file. Accepted events are on disk when the answer comes (200: and in their users' online
    features; 202: these will follow). An `event_id` that was taken before is counted as a duplicate, so a request may be sent again. Where
    events are refused the answer is 400 and names each with its rule; the others of the request were taken.
    """
    body = await _body(request)
    if body is None:
        return _problem(413, "TooLarge", f"A request may have {MAX_BYTES} bytes. Received more. Send fewer events at a time.")
    try:
        posted = json.loads(body)
    except (ValueError, RecursionError) as fault:
        return _problem(
            400, "BadRequest", f"A request's body must be JSON. Received {fault}. Send one event as an object, or a list of them."
        )
    events = posted if isinstance(posted, list) else [posted]
    if len(events) > MAX_EVENTS:
        return _problem(413, "TooLarge", f"A request may have {MAX_EVENTS} events. Received {len(events)}. Send fewer at a time.")
    try:
        report = await run_in_threadpool(accept, events)
    except OSError as fault:
        return _problem(
            503, "NotStored", f"Events must be on disk before they are accepted. Received: {fault}. Send the request again later."
        )
    if report.refused:
        return _refused(report)
    counts = {"accepted": report.accepted, "duplicates": report.duplicates, "is_online": report.is_online}
    return JSONResponse(counts, 200 if report.is_online else 202)


async def _body(request: Request) -> bytes | None:
    """The body, or None where it is too large; no more than MAX_BYTES are ever held."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _refused(report: LiveReport) -> JSONResponse:
    first: Refused = report.refused[0]
    detail = f"Every event must keep the landing rules. {len(report.refused)} did not, the first at index {first.index}: {first.message}"
    return _problem(
        400,
        "EventsRefused",
        detail,
        accepted=report.accepted,
        duplicates=report.duplicates,
        is_online=report.is_online,
        refused=[asdict(refusal) for refusal in report.refused],
    )


def _problem(status: int, title: str, detail: str, **more: Any) -> JSONResponse:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": PATH}
    return JSONResponse(body | more, status, media_type="application/problem+json")


def _column_schema(column: Column) -> dict[str, Any]:
    return _JSON_TYPES[column.kind] | {"description": column.meaning}


_EVENT = {
    "type": "object",
    "required": list(LANDING["events"].required),
    "properties": {column.name: _column_schema(column) for column in LANDING["events"].columns},
    "example": EXAMPLE,
}
_COUNTS = {
    "type": "object",
    "properties": {"accepted": {"type": "integer"}, "duplicates": {"type": "integer"}, "is_online": {"type": "boolean"}},
    "example": {"accepted": 1, "duplicates": 0, "is_online": True},
}
_PROBLEM = {"application/problem+json": {"schema": {"type": "object"}}}

#: What `/docs` says of the route: keyword arguments of `app.post`.
DESCRIPTION: dict[str, Any] = {
    "tags": ["events"],
    "summary": "Take live events",
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"oneOf": [_EVENT, {"type": "array", "maxItems": MAX_EVENTS, "items": _EVENT}]}}},
        }
    },
    "responses": {
        200: {"description": "On disk and online", "content": {"application/json": {"schema": _COUNTS}}},
        202: {"description": "On disk; online soon", "content": {"application/json": {"schema": _COUNTS}}},
        400: {"description": "Some events were refused, each named in `refused`; the others were taken", "content": _PROBLEM},
        413: {"description": f"More than {MAX_EVENTS} events or {MAX_BYTES} bytes; nothing was taken", "content": _PROBLEM},
        503: {"description": "The events could not be stored; send them again", "content": _PROBLEM},
    },
}
