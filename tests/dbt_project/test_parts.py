"""A build is cut into as many parts as its users' histories need; that the parts' rows are those of one build, test_any_order.py proves."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from quality import transform
from settings import get_settings
from tests.dbt_project.small_shop import load

FIRST = date(2024, 1, 1)


def event(number: int, user: str | None, ds: date) -> dict[str, object]:
    return {"event_id": f"e{number}", "user_id": user, "item_id": "i1", "event_type": "view", "occurred_at": f"{ds} 10:00"}


@pytest.fixture
def hundred_days(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`u1` is active on each of 100 days, `u2` on the first one only, a guest every day; a part holds 10 events."""
    days = [FIRST + timedelta(days=number) for number in range(100)]
    rows = {ds: [event(2 * at, "u1", ds), event(2 * at + 1, None, ds)] for at, ds in enumerate(days)}
    rows[FIRST].append(event(1000, "u2", FIRST))
    load({ds: {"events": events} for ds, events in rows.items()}, FIRST, days[-1] + timedelta(days=1))
    monkeypatch.setattr(transform, "EVENTS_PER_GB", 10)
    monkeypatch.setenv("PORTRAIT_WAREHOUSE_MEMORY", "1GB")
    get_settings.cache_clear()


def test_a_first_build_has_a_part_for_so_many_events_of_known_users(hundred_days: None) -> None:
    assert transform.parts_from(date.min) == 11  # 101 events; guests have no history


def test_a_day_counts_the_histories_of_users_whose_windows_it_moves(hundred_days: None) -> None:
    day_91, day_92 = FIRST + timedelta(days=90), FIRST + timedelta(days=91)
    assert transform.parts_from(FIRST + timedelta(days=99)) == 10  # u1's hundred events
    assert transform.parts_from(day_92) == 10
    assert transform.parts_from(day_91) == 11  # the day on which u2's event leaves the 90 days


def test_twice_the_memory_takes_half_the_parts(hundred_days: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_WAREHOUSE_MEMORY", "2000MB")
    get_settings.cache_clear()
    assert transform.parts_from(date.min) == 6


def test_an_empty_warehouse_is_one_part(house: Path) -> None:
    assert transform.parts_from(date.min) == 1
