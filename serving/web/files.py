"""Pages that other stages left as files: the gates' data docs, dbt's docs, candidates' reports. None runs a script of its own."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse

from serving.releases import report_file
from serving.shop_front import front
from serving.web.render import page
from serving.web.session import may
from settings import get_settings

router = APIRouter(include_in_schema=False)

#: These pages carry their style in themselves, and dbt's its script; none may fetch anything from elsewhere.
_STYLED = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline' 'self'; img-src 'self' data:; frame-ancestors 'none'"}
_SCRIPTED = {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' "
    "'unsafe-eval'; img-src data:; font-src data:; connect-src data:"
}


@router.get("/quality/{path:path}", response_model=None, dependencies=[may("read:operations")])
def data_docs(request: Request, path: str) -> FileResponse | HTMLResponse:
    """The gates' data docs, as the last check left them."""
    file = _inside(get_settings().quality_dir / "docs", path.removeprefix("docs/") or "index.html")
    return FileResponse(file, headers=_STYLED) if file else page(request, "missing.html", 404, what="data_docs")


@router.get("/dbt/", response_model=None, dependencies=[may("read:operations")])
def dbt_docs(request: Request) -> FileResponse | HTMLResponse:
    """dbt's documentation as one file, where one was generated into `dbt/docs`."""
    file = _inside(get_settings().home / "dbt" / "docs", "static_index.html")
    return FileResponse(file, headers=_SCRIPTED) if file else page(request, "missing.html", 404, what="dbt_docs")


@router.get("/reports/{model}/{run}/", response_model=None, dependencies=[may("read:operations")])
def report(request: Request, model: str, run: str) -> FileResponse | HTMLResponse:
    """The report of one trained candidate."""
    file = report_file(front(), model, run)
    return FileResponse(file, headers=_STYLED) if file else page(request, "missing.html", 404, what="report")


def _inside(folder: Path, path: str) -> Path | None:
    """The file of that path, where it lies in the folder."""
    file = (folder / path).resolve()
    return file if file.is_relative_to(folder.resolve()) and file.is_file() else None
