"""The way to Feast's own pages: the first click starts them, since few look at them and they take 200 MB."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from serving.local import processes
from serving.local.services import feast_ui
from serving.web.render import page
from serving.web.session import may
from settings import get_settings

SECONDS = 3
router = APIRouter(include_in_schema=False)


@router.get("/feast/", response_model=None, dependencies=[may("read:operations")])
def feast_pages(request: Request, waiting: bool = False) -> HTMLResponse | RedirectResponse:
    """To Feast's pages; while they start, a page that asks again by itself. `portrait down` stops them with the rest of the house."""
    settings = get_settings()
    service = feast_ui(settings)
    if service.answers():
        return RedirectResponse(service.address, 303)
    if processes.find(service.name, settings.home) is None:
        if waiting:  # it was started and ended: nobody starts it again and again
            return page(request, "feast.html", 503, log=str(processes.log_file(service.name, settings.home)), port=settings.feast_ui_port)
        processes.start(processes.Command(service.name, service.arguments, service.environment), settings.home)
    answer = page(request, "feast.html", log=None)
    answer.headers["Refresh"] = f"{SECONDS}; url=/feast/?waiting=true"
    return answer
