"""Consent where features are retrieved: the newest word that was known counts, and none is no."""

from pathlib import Path

import pytest

from feature_repo.consent import agreed
from tests.serving.web_client import day, publish


def test_the_newest_word_that_was_known_counts_and_an_unknown_consent_is_none(house: Path) -> None:
    rows = [
        {"user_id": "ann", "known_at": day("01-01"), "consent_marketing": True, "consent_credit": False},
        {"user_id": "ann", "known_at": day("02-01"), "consent_marketing": False, "consent_credit": True},
        {"user_id": "bob", "known_at": day("01-01"), "consent_marketing": True},
        {"user_id": "cat", "known_at": day("01-01"), "consent_marketing": None},
    ]
    publish("user_consents", rows)
    users = ["cat", "bob", "ann", "nobody"]
    assert agreed("marketing", users, day("01-31")).tolist() == [False, True, True, False]
    assert agreed("marketing", users, day("02-01")).tolist() == [False, True, False, False]
    assert agreed("credit", users, day("02-01")).tolist() == [False, False, True, False]
    assert agreed("marketing", users, day("01-01").replace(year=2023)).tolist() == [False] * 4


def test_where_no_consents_are_published_it_says_so(house: Path) -> None:
    with pytest.raises(FileNotFoundError, match="user_consents"):
        agreed("marketing", ["ann"], day("01-01"))
