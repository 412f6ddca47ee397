"""`portrait quarantine` as a person types it: listed without values, shown, fixed, released, and in after the next load."""

import json
from pathlib import Path

import pytest

from quality.load import load_window
from tests.quality.delivery import DAY, NEXT_DAY, row, write_day
from tests.test_cli import portrait

pytestmark = pytest.mark.slow


@pytest.fixture
def bad_row(house: Path) -> str:
    write_day(house, "events", [row("events"), row("events", event_id="e2", user_id="u-visible", unit_price=-3.0)])
    load_window(house / "landing", DAY, NEXT_DAY)
    listed = json.loads(portrait(house, "quarantine", "list", "--json").stdout)
    assert [(count["rule"], count["rows"]) for count in listed["counts"]] == [("unit_price_negative", 1)]
    return listed["rows"][0]["id"]


def test_list_names_the_rule_and_shows_no_value_and_show_shows_all(house: Path, bad_row: str) -> None:
    listed = portrait(house, "quarantine", "list", "--table", "events")
    assert "events  unit_price_negative: 1 row, 2024-05-01 to 2024-05-01" in listed.stdout
    assert bad_row in listed.stdout and "u-visible" not in listed.stdout
    shown = portrait(house, "quarantine", "show", bad_row[:8])
    assert '  user_id: "u-visible"\n' in shown.stdout and '  unit_price: "-3.0"\n' in shown.stdout


def test_a_fix_that_mends_nothing_is_refused_by_the_rule_and_a_true_one_comes_in_with_the_next_load(house: Path, bad_row: str) -> None:
    refused = portrait(house, "quarantine", "release", bad_row, "--set", "quantity=1")
    assert (refused.returncode, "still breaks unit_price_negative" in refused.stderr) == (1, True)
    released = portrait(house, "quarantine", "release", bad_row, "--set", "unit_price=3")
    assert (released.returncode, "loaded again: `portrait load 2024-05-01 2024-05-02`" in released.stdout) == (0, True)
    assert load_window(house / "landing", DAY, NEXT_DAY).tables["events"].accepted == 2
    assert portrait(house, "quarantine", "list").stdout == "quarantine is empty\n"


def test_a_table_that_is_none_is_refused_by_name_and_an_empty_answer_says_what_was_asked(house: Path, bad_row: str) -> None:
    for command in (("quarantine", "list"), ("quality", "accept", str(DAY), str(NEXT_DAY))):
        refused = portrait(house, *command, "--table", "event")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "A landing table must be one of ['campaign_exposures'" in refused.stderr and "Received 'event'" in refused.stderr
    assert portrait(house, "quarantine", "list", "--table", "items").stdout == "no open row of that table and rule\n"


def test_an_id_that_names_no_row_gives_exit_code_3(house: Path) -> None:
    assert portrait(house, "quarantine", "show", "nothing").returncode == 3


def test_a_change_is_accepted_for_the_tables_loaded_in_its_days(house: Path, bad_row: str) -> None:
    accepted = portrait(house, "quality", "accept", str(DAY), str(NEXT_DAY))
    assert accepted.stdout == "accepted as the new normal from 2024-05-01 on: events\n"
    nothing = portrait(house, "quality", "accept", str(NEXT_DAY), str(DAY))
    assert (nothing.returncode, "must hold at least one day" in nothing.stderr) == (2, True)
