"""Features are built of loaded days only."""

from datetime import date
from pathlib import Path

import pytest

from quality.errors import NotLoaded, WindowInvalid
from quality.freshness import check_loaded
from quality.load import load_window
from tests.quality.delivery import row, write_day

MAY = [date(2024, 5, day) for day in range(1, 10)]


def test_a_window_with_days_that_were_never_loaded_is_refused_by_their_names(house: Path) -> None:
    with pytest.raises(NotLoaded, match=r"without 2024-05-01, .* and 3 more; loaded is nothing\. Ingest these days"):
        check_loaded(MAY[0], MAY[8])
    for ds in (MAY[0], MAY[3]):
        write_day(house, "events", [row("events", event_id=str(ds))], ds)
    load_window(house / "landing", MAY[0], MAY[1])
    load_window(house / "landing", MAY[3], MAY[4])
    with pytest.raises(
        NotLoaded, match=r"\[2024-05-01, 2024-05-06\) without 2024-05-02, 2024-05-03, 2024-05-05; loaded is 2024-05-01 to 2024-05-04"
    ):
        check_loaded(MAY[0], MAY[5])


def test_a_loaded_day_on_which_nothing_came_is_no_missing_day(house: Path) -> None:
    for ds in (MAY[0], MAY[3]):
        write_day(house, "events", [row("events", event_id=str(ds))], ds)
    load_window(house / "landing", MAY[0], MAY[4])
    check_loaded(MAY[0], MAY[4])
    check_loaded(MAY[1], MAY[2])
    with pytest.raises(NotLoaded, match=r"without 2024-05-05; loaded is 2024-05-01 to 2024-05-04"):
        check_loaded(MAY[1], MAY[5])


def test_days_after_all_that_was_delivered_are_not_taken_for_silent_ones(house: Path) -> None:
    """The source stood still: a load of a longer window finds nothing there, and windows that move on would say that customers left."""
    write_day(house, "events", [row("events")], MAY[0])
    load_window(house / "landing", MAY[0], MAY[3])
    with pytest.raises(NotLoaded, match=r"without 2024-05-02, 2024-05-03; loaded is 2024-05-01 to 2024-05-01"):
        check_loaded(MAY[0], MAY[3])


def test_a_window_without_a_day_is_refused(house: Path) -> None:
    with pytest.raises(WindowInvalid, match="must hold at least one day"):
        check_loaded(MAY[1], MAY[1])
