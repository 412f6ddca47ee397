"""Who is at the web page: a person logs in with a key, and a signed cookie remembers the key's id for half a day.

The cookie is HttpOnly and SameSite=Lax, so that no script reads it and no other site posts with it; every form carries a token that only
this page could have made for this cookie. A revoked key logs its people out at once.
"""

import secrets
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Form, Request, Response
from itsdangerous import BadData, URLSafeTimedSerializer

from serving.http.access import admit, check_scope, key_ring
from serving.http.problems import ProblemError
from serving.keys import Key, session_secret
from settings import get_settings

COOKIE = "portrait_session"
SECONDS = 12 * 3600


class LoginNeeded(Exception):
    """Nobody is logged in: the page sends to the login form, and from there back to `path`."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    @property
    def location(self) -> str:
        return f"/login?next={quote(self.path, safe='')}"


def log_in(response: Response, key: Key, is_https: bool) -> None:
    """Sets the cookie of a new session."""
    value = _serializer("session").dumps([key.id, secrets.token_hex(8)])
    response.set_cookie(COOKIE, value, max_age=SECONDS, httponly=True, samesite="lax", secure=is_https, path="/")


def log_out(response: Response) -> None:
    response.delete_cookie(COOKIE, httponly=True, samesite="lax", path="/")


def visitor(request: Request) -> Key:
    """The key of whoever is logged in, or of a program that sends one; LoginNeeded where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = key_ring().find(token.strip()) if scheme.lower() == "bearer" else _key(request)
    if key is None:
        raise LoginNeeded(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
    admit(request, key)
    return key


def may(scope: str) -> Any:
    """A dependency: somebody logged in whose key has the scope."""

    def check(request: Request) -> Key:
        key = visitor(request)
        check_scope(request, key, scope)
        return key

    return Depends(check)


def form_token(request: Request) -> str:
    """What a form of this session must carry."""
    return _serializer("form").dumps(request.cookies.get(COOKIE, ""))


def checked_form(request: Request, form_token: Annotated[str, Form(max_length=1000)] = "") -> None:
    """A dependency of every route that a form posts to: refuses one that did not come from a page of this session."""
    try:
        cookie = _serializer("form").loads(form_token, max_age=SECONDS)
    except BadData:
        cookie = None
    from_here = request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    if cookie != request.cookies.get(COOKIE, "") or not from_here:
        raise ProblemError("form-refused", "A form must be sent from the page that showed it. Received another. Open the page again.")


def _key(request: Request) -> Key | None:
    try:
        id, _ = _serializer("session").loads(request.cookies.get(COOKIE, ""), max_age=SECONDS)
    except (BadData, TypeError, ValueError):
        return None
    return key_ring().valid(id)


def _serializer(salt: str) -> URLSafeTimedSerializer:
    secret = session_secret(get_settings())
    if not secret:
        raise ProblemError("not-served", "Logging in needs the secrets of a house that was up. Found none. Start it with `portrait up`.")
    return URLSafeTimedSerializer(secret, salt=salt)
