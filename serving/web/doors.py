"""The way in and out of the web page, its style sheet and script, and the description of the API for people."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response

from serving.http.access import admit, key_ring
from serving.http.problems import KINDS, ProblemError
from serving.keys import SCOPES
from serving.web.render import page
from serving.web.session import checked_form, log_in, log_out, may, visitor

router = APIRouter(include_in_schema=False)
STATIC = Path(__file__).parent.parent / "static"
FILES = {"style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


@router.get("/login")
def login_form(request: Request, next: str = "/") -> HTMLResponse:
    """Where a person gives a key."""
    return page(request, "login.html", next=_safe(next), refused=None)


@router.post("/login", response_model=None)
def login(request: Request, key: Annotated[str, Form(max_length=200)] = "", next: Annotated[str, Form(max_length=2000)] = "/") -> Response:
    """A session for a valid key."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ProblemError("form-refused", "A form must be sent from the page that showed it. Received another. Open the page again.")
    found = key_ring().find(key.strip())
    if found is None:
        try:
            admit(request, None)
        except ProblemError as problem:
            return page(request, "login.html", problem.status, next=_safe(next), refused="often")
        return page(request, "login.html", 401, next=_safe(next), refused="unknown")
    answer = RedirectResponse(_safe(next), 303)
    log_in(answer, found, request.url.scheme == "https")
    return answer


@router.post("/logout", dependencies=[Depends(checked_form)])
def logout() -> RedirectResponse:
    """Ends the session in this browser."""
    answer = RedirectResponse("/login", 303)
    log_out(answer)
    return answer


@router.get("/static/{name}", response_model=None)
def static(name: str) -> FileResponse:
    """The style sheet, the script and the icon: they hold nothing of the shop."""
    if name not in FILES:
        raise ProblemError("not-found", f"A file of the page must be one of {', '.join(FILES)}. Received another.")
    return FileResponse(STATIC / name, media_type=FILES[name], headers={"Cache-Control": "public, max-age=300"})


@router.get("/docs", dependencies=[Depends(visitor)])
def api_docs(request: Request) -> HTMLResponse:
    """The API's description for people, drawn from its OpenAPI document."""
    return page(
        request, "docs.html", document=request.app.openapi(), operations=operations(request.app.openapi()), scopes=SCOPES, kinds=KINDS
    )


@router.get("/openapi.json", dependencies=[may("read:portrait")])
def openapi_document(request: Request) -> JSONResponse:
    return JSONResponse(request.app.openapi())


def operations(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Operations by tag: method, path, summary, description, parameters, scopes, statuses."""
    by_tag: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            scopes = [scope for one in described.get("security", []) for names in one.values() for scope in names]
            told = {"method": method.upper(), "path": path, "scopes": scopes, "parameters": described.get("parameters", [])}
            told |= {name: described.get(name, "") for name in ("summary", "description", "responses", "operationId")}
            by_tag.setdefault(described["tags"][0], []).append(told)
    return by_tag


def _safe(address: str) -> str:
    """An address of this page; the first page where it is another's."""
    return address if address.startswith("/") and not address.startswith(("//", "/\\")) and "\n" not in address else "/"
