"""The page of a campaign's results: the accounts of every offer as known on a day, and how its profit was known over the days."""

from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from serving.campaign_results import results
from serving.errors import ConsumerError
from serving.http.parameters import as_naive_utc
from serving.http.problems import as_problem
from serving.web.interval_chart import interval_chart
from serving.web.render import page
from serving.web.session import may

router = APIRouter(include_in_schema=False)

#: How each advice is shown.
BADGES = {"go_on": "trial", "stop_benefit": "good", "stop_harm": "bad", "stop_futility": "bad", "undecided": "trial"}


@router.get("/campaigns/{name}/results", dependencies=[may("marketing")])
def results_page(request: Request, name: str, as_of: str = "") -> HTMLResponse:
    """Results as known on a day, the newest where none is asked for."""
    try:
        found = results(name, _day(as_of))
    except ConsumerError as error:
        problem = as_problem(error)
        return page(request, "campaign_results.html", problem.status, found=None, name=name[:100], problem=problem)
    told = [(day.as_of, line) for day in found.days for line in day.lines]
    charts = {
        newest.offer: interval_chart([(day, line.profit) for day, line in told if line.offer == newest.offer and line.profit])
        for newest in found.snapshot.lines
    }
    return page(request, "campaign_results.html", found=found, name=name, problem=None, charts=charts, badges=BADGES)


def _day(text: str) -> datetime | None:
    """The day that was chosen; none, which is the newest, where it is no day."""
    try:
        return as_naive_utc(text) if text else None
    except ValueError:
        return None
