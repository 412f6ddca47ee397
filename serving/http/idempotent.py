"""The header `Idempotency-Key` of routes that decide something: `Once.answer` runs the work, or gives the stored answer again."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from serving.errors import NotServed
from serving.http.problems import ProblemError
from serving.idempotency import Answer, Answers, KeyReused, StillAnswering
from settings import get_settings

REPEATED = "Idempotent-Replayed"


@dataclass(frozen=True)
class Once:
    """One request and the key that its caller gave it, if any."""

    request: Request
    key: str | None
    body: bytes

    def answer(self, make: Callable[[], BaseModel]) -> Response:
        """What `make` returns, as JSON. With a key: done once, and the same bytes for every copy of the request."""

        def made() -> Answer:
            return Answer(200, make().model_dump_json().encode())

        answer = self._once(self.key, made) if self.key else made()
        told = {REPEATED: "true"} if answer.is_repeated else {}
        return Response(answer.body, answer.status, told, "application/json")

    def _once(self, key: str, make: Callable[[], Answer]) -> Answer:
        asked = f"{self.request.method} {self.request.url.path}\n".encode() + self.body
        try:
            return answers().once(self.request.state.key_id, key, asked, make)
        except KeyReused as error:
            raise ProblemError("key-reused", str(error)) from error
        except StillAnswering as error:
            raise ProblemError("still-answering", str(error), {"Retry-After": "1"}) from error
        except (sqlite3.Error, OSError) as error:
            raise NotServed(
                f"An answer with a key must be stored before it is given. Received: {error}. Send the request again later."
            ) from error


def answers() -> Answers:
    """The stored answers of the house in use."""
    return _answers(get_settings().home / "api" / "idempotency")


@cache
def _answers(folder: Path) -> Answers:
    return Answers(folder)


async def _once(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=r"^[\x21-\x7e]{1,200}$",
            description="a name that you make up for this request, such as a UUID: sent again with it, the request is answered with the "
            "same bytes and decided once. Kept for a day",
            examples=["5f1c2d9e-9d0a-4c36-8b5e-0f6f2f1f6f3a"],
        ),
    ] = None,
) -> Once:
    return Once(request, idempotency_key, await request.body())


OnceOnly = Annotated[Once, Depends(_once)]
