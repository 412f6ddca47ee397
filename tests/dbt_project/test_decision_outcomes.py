"""What followed each decision of the small shop, as it was known when its days were over."""

from collections import Counter
from datetime import datetime, time, timedelta

import pytest

from tests.dbt_project.built_shop import Built
from tests.dbt_project.recount import known_events, money
from tests.dbt_project.small_shop import HORIZON, Row, day, deliveries

pytestmark = pytest.mark.slow

ITEM_OUTCOMES = ("is_viewed", "is_carted", "is_purchased", "spend")


def outcomes(row: Row, days: int) -> tuple:
    return tuple(row[f"{name}_{days}d"] for name in ITEM_OUTCOMES)


def midnight_after(at: datetime) -> datetime:
    midnight = datetime.combine(at.date(), time())
    return midnight if at == midnight else midnight + timedelta(days=1)


def test_an_items_outcomes_are_what_its_user_did_with_it_afterwards(built: Built) -> None:
    """By hand: u1 saw i2 at 10:10 on 1 January, when the list was shown, and bought it on 3 January (told on 6) and on 5 January."""
    shown = built["decision_outcomes"]
    assert outcomes(shown[("a.1",)], 1) == (False, False, False, 0.0)  # the view was not after the list
    assert outcomes(shown[("a.1",)], 7) == (False, False, True, 7.0 + 4.0)  # the price of 5 January as corrected on 8 January
    assert outcomes(shown[("a.2",)], 1) == (False, False, True, 10.0)
    assert outcomes(shown[("a.2",)], 7) == (False, False, True, 5.0)  # one of two pieces came back
    assert outcomes(shown[("c.1",)], 7) == (False, False, False, 0.0)  # the purchase at that very moment was not after it
    assert outcomes(shown[("a.3",)], 7) == (False, False, False, 0.0) and shown[("a.3",)]["rank"] == 0
    assert (shown[("a.1",)]["outcome_1d_at"], shown[("a.1",)]["outcome_7d_at"]) == (day("01-03"), day("01-09"))


def test_an_outcome_is_pending_until_its_days_are_over(built: Built) -> None:
    """The horizon is the end of 10 February: only the first of u3's decisions is a day old by then."""
    shown = built["decision_outcomes"]
    assert outcomes(shown[("d.1",)], 1) == (False, False, False, 0.0)
    assert outcomes(shown[("d.2",)], 1) == (True, False, False, 0.0)
    assert outcomes(shown[("d.3",)], 1) == outcomes(shown[("d.1",)], 7) == (None, None, None, None)


def test_a_guests_outcomes_are_nobodys(built: Built) -> None:
    assert outcomes(built["decision_outcomes"][("b.1",)], 7) == (None, None, None, None)


def test_an_offer_has_the_outcome_of_the_campaign_that_assigned_it(built: Built) -> None:
    """The campaign of 1 January gave u1 the mail; on 20 January it became known that u1 came."""
    offered, never = built["decision_outcomes"][("o.1",)], built["decision_outcomes"][("o.2",)]
    assert (offered["campaign_id"], offered["is_visited"], offered["outcome_30d_at"]) == ("c1", True, day("01-31"))
    assert (never["campaign_id"], never["is_visited"]) == (None, None)
    assert outcomes(offered, 7) == (None, None, None, None)


def test_every_outcome_is_a_recount_of_what_was_known_when_its_days_were_over(built: Built) -> None:
    delivered = deliveries()
    standing = {row["decision_id"]: row for ds in sorted(delivered) for row in delivered[ds].get("decisions", [])}
    assert {name for (name,) in built["decision_outcomes"]} == set(standing)
    seen: Counter = Counter()
    for (name,), row in built["decision_outcomes"].items():
        assert (row["rank"], row["arm"], row["decided_at"]) == (
            standing[name]["rank"] or 0,
            standing[name]["arm"],
            standing[name]["decided_at"],
        )
        for days in (1, 7):
            end = row["decided_at"] + timedelta(days=days)
            at = midnight_after(end)
            assert row[f"outcome_{days}d_at"] == at
            if at > HORIZON or row["kind"] != "recommendation" or row["user_id"] is None:
                assert outcomes(row, days) == (None, None, None, None)
                continue
            rows = [
                event
                for event in known_events(delivered, at)
                if (event["user_id"], event["item_id"]) == (row["user_id"], row["subject"])
                and row["decided_at"] < event["occurred_at"] < end
            ]
            kinds = {event["event_type"] for event in rows}
            wanted = ("view" in kinds, "cart" in kinds, "purchase" in kinds, pytest.approx(money(rows), abs=1e-9))
            assert outcomes(row, days) == wanted, (name, days)
            seen.update(kinds)
    assert min(seen[kind] for kind in ("view", "cart", "purchase", "return")) > 2


def test_incremental_builds_end_where_a_full_refresh_does(built: Built) -> None:
    assert built.incremental["decision_outcomes"] == built.refreshed["decision_outcomes"]
    assert len(built.refreshed["decision_outcomes"]) == 130
