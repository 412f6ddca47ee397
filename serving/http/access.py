"""Who may ask: `Authorization: Bearer <key>`, the key's scopes, and how often.

Routes of the API take a key in the header alone, so that no other site's form can use a browser's cookie on them.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from serving.http.metrics import Metrics
from serving.http.problems import ProblemError
from serving.keys import SCOPES, Key, KeyRing
from serving.rate_limit import RateLimiter, Verdict
from settings import get_settings

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="A key of this house (`portrait keys add`). Scopes: "
    + "; ".join(f"`{name}` {meaning}" for name, meaning in SCOPES.items()),
)


@dataclass(frozen=True)
class Gate:
    """What the app keeps to judge requests by."""

    limiter: RateLimiter
    metrics: Metrics


@cache
def _ring(folder: Path) -> KeyRing:
    return KeyRing(folder)


def key_ring() -> KeyRing:
    """The keys of the house in use."""
    return _ring(get_settings().home / "api")


async def authorised(
    request: Request,
    scopes: SecurityScopes,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> Key:
    """The key that asks; a problem where there is none, it may not, or it asks too often."""
    key = key_ring().find(credentials.credentials) if credentials else None
    if key is None:
        came = "one that is unknown or revoked" if credentials else "none"
        admit(request, None)
        refuse(request, "no-key")
        raise ProblemError(
            "no-key",
            f"Every address but the health checks needs a key, as `Authorization: Bearer <key>`. Received {came}. Make one with "
            "`portrait keys add`.",
            {"WWW-Authenticate": 'Bearer error="invalid_token"' if credentials else "Bearer"},
        )
    admit(request, key)
    for scope in scopes.scopes:
        check_scope(request, key, scope)
    _check_names(request)
    return key


def _check_names(request: Request) -> None:
    """A misspelt `as_of` must not answer about now."""
    dependant = request.scope["route"].dependant
    known = {parameter.alias for one in (dependant, *dependant.dependencies) for parameter in one.query_params}
    if unknown := sorted(set(request.query_params) - known):
        faults = [{"location": ["query", name], "message": "there is no such parameter"} for name in unknown]
        raise ProblemError(
            "invalid-parameters",
            f"A request may have the parameters that /docs lists: {', '.join(sorted(known)) or 'none'}. Received {', '.join(unknown)}.",
            more={"errors": faults},
        )


def needs(scope: str) -> Any:
    """A dependency: a key that has the scope."""
    assert scope in SCOPES
    return Security(authorised, scopes=[scope])


def check_scope(request: Request, key: Key, scope: str) -> None:
    if key.may(scope):
        return
    refuse(request, "scope-missing")
    raise ProblemError(
        "scope-missing",
        f"This address needs a key with the scope `{scope}`. Received one with {', '.join(key.scopes)}. Make another with "
        "`portrait keys add`.",
        {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
    )


def admit(request: Request, key: Key | None) -> None:
    """Takes a token from the bucket of the key, or of the address that has none; its headers go with the answer."""
    caller = f"key {key.id}" if key else f"address {request.client.host if request.client else ''}"
    if key:
        request.state.key, request.state.key_id = key, key.id
    verdict: Verdict = request.app.state.gate.limiter.take(caller)
    request.state.headers = verdict.headers
    if not verdict.allowed:
        refuse(request, "too-many-requests")
        raise ProblemError(
            "too-many-requests",
            f"A key may ask {get_settings().api_rate:g} times a second, {verdict.limit} at once. Received more. Ask again in "
            f"{verdict.reset_s} s.",
        )


def refuse(request: Request, reason: str) -> None:
    request.app.state.gate.metrics.refused.labels(reason).inc()
