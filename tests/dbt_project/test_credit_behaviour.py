"""What a customer does is there for credit while the customer agrees, and at no other time."""

import pytest

from tests.dbt_project.built_shop import Built
from tests.dbt_project.small_shop import day

pytestmark = pytest.mark.slow

NUMBERS = ("purchases_90d", "returns_90d", "active_days_30d", "sessions_30d", "spend_30d", "spend_90d")
TAKEN_BACK = day("01-11")  # delivered with 10 January, known at its end


def test_only_who_agreed_is_there_and_nothing_from_the_time_on_at_which_it_was_taken_back(built: Built) -> None:
    rows = built["credit_behaviour"]
    assert rows == built.refreshed["credit_behaviour"] and {user for user, _, _ in rows} == {"u1"}
    before = {key: row for key, row in rows.items() if key[2] < TAKEN_BACK}
    after = {key: row for key, row in rows.items() if key[2] >= TAKEN_BACK}
    assert before and TAKEN_BACK in {created_at for _, _, created_at in after}
    for key, row in before.items():
        assert [row[name] for name in NUMBERS] == [pytest.approx(built["user_features"][key][name]) for name in NUMBERS]
    assert sum(row["spend_90d"] for row in before.values()) > 0
    for row in after.values():
        assert [row[name] for name in NUMBERS] == [None] * len(NUMBERS)


def test_the_newest_row_known_after_the_consent_was_taken_back_says_nothing(built: Built) -> None:
    rows = [row for row in built["credit_behaviour"].values() if row["created_at"] <= day("02-11")]
    newest = max(rows, key=lambda row: (row["features_at"], row["created_at"]))
    assert newest["created_at"] >= TAKEN_BACK and all(newest[name] is None for name in NUMBERS)
