"""From a template and values to a page: language, links, how times and numbers are written."""

from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from serving.web import texts
from serving.web.charts import share_bar
from serving.web.session import form_token
from settings import get_settings

#: Pages in the navigation.
PAGES = {
    "customers": "/", "segments": "/segments", "campaigns": "/campaigns", "releases": "/releases", "quality": "/quality",
    "decisions": "/decisions", "reviews": "/reviews",
}  # fmt: skip
_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent.parent / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page in the visitor's language; a choice of language is remembered."""
    language = texts.language_of(request)
    words = texts.Texts(language)
    content = _environment.get_template(template).render(
        t=words,
        language=language,
        other_languages=_other_languages(request, language),
        path=request.url.path,
        pages=list(PAGES.items()),
        is_in=getattr(request.state, "key_id", None) is not None,
        form_token=form_token(request) if getattr(request.state, "key_id", None) else "",
        tools=_tools(),
        **values,
    )
    response = HTMLResponse(content, status, {"Content-Language": language, "Vary": "Accept-Language, Cookie"})
    if request.query_params.get("lang") in texts.LANGUAGES:
        response.set_cookie(texts.COOKIE, language, max_age=365 * 86400, samesite="lax", httponly=True)
    return response


def _tools() -> dict[str, str]:
    settings = get_settings()
    return {
        "Airflow": settings.airflow_browsed_url,
        "MLflow": f"http://{settings.browsed_host}:{settings.mlflow_port}",
        "Feast": "/feast/",
        "Data docs": "/quality/docs/",
        "dbt docs": "/dbt/",
        "API": "/docs",
    }


def _other_languages(request: Request, language: str) -> list[tuple[str, str, str]]:
    """`(code, name, address of this page in it)`."""
    others = [code for code in texts.LANGUAGES if code != language]
    return [
        (code, texts.LANGUAGES[code], str(request.url.include_query_params(lang=code)).split(request.url.netloc, 1)[-1]) for code in others
    ]


def _day(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d}" if time else "–"


def _moment(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M}" if time else "–"


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f}\u202f%"


def _number(value: float | None, digits: int = 2, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign},.{digits}f}".replace("-", "\u2212")


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}".replace("-", "\u2212")


_environment.filters |= {"day": _day, "moment": _moment, "percent": _percent, "number": _number, "points": _points}
_environment.globals |= {"share_bar": share_bar}
