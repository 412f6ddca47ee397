"""What is around every request: its id, room for it, the limit of its body, safe headers, one log line, and its place in the metrics.

Of more requests than there is room for the rest are refused at once: work that waits in a queue would only make everybody late.

Plain ASGI, so that it costs microseconds. No personal value is logged: the route's template stands in place of the path, and of an
unforeseen error only its kind and the lines of code that it passed.
"""

import json
import logging
import re
import secrets
import time
import traceback
from collections.abc import Callable
from typing import Any

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.metrics import Metrics
from serving.http.operations import WATCHED
from serving.http.problems import MEDIA_TYPE, ProblemError, as_problem

MAX_BODY = 64 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
}
_FULL = "This house works on {room} requests at once. Received one more. Ask again in a second, or give the API more processes."
log = logging.getLogger("portrait.api")


class Envelope:
    """`limits` are bodies' limits in bytes by path, where they differ from MAX_BODY; `room` is how many requests are worked on at once."""

    def __init__(self, app: ASGIApp, metrics: Metrics, limits: dict[str, Callable[[], int]], room: int) -> None:
        self.app, self.metrics, self.limits, self.room = app, metrics, limits, room
        self._inside = 0  # requests counted against the room; changed by the event loop alone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        state["request_id"] = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        limit, taken = self.limits.get(scope["path"], lambda: MAX_BODY)(), 0
        begin, status = time.perf_counter(), 0
        counts = scope["path"] not in WATCHED

        async def bounded() -> Message:
            nonlocal taken
            self._inside -= counts  # who sends a body slowly, with or without a key, takes nobody's place
            try:
                message = await receive()
            finally:
                self._inside += counts
            taken += len(message.get("body", b""))
            if taken > limit:
                raise HTTPException(413, f"A request to this address may have {limit} bytes. Received more. Send less at a time.")
            return message

        async def outward(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_added(message["headers"], state)]
            await send(message)

        self._inside += counts
        self.metrics.in_flight.inc()
        try:
            if counts and self._inside > self.room:
                self.metrics.refused.labels("overloaded").inc()
                raise ProblemError("overloaded", _FULL.format(room=self.room), {"Retry-After": "1"})
            await self.app(scope, bounded, outward)
        except ProblemError as refusal:  # the app tells its own
            await _send_problem(refusal, scope, state["request_id"], outward)
        except Exception as error:
            log.error("unforeseen", extra={"fields": {"request_id": state["request_id"], **_without_values(error)}})
            if status:
                raise
            await _send_problem(error, scope, state["request_id"], outward)
        finally:
            self._inside -= counts
            self.metrics.in_flight.dec()
            seconds, route = time.perf_counter() - begin, _template(scope)
            self.metrics.count(scope["method"], route, status or 500, seconds)
            fields = {"method": scope["method"], "route": route, "status": status or 500, "ms": round(seconds * 1000, 2)}
            log.info("request", extra={"fields": fields | {"request_id": state["request_id"], "key": state.get("key_id")}})


def _template(scope: Scope) -> str:
    """`/v1/users/{user_id}/portrait`: never the path itself, which names a person."""
    return getattr(scope.get("route"), "path_format", None) or getattr(scope.get("route"), "path", None) or "unmatched"


def _added(given: list[tuple[bytes, bytes]], state: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    there = {name.lower() for name, _ in given}
    wanted = {"X-Request-ID": state["request_id"], **_HEADERS, **state.get("headers", {})}
    return [(name.encode(), value.encode()) for name, value in wanted.items() if name.lower().encode() not in there]


async def _send_problem(error: Exception, scope: Scope, request_id: str, send: Send) -> None:
    problem = as_problem(error)
    body = json.dumps(problem.body(scope["path"], request_id)).encode()
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _without_values(error: Exception) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    where = [f"{frame.filename.rsplit('/', 2)[-2]}/{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, "where": where}
