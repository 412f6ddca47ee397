"""The body of `POST /v1/events`: live events in landing form, one object or a list, taken to disk and online before the answer.

The body is read as it comes and judged by the landing rules alone, so an event means the same here and in a delivered file.
"""

import json
from dataclasses import asdict
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from feature_repo.live import LiveReport, accept
from feature_repo.live_rules import Refused
from serving.http.problems import ProblemError
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


async def take(request: Request) -> LiveReport:
    """What became of the events of a request's body; a problem where it is no JSON, too large, not stored, or holds refused events."""
    try:
        posted = json.loads(await _body(request))
    except (ValueError, RecursionError) as fault:
        raise ProblemError(
            "bad-request", f"A request's body must be JSON. Received {fault}. Send one event as an object, or a list of them."
        ) from fault
    events = posted if isinstance(posted, list) else [posted]
    if len(events) > MAX_EVENTS:
        raise ProblemError("too-large", f"A request may have {MAX_EVENTS} events. Received {len(events)}. Send fewer at a time.")
    try:
        report = await run_in_threadpool(accept, events)
    except OSError as fault:
        raise ProblemError(
            "not-stored", f"Events must be on disk before they are accepted. Received: {fault}. Send the request again later."
        ) from fault
    if report.refused:
        raise _refused(report)
    return report


async def _body(request: Request) -> bytes:
    """The body; no more than MAX_BYTES are ever held."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BYTES:
            raise ProblemError("too-large", f"A request may have {MAX_BYTES} bytes. Received more. Send fewer events at a time.")
        chunks.append(chunk)
    return b"".join(chunks)


def _refused(report: LiveReport) -> ProblemError:
    first: Refused = report.refused[0]
    return ProblemError(
        "events-refused",
        f"Every event must keep the landing rules. {len(report.refused)} did not, the first at index {first.index}: {first.message}",
        more={
            "accepted": report.accepted,
            "duplicates": report.duplicates,
            "is_online": report.is_online,
            "refused": [asdict(refusal) for refusal in report.refused],
        },
    )


def _column_schema(column: Column) -> dict[str, Any]:
    return _JSON_TYPES[column.kind] | {"description": column.meaning}


_EVENT = {
    "type": "object",
    "required": list(LANDING["events"].required),
    "properties": {column.name: _column_schema(column) for column in LANDING["events"].columns},
    "example": EXAMPLE,
}
#: What `/docs` says of the body, which is read as it comes.
DESCRIPTION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"oneOf": [_EVENT, {"type": "array", "maxItems": MAX_EVENTS, "items": _EVENT}]}}},
    }
}
