"""Health, for whoever starts and watches the process, and metrics. Health alone answers without a key, and tells nothing of the shop."""

from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, Request, Response

from serving.errors import ConsumerError
from serving.http.access import needs
from serving.http.answers import Alive, Ready
from serving.http.problems import told_in_schema
from serving.model_client import ModelError, ModelNotFound
from serving.shop_front import ShopFront, front
from training.signatures import SERVED_MODELS

router = APIRouter(tags=["operations"])
PROBE = "readiness-probe"
#: Asked by whoever watches the process: answered also where it is overloaded.
WATCHED = frozenset({"/healthz", "/readyz", "/metrics"})


@router.get("/healthz")
async def alive() -> Alive:
    """Answers while the process lives; it asks nothing else."""
    return Alive(status="ok")


@router.get("/readyz", responses={503: {"model": Ready, "description": "Features cannot be read: no answer can be given"}})
def ready(response: Response) -> Ready:
    """Whether answers can be given: features are published and the online store reads. Models are told of, not demanded: without them
    lists come by popularity, and portraits say what is missing."""
    shop = front()
    checks = _features(shop)
    is_ready = all(state == "ok" for state in checks.values())
    with ThreadPoolExecutor(len(SERVED_MODELS)) as pool:
        checks |= dict(pool.map(lambda name: (f"model {name}", model_state(shop, name)), SERVED_MODELS))
    response.status_code = 200 if is_ready else 503
    return Ready(status="ready" if is_ready else "not ready", checks=checks)


@router.get(
    "/metrics",
    dependencies=[needs("read:operations")],
    response_class=Response,
    responses={200: {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}}, **told_in_schema()},
)
def metrics(request: Request) -> Response:
    """Counters and latencies of this process, for Prometheus."""
    return Response(request.app.state.gate.metrics.as_text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _features(shop: ShopFront) -> dict[str, str]:
    try:
        shop.clock()
        published = "ok"
    except ConsumerError:
        published = "none published"
    try:
        shop.user_row("user_v1", PROBE)
        store = "ok"
    except Exception:  # whatever a store may raise: it does not answer
        store = "does not answer"
    return {"features": published, "online store": store}


def model_state(shop: ShopFront, model: str) -> str:
    """`version 3`, or why there is none."""
    try:
        versions = shop.models.status(model, timeout_s=2.0)
    except ModelNotFound:
        return "none served"
    except ModelError:
        return "model server does not answer"
    available = [version for version, found in versions.items() if found.state == "AVAILABLE"]
    return f"version {max(available)}" if available else "none available"
