"""Labels and outcomes of the small shop: what followed, as it was known when it was over."""

from datetime import timedelta

import pytest

from tests.dbt_project.built_shop import Built
from tests.dbt_project.recount import known_events, money
from tests.dbt_project.small_shop import day, deliveries

pytestmark = pytest.mark.slow


def test_labels_are_the_30_days_after_each_monday_as_known_when_they_were_over(built: Built) -> None:
    """Known in full by hand: u1 was first seen on 2 January, and the horizon is 11 February, so 8 January is the only Monday."""
    labels, delivered = built["next_purchase_labels"], deliveries()
    assert [at for user, at in labels if user == "u1"] == [day("01-08")]
    assert {at for _, at in labels} == {day("01-08")}
    bought = 0
    for (user, label_at), row in labels.items():
        known_at = label_at + timedelta(days=30)
        rows = [row for row in known_events(delivered, known_at) if row["user_id"] == user and label_at <= row["occurred_at"] < known_at]
        bought_by = [row for row in rows if row["event_type"] == "purchase"]
        assert row == {
            "user_id": user,
            "label_at": label_at,
            "known_at": known_at,
            "is_purchased_7d": any(row["occurred_at"] < label_at + timedelta(days=7) for row in bought_by),
            "is_purchased_30d": bool(bought_by),
            "is_active_7d": any(row["occurred_at"] < label_at + timedelta(days=7) for row in rows),
            "is_active_30d": bool(rows),
            "spend_30d": pytest.approx(money(rows), abs=1e-9),
            "next_purchase_item_id": bought_by[0]["item_id"] if bought_by else None,
        }
        bought += bool(bought_by)
    assert bought > 3


def test_every_version_of_a_consent_stands_from_when_it_was_known(built: Built) -> None:
    told = {
        at: (row["has_marketing_consent"], row["has_credit_consent"]) for (user, at), row in built["user_consents"].items() if user == "u1"
    }
    assert told == {day("01-02"): (True, True), day("01-11"): (False, False)}
    assert not any(row["has_personalisation_consent"] for row in built["user_consents"].values())


def test_labels_and_outcomes_stand_as_last_corrected(built: Built) -> None:
    assert built["trait_labels"] == {("u1", "gender"): {"user_id": "u1", "trait": "gender", "value": "m", "known_at": day("01-15")}}
    (outcome,) = built["campaign_outcomes"].values()
    assert (outcome["treatment"], outcome["is_visited"], outcome["covariates"]) == ("mail", True, '{"x_age": 3}')
    (application,) = built["credit_outcomes"].values()
    assert (application["is_defaulted"], application["outcome_at"], application["amount"]) == (True, day("01-19"), 50.0)
    assert (application["applied_at"], application["covariates"]) == (day("01-01"), '{"x_income": 3}')
