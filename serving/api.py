"""The HTTP door: portraits, recommendations, offers and campaign plans as JSON (`/docs` describes them), and the web page.

Errors are problem details (RFC 9457): 404 for a user nobody knows, 400 for a parameter that breaks its rule, 503 for a model that
is not served.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel, Field

from serving import events, portraits
from serving import offers as marketing
from serving.errors import BadRequest, ConsumerError, NotServed, UnknownUser
from serving.recommend import Recommendations, recommend
from serving.shop_front import front
from settings import get_settings

app = FastAPI(
    title="Portrait",
    version="0.1.0",
    summary="A living portrait of every customer, as recommendations and offers.",
    description=__doc__,
    license_info={"name": "Apache-2.0"},
)
templates = Jinja2Templates(Path(__file__).parent / "templates")

_STATUS = {UnknownUser: 404, BadRequest: 400, NotServed: 503}


class CampaignBody(BaseModel):
    """A campaign to plan."""

    name: str = Field(examples=["spring"])
    budget: float = Field(ge=0, description="in the shop's currency", examples=[500.0])
    margin: float = Field(marketing.DEFAULT_MARGIN, gt=0, le=1, description="share of spend that is profit")
    holdout: float = Field(0.1, ge=0, lt=1, description="share of users who get nothing, to measure by")
    costs: dict[str, float] | None = Field(None, description="cost of each offer; past campaigns' mean where absent")


@app.exception_handler(ConsumerError)
def problem(request: Request, error: ConsumerError) -> JSONResponse:
    status = _STATUS.get(type(error), 500)
    body = {"type": "about:blank", "title": type(error).__name__, "status": status, "detail": str(error), "instance": request.url.path}
    return JSONResponse(body, status, media_type="application/problem+json")


@app.get("/healthz", tags=["operations"])
def health() -> dict[str, str]:
    """Answers while the process lives; it asks no model."""
    return {"status": "ok"}


@app.get("/v1/users/{user_id}/portrait", tags=["portrait"])
def get_portrait(user_id: str) -> dict[str, Any]:
    """What is known and inferred of a user, with the time and model version of each."""
    return portrait_as_json(portraits.show(user_id))


@app.get("/v1/users/{user_id}/recommendations", tags=["recommendation"])
def get_recommendations(user_id: str, k: int = 10) -> dict[str, Any]:
    """The `k` best items for a user; popular items, with a note, for an unknown user or while the model is away."""
    return recommendations_as_json(recommend(user_id, k))


@app.get("/v1/users/{user_id}/offers", tags=["marketing"])
def get_offers(user_id: str) -> dict[str, Any]:
    """What each offer would change for a user, by falling expected profit."""
    return asdict(marketing.offers(user_id))


@app.post("/v1/campaigns", tags=["marketing"], status_code=201)
def plan_campaign(body: CampaignBody) -> dict[str, Any]:
    """Plans who gets which offer within a budget; the rows stand in the house, under `campaigns/<name>/plan.parquet`."""
    plan = marketing.plan(marketing.CampaignRequest(**body.model_dump()))
    return asdict(plan) | {"path": f"campaigns/{plan.path.name}/plan.parquet"}


def portrait_as_json(answer: portraits.Portrait) -> dict[str, Any]:
    """Arrays as lists."""
    known = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in answer.known.items()}
    return asdict(answer) | {"known": known}


def recommendations_as_json(answer: Recommendations) -> dict[str, Any]:
    """One flat object per item."""
    items = [{"rank": place.rank, **asdict(place.card), "score": place.score} for place in answer.items]
    return asdict(answer) | {"items": items}


app.post(events.PATH, **events.DESCRIPTION)(events.post_events)


@app.get("/", response_class=HTMLResponse, include_in_schema=False)
def home(request: Request, user: str = "") -> HTMLResponse:
    """The web page: look up a customer."""
    shop = front()
    settings = shop.settings
    page: dict[str, Any] = {
        "user": user.strip(),
        "links": {
            "Airflow": f"http://{settings.host}:{settings.airflow_port}",
            "Data quality": "/quality/",
            "API": "/docs",
            "MLflow": f"http://{settings.host}:{settings.mlflow_port}",
        },
    }
    try:
        page["as_of"] = shop.clock()
        page["examples"] = example_users()
        if page["user"]:
            page["portrait"] = portraits.show(page["user"], shop=shop)
            page["recommendations"] = recommend(page["user"], shop=shop)
            page["offers"], page["offers_note"] = _offers_or_reason(page["user"])
    except ConsumerError as error:
        page["problem"] = error
    return templates.TemplateResponse(request, "user.html", page, status_code=_STATUS.get(type(page.get("problem")), 200))


@app.get("/quality/{page:path}", response_model=None, include_in_schema=False)
def quality_page(page: str) -> FileResponse | HTMLResponse:
    """The gates' data docs, as the last check left them."""
    folder = (get_settings().quality_dir / "docs").resolve()
    file = (folder / (page or "index.html")).resolve()
    if file.is_relative_to(folder) and file.is_file():
        return FileResponse(file)
    return HTMLResponse("<p>No gate has left this page yet. Run the DAG <code>ingest</code> first.</p>", 404)


def example_users(count: int = 6) -> list[str]:
    """Some users with a long history, newest first: something to click on."""
    from feature_repo.frames import rows_as_of

    shop = front()
    as_of = shop.clock()
    if _examples.get("as_of") != as_of:
        users = rows_as_of("user_features", as_of).sort_values(["events_90d", "user_id"], ascending=[False, True])
        _examples.update(
            as_of=as_of, users=list(users["user_id"][: 20 * count : 20] if len(users) > 20 * count else users["user_id"][:count])
        )
    return _examples["users"]


_examples: dict[str, Any] = {}


def _offers_or_reason(user_id: str) -> tuple[marketing.Offers | None, str | None]:
    try:
        return marketing.offers(user_id), None
    except NotServed as reason:
        return None, str(reason)
