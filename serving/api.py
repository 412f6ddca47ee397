"""A shop's portraits, recommendations, offers and campaign plans over HTTP, as JSON under `/v1` and as a web page.

Every address but `/healthz` and `/readyz` needs a key: `Authorization: Bearer <key>` for the API, a login for the page. Every error is a
problem (RFC 9457, `application/problem+json`). Times are UTC.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from threading import Thread
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from serving import events
from serving.decisions import decision_log
from serving.errors import ConsumerError
from serving.http import campaigns, operations, similar_items, v1
from serving.http.access import Gate
from serving.http.decisions_route import FindDecisions, decisions_router
from serving.http.envelope import MAX_BODY, Envelope
from serving.http.logs import log_as_json
from serving.http.metrics import Metrics
from serving.http.problems import MEDIA_TYPE, Problem, ProblemError, as_problem
from serving.model_client import ModelError
from serving.rate_limit import RateLimiter
from serving.release import Releases
from serving.shop_front import front
from serving.web import campaigns as campaign_pages
from serving.web import customer, doors, files, house_pages
from serving.web.house_pages import RollBack, decisions_page_router, releases_router
from serving.web.render import page
from serving.web.session import LoginNeeded
from settings import get_settings


def create_app(*, decisions: FindDecisions | None = None, roll_back: RollBack | None = None) -> FastAPI:
    """The API and the web page, over the house's log of decisions and its releases where no others are given."""
    decisions, roll_back = decisions or (lambda decision_id: decision_log().find(decision_id)), roll_back or _roll_back
    app = FastAPI(
        title="Portrait",
        version="1.0.0",
        summary="A living portrait of every customer, as recommendations and offers.",
        description=__doc__,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
    )
    settings, metrics = get_settings(), Metrics()
    app.state.gate = Gate(RateLimiter(settings.api_rate, settings.api_burst), metrics)
    routers = [
        operations.router,
        v1.router,
        campaigns.router,
        similar_items.router,
        decisions_router(decisions),
        customer.router,
        house_pages.router,
        campaign_pages.router,
    ]
    for router in (*routers, releases_router(roll_back), decisions_page_router(decisions), doors.router, files.router):
        app.include_router(router)
    for kind in (ProblemError, ConsumerError, ModelError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _tell)
    app.add_exception_handler(LoginNeeded, _to_login)
    app.add_middleware(Envelope, metrics=metrics, limits={events.PATH: lambda: max(MAX_BODY, events.MAX_BYTES + 1)})
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _roll_back(model: str) -> int:
    stable = Releases().roll_back(model, "by hand, on the web page").stable
    assert stable is not None  # without an earlier version it is refused
    return stable


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    log_as_json()
    Thread(target=_warm, daemon=True).start()
    yield


def _warm() -> None:
    """Opens the feature store before somebody asks: its first read imports Feast, which takes seconds. Not in a house without features,
    whose first event may be making the store at this moment."""
    with suppress(Exception):  # whatever is missing now is told to whoever asks
        front().clock()
        front().user_row("user_v1", operations.PROBE)


def _tell(request: Request, error: Exception) -> Response:
    """The error as a problem; as a page where a person is looking."""
    problem = as_problem(error)
    is_page = not request.url.path.startswith("/v1") and "text/html" in request.headers.get("accept", "")
    if is_page:
        answer: Response = page(request, "error.html", problem.status, problem=problem, request_id=request.state.request_id)
    else:
        body = problem.body(request.url.path, request.state.request_id)
        answer = JSONResponse(body, problem.status, media_type=MEDIA_TYPE)
    answer.headers.update(problem.headers)
    return answer


def _to_login(request: Request, error: Exception) -> Response:
    """A person is sent to the login; a program is told what it lacks."""
    assert isinstance(error, LoginNeeded)
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(error.location, 303)
    detail = "The web page needs a session. Received none. Log in at /login, or ask the API under /v1 with a key."
    return _tell(request, ProblemError("no-key", detail, {"WWW-Authenticate": "Bearer"}))


def _described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document, made once: FastAPI's own shape of a validation error gives way to ours."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            openapi_version="3.1.0",
            summary=app.summary,
            description=app.description,
            license_info=app.license_info,
            routes=app.routes,
        )
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        described = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= described.pop("$defs") | {"Problem": described}
        app.openapi_schema = document
    return app.openapi_schema


app = create_app()
