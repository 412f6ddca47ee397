"""Counters at any midnight equal those counted anew from the events themselves."""

import re
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.contract import views
from feature_repo.windows_at import day_number, windows_at

FEATURES_AT = datetime(2024, 5, 1)  # noqa: DTZ001
PLURAL = {"view": "views", "favourite": "favourites", "cart": "carts", "purchase": "purchases", "return": "returns"}
COUNTERS = [column.name for column in views()["user_features"].features if re.search(r"_\d+d$", column.name)]

#: days before features_at, type, begins a visit, money in ten-thousandths
EVENTS = st.lists(
    st.tuples(st.integers(1, 90), st.sampled_from([*PLURAL, "rate"]), st.booleans(), st.integers(-(10**9), 10**9)), max_size=60
)


def lists_of(events: list[tuple[int, str, bool, int]]) -> dict[str, Any]:
    """The row of `user_daily` at FEATURES_AT."""
    first = date(1970, 1, 1)
    days = sorted({FEATURES_AT.date() - timedelta(days=ago) for ago, *_ in events})
    kinds = {day: Counter(kind for ago, kind, *_ in events if FEATURES_AT.date() - timedelta(days=ago) == day) for day in days}
    of_day = {day: [event for event in events if FEATURES_AT.date() - timedelta(days=event[0]) == day] for day in days}
    return {
        "day_numbers": [(day - first).days for day in days],
        "daily_events": [len(of_day[day]) for day in days],
        "daily_sessions": [sum(begins for *_, begins, _ in of_day[day]) for day in days],
        "daily_spend": [sum(money for *_, money in of_day[day]) / 10_000 for day in days],
        **{f"daily_{name}": [kinds[day][kind] for day in days] for kind, name in PLURAL.items()},
    }


def counted_anew(events: list[tuple[int, str, bool, int]], later: int) -> dict[str, float]:
    """Each counter from the events, `later` days after FEATURES_AT, without any list of days."""
    answer: dict[str, float] = {}
    for column in COUNTERS:
        counter, length = re.fullmatch(r"(\w+)_(\d+)d", column).groups()  # type: ignore[union-attr]
        inside = [event for event in events if event[0] + later <= int(length)]
        answer[column] = {
            "events": len(inside),
            "active_days": len({ago for ago, *_ in inside}),
            "sessions": sum(begins for *_, begins, _ in inside),
            "spend": sum(money for *_, money in inside) / 10_000,
            **{name: sum(event[1] == kind for event in inside) for kind, name in PLURAL.items()},
        }[counter]
    return answer


@given(EVENTS, st.integers(0, 100))
def test_every_counter_equals_one_counted_anew_from_the_events(events: list[tuple[int, str, bool, int]], later: int) -> None:
    assert windows_at(lists_of(events), FEATURES_AT + timedelta(days=later)) == counted_anew(events, later)


@given(EVENTS)
def test_arrays_as_the_online_store_gives_them_count_like_lists(events: list[tuple[int, str, bool, int]]) -> None:
    lists = lists_of(events)
    arrays = {name: np.array(values, np.float64 if name == "daily_spend" else np.int64) for name, values in lists.items()}
    assert windows_at(arrays, FEATURES_AT) == windows_at(lists, FEATURES_AT)


def test_a_user_silent_for_20_days_has_no_purchases_in_7_days() -> None:
    bought = lists_of([(1, "purchase", True, 500_000), (1, "purchase", False, 100_000)])
    today, silent, gone = (windows_at(bought, FEATURES_AT + timedelta(days=days)) for days in (0, 19, 90))
    assert (today["purchases_7d"], today["spend_7d"], today["active_days_30d"], today["sessions_30d"]) == (2, 60.0, 1, 1)
    assert (silent["purchases_7d"], silent["spend_7d"], silent["purchases_30d"], silent["spend_30d"]) == (0, 0.0, 2, 60.0)
    assert set(gone.values()) == {0}


def test_counts_are_ints_and_money_is_exact_to_the_last_digit() -> None:
    tenths = lists_of([(ago, "purchase", False, 1_000) for ago in range(1, 4)])
    answer = windows_at(tenths, FEATURES_AT)
    assert sum(tenths["daily_spend"]) == 0.30000000000000004  # what adding doubles would give
    assert answer["spend_7d"] == 0.3
    assert {type(value) for name, value in answer.items() if not name.startswith("spend")} == {int}
    assert list(answer) == COUNTERS


def test_a_time_of_day_means_its_midnight_and_a_zone_is_honoured() -> None:
    row = lists_of([(7, "view", True, 0)])
    assert windows_at(row, FEATURES_AT)["views_7d"] == 1
    assert windows_at(row, FEATURES_AT.replace(hour=23, tzinfo=UTC)) == windows_at(row, FEATURES_AT)
    assert windows_at(row, FEATURES_AT + timedelta(days=1))["views_7d"] == 0
    assert (day_number(datetime(1970, 1, 2, tzinfo=UTC)), day_number(FEATURES_AT)) == (1, (FEATURES_AT.date() - date(1970, 1, 1)).days)


def test_a_missing_list_is_named() -> None:
    row = lists_of([(1, "view", True, 0)])
    del row["daily_carts"]
    with pytest.raises(KeyError, match="daily_carts"):
        windows_at(row, FEATURES_AT)


def test_ninety_active_days_cost_well_under_a_millisecond() -> None:
    row = {name: np.array(values) for name, values in lists_of([(ago, "view", True, 0) for ago in range(1, 91)]).items()}
    runs = []
    for _ in range(50):
        started = time.perf_counter()
        windows_at(row, FEATURES_AT)
        runs.append(time.perf_counter() - started)
    assert min(runs) < 0.0005
