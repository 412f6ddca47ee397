"""Features and sequences of users of the small shop, by hand: when rows stand, what late rows change, what silence does."""

import pytest

from tests.dbt_project.built_shop import Built
from tests.dbt_project.small_shop import Row, day

pytestmark = pytest.mark.slow


def user_row(built: Built, features_at: str, created_at: str, user: str = "u1") -> Row:
    return built["user_features"][(user, day(features_at), day(created_at))]


def test_rows_stand_where_a_window_changes_and_late_rows_add_versions(built: Built) -> None:
    known = [(at.strftime("%m-%d"), created.strftime("%m-%d")) for user, at, created in sorted(built["user_features"]) if user == "u1"]
    assert known == [
        ("01-02", "01-02"),
        ("01-04", "01-07"),  # the late event of 3 January made this row
        ("01-06", "01-06"),
        ("01-06", "01-07"),  # late event
        ("01-06", "01-09"),  # correction; the second delivery of e2 changed nothing
        ("01-09", "01-09"),
        ("01-11", "01-11"),  # the country was corrected
        ("01-13", "01-13"),
        ("02-01", "02-01"),
        ("02-03", "02-03"),
        ("02-05", "02-05"),
    ]


def test_late_rows_and_corrections_change_later_versions_only(built: Built) -> None:
    names = ("events_7d", "purchases_7d", "returns_90d", "spend_7d", "sessions_30d", "active_days_30d")
    values = [tuple(user_row(built, "01-06", created)[name] for name in names) for created in ("01-06", "01-07", "01-09")]
    assert values == [(4, 2, 1, 8.0, 2, 2), (5, 3, 1, 15.0, 3, 3), (5, 3, 1, 16.0, 3, 3)]


def test_a_silent_user_has_no_purchases_in_7_days(built: Built) -> None:
    as_of = day("01-25")
    newest = max(key for key in built["user_features"] if key[0] == "u1" and key[1] <= as_of and key[2] <= as_of)
    row = built["user_features"][newest]
    assert (row["purchases_7d"], row["spend_7d"], row["purchases_30d"], row["spend_30d"]) == (0, 0.0, 3, 16.0)
    row = user_row(built, "02-01", "02-01")  # the first day has left the 30 days
    assert (row["events_30d"], row["purchases_30d"], row["spend_30d"], row["spend_total"]) == (3, 2, 6.0, 16.0)


def test_profiles_and_categories_are_those_known_then(built: Built) -> None:
    assert [user_row(built, at, at)["country"] for at in ("01-09", "01-11")] == ["NL", "BE"]
    row = user_row(built, "01-06", "01-09")
    assert (row["top_categories"], row["top_category_shares"]) == (["Cups", "Tea"], [0.6, 0.4])
    assert user_row(built, "02-01", "02-01")["top_categories"] == ["Cups", "Coffee"]


def test_users_without_events_or_without_registration_have_rows(built: Built) -> None:
    (row,) = [row for key, row in built["user_features"].items() if key[0] == "u0"]
    assert (row["features_at"], row["registered_at"], row["country"]) == (day("01-02"), day("01-01"), "FR")
    assert (row["events_total"], row["spend_total"], row["sessions_30d"], row["top_categories"]) == (0, 0.0, 0, [])
    assert user_row(built, "01-03", "01-03", "u2")["registered_at"] is None
    assert not [key for key in built["user_features"] if key[0] is None]


def test_sequences_hold_the_newest_events_oldest_first(built: Built) -> None:
    assert sorted(key[1:] for key in built["user_sequences"] if key[0] == "u1") == [
        (day("01-02"), day("01-02")),
        (day("01-04"), day("01-07")),
        (day("01-06"), day("01-06")),
        (day("01-06"), day("01-07")),
        (day("01-06"), day("01-09")),
    ]
    row = built["user_sequences"][("u1", day("01-06"), day("01-09"))]
    assert row["event_item_ids"] == ["i2", "i2", "i1", "i2"]
    assert row["event_types"] == ["view", "purchase", "return", "purchase"]
    assert row["event_prices"] == [0.0, 7.0, 5.0, 4.0]
    assert row["event_categories"] == ["Cups", "Cups", "Tea", "Cups"]
    assert row["event_times_us"][0] == 1_704_103_800_000_000  # 2024-01-01 10:10
