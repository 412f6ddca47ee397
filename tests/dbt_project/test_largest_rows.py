"""The largest rows that the landing rules let in, many of them: no build ends on them, and no gate takes a wholesaler for a mistake."""

from pathlib import Path

import pytest

from quality.gates import check
from quality.load import load_window
from quality.row_rules import RANGES
from quality.transform import build
from quality.warehouse import open_warehouse
from tests.quality.delivery import DAY, NEXT_DAY, row, write_day

LINES = 50


@pytest.mark.slow
def test_the_largest_rows_that_keep_every_rule_are_built_and_pass_both_gates(house: Path) -> None:
    money, pieces, rating = (RANGES[name][1] for name in ("unit_price", "quantity", "rating"))
    dear = {"unit_price": money, "quantity": 1.0, "rating": rating}
    many = {"unit_price": money / pieces, "quantity": pieces, "rating": -rating}
    kinds = ("purchase", "purchase", "return", "rate", "view")
    write_day(
        house,
        "events",
        [
            row("events", event_id=f"e{number}-{sort}", event_type=kinds[number % len(kinds)], **cells)
            for number in range(LINES)
            for sort, cells in enumerate((dear, many))
        ],
    )
    write_day(house, "items", [row("items", price=money)])
    write_day(house, "campaign_exposures", [row("campaign_exposures", spend=money, cost=money)])
    assert load_window(house / "landing", DAY, NEXT_DAY).tables["events"].quarantined == {}
    assert check("landing", DAY, NEXT_DAY).broken == ()
    build(DAY, NEXT_DAY)
    assert check("marts", DAY, NEXT_DAY).broken == ()
    with open_warehouse() as warehouse:
        features = warehouse.execute("select distinct spend_total, rating_mean from marts.user_features where events_total > 0").fetchall()
    assert features == [(LINES / len(kinds) * 2 * money, 0.0)]  # two kinds bought less one returned, two sorts of each
