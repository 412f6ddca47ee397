"""Errors as problem details (RFC 9457), every one of them: `type` is a link into the API's page, `detail` says rule, what came, way out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from serving.errors import ConsumerError
from serving.model_client import ModelError

MEDIA_TYPE = "application/problem+json"

#: `{name: (status, title)}` of every kind of problem; `/docs` lists them.
KINDS: dict[str, tuple[int, str]] = {
    "bad-request": (400, "A parameter breaks its rule"),
    "events-refused": (400, "Some events were refused"),
    "no-key": (401, "A key is needed"),
    "scope-missing": (403, "The key may not do this"),
    "form-refused": (403, "The form did not come from this page"),
    "unknown-user": (404, "Nobody of that id is known"),
    "unknown-item": (404, "No item of that id is known"),
    "unknown-segment": (404, "No segment of that name is shown"),
    "no-results": (404, "No campaign of that name was approved"),
    "unknown-decision": (404, "No decision of that id is known"),
    "not-found": (404, "There is no such page"),
    "unknown-campaign": (404, "No campaign of that name is known"),
    "campaign-refused": (409, "The campaign cannot be changed so"),
    "release-refused": (409, "The release cannot be changed so"),
    "already-reviewed": (409, "A person has decided otherwise"),
    "still-answering": (409, "The first request of this key is not answered yet"),
    "method-not-allowed": (405, "That method is not for this address"),
    "too-large": (413, "The request is too large"),
    "invalid-parameters": (422, "The request does not fit its description"),
    "key-reused": (422, "The key came with another request before"),
    "too-many-requests": (429, "The key asks too often"),
    "internal-error": (500, "Something broke on our side"),
    "not-served": (503, "What this needs is not there now"),
    "overloaded": (503, "More is asked than can be answered now"),
    "not-stored": (503, "The events could not be stored"),
}


class Fault(BaseModel):
    """One place of a request that breaks its description."""

    location: list[str | int] = Field(description="where: `query`, `path` or `body`, then names and indexes", examples=[["query", "k"]])
    message: str = Field(examples=["Input should be less than or equal to 200"])


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="a link to what this kind of problem is", examples=["/docs#unknown-user"])
    title: str = Field(examples=["Nobody of that id is known"])
    status: int = Field(examples=[404])
    detail: str = Field(description="the rule, what came, and the way out")
    instance: str = Field(description="the address that was asked", examples=["/v1/users/u42/portrait"])
    request_id: str = Field(description="find this request in the logs by it; also in the header `X-Request-ID`")
    errors: list[Fault] | None = Field(None, description="each fault of a request that does not fit its description")


@dataclass(eq=False)
class ProblemError(Exception):
    """Raised anywhere in a request; becomes the problem details of its kind."""

    kind: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return KINDS[self.kind][0]

    def body(self, path: str, request_id: str) -> dict[str, Any]:
        status, title = KINDS[self.kind]
        told = {"type": f"/docs#{self.kind}", "title": title, "status": status, "detail": self.detail, "instance": path}
        return told | {"request_id": request_id} | dict(self.more)


#: By the name of the consumers' error (`serving/errors.py`).
_CONSUMER = {
    "UnknownUser": "unknown-user",
    "UnknownItem": "unknown-item",
    "UnknownSegment": "unknown-segment",
    "UnknownCampaign": "unknown-campaign",
    "CampaignRefused": "campaign-refused",
    "NoResults": "no-results",
    "UnknownReview": "unknown-decision",
    "AlreadyReviewed": "already-reviewed",
    "NotServed": "not-served",
    "BadRequest": "bad-request",
}
_HTTP = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 400: "bad-request"}


def as_problem(error: Exception) -> ProblemError:
    """The problem that an error is told as. What nobody foresaw is told without its text, which may hold anything."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, ConsumerError):
        return ProblemError(_CONSUMER[type(error).__name__], str(error))
    if isinstance(error, ModelError):
        return ProblemError("not-served", str(error))
    if isinstance(error, RequestValidationError):
        faults = [{"location": list(fault["loc"]), "message": fault["msg"]} for fault in error.errors()]
        first = f"{'.'.join(map(str, faults[0]['location']))}: {faults[0]['message']}"
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        return ProblemError("invalid-parameters", f"A request must fit its description in /docs. {first}{more}.", more={"errors": faults})
    if isinstance(error, HTTPException) and error.status_code in _HTTP:
        return ProblemError(_HTTP[error.status_code], _told(error), error.headers or {})
    return ProblemError(
        "internal-error", "The request could not be answered. Send its `request_id` to who runs this house; try again later."
    )


def _told(error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return "An address must be one that /docs lists. Received another."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"This address takes {(error.headers or {}).get('Allow', 'another method')}. Received another method."
    return str(error.detail)


def told_in_schema(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """What a route's description says of its problems; those that any route with a key can have come by themselves."""
    common = ("no-key", "scope-missing", "invalid-parameters", "too-many-requests", "internal-error", "overloaded")
    by_status: dict[int, list[str]] = {}
    for kind in (*common, *kinds):
        by_status.setdefault(KINDS[kind][0], []).append(KINDS[kind][1])
    schema = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "; ".join(titles), "content": schema} for status, titles in sorted(by_status.items())}
