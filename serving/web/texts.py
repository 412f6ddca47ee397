"""The page's words in English and Chinese: one dictionary file a language, which have the same keys."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request

LANGUAGES = {"en": "English", "zh": "中文"}
COOKIE = "portrait_language"
FOLDER = Path(__file__).parent / "words"


@cache
def words(language: str) -> Mapping[str, str]:
    return json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))


class Texts:
    """`texts("key", name=value)`: the text in one language; KeyError where there is none."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._words = words(language)

    def __call__(self, key: str, **values: Any) -> str:
        return self._words[key].format(**values) if values else self._words[key]

    def named(self, group: str, name: str) -> str:
        """The text of a name that the data has, such as a feature's; the name itself, in words, where there is none."""
        return self._words.get(f"{group}.{name}", name.replace("_", " "))


def language_of(request: Request) -> str:
    """As asked (`?lang=zh`), else as chosen before (a cookie), else the first that the browser accepts, else English."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if chosen in LANGUAGES:
            return chosen
    accepted = [part.split(";")[0].strip().lower()[:2] for part in request.headers.get("accept-language", "").split(",")]
    return next((language for language in accepted if language in LANGUAGES), "en")
