"""Consent by purpose, as known at a time."""

from datetime import datetime
from pathlib import Path

import pytest

from feature_repo.consent import agreed
from settings import get_settings
from tests.serving.web_client import day, publish

NONE = {"has_personalisation_consent": False, "has_marketing_consent": False, "has_credit_consent": False}


@pytest.fixture(autouse=True)
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))
    get_settings.cache_clear()


def said(user: str, at: str, **purposes: bool) -> dict[str, object]:
    return {"user_id": user, "known_at": day(at), **NONE, **{f"has_{name}_consent": value for name, value in purposes.items()}}


def test_the_newest_word_counts_for_its_purpose_alone_and_not_before_it_was_known() -> None:
    rows = [
        said("ann", "02-01", marketing=True),
        said("ann", "02-10"),
        said("bob", "02-05", marketing=True, credit=True),
        said("cid", "02-01", personalisation=True),
    ]
    publish("user_consents", rows, day("02-20"))
    assert agreed("marketing", datetime(2024, 2, 9)) == {"ann", "bob"}  # noqa: DTZ001
    assert agreed("marketing", day("02-20")) == {"bob"}
    assert agreed("marketing", day("02-04")) == {"ann"}
    assert agreed("credit", day("02-20")) == {"bob"}
    assert agreed("personalisation", day("02-20")) == {"cid"}


def test_without_published_consents_nobody_is_taken_to_have_agreed() -> None:
    with pytest.raises(FileNotFoundError, match="A mart must be exported before it is read"):
        agreed("marketing", day("02-20"))
