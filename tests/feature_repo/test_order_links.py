"""Linked accounts and bursts, against a walk from order to order."""

import random
from datetime import datetime, timedelta

import pandas as pd

from feature_repo.order_features import MOST_ACCOUNTS
from feature_repo.order_links import bursts, linked

MAY = datetime(2024, 5, 1)  # noqa: DTZ001
COLUMNS = ["order_id", "user_id", "payment_id", "device_id", "address_id"]


def orders(rows: list[tuple], opened: dict[str, float] | None = None) -> pd.DataFrame:
    """Orders of (user, payment, device, address); `opened` is the day of May on which an account was opened."""
    frame = pd.DataFrame([(f"o{number}", *row) for number, row in enumerate(rows)], columns=COLUMNS, dtype=object)
    at = [MAY + timedelta(days=opened[user]) if opened and user in opened else None for user in frame["user_id"]]
    return frame.assign(account_opened_at=pd.to_datetime(pd.Series(at)))


def test_accounts_are_linked_by_what_they_share_and_by_accounts_between() -> None:
    shop = orders(
        [("a", "p1", None, "x"), ("b", "p1", "d1", "y"), ("c", "p2", "d1", None), ("d", "p3", "d3", "x2"), (None, "p3", None, None)]
    )
    part = linked(shop)
    assert part[0] == part[1] == part[2]
    assert part[3] == part[4] != part[0]  # the guest used d's payment instrument


def test_two_guests_are_two_accounts_and_what_is_unknown_links_nobody() -> None:
    part = linked(orders([(None, None, None, None), (None, None, None, None), ("a", None, "d", None)]))
    assert len(set(part)) == 3


def test_components_are_those_of_a_walk_from_order_to_order() -> None:
    draw = random.Random(3)
    rows = [
        (
            draw.choice([*"abcdefghijklmnopqrst", None, None, None, None]),
            *(draw.choice([f"{kind}{draw.randrange(30)}", None]) for kind in "pdx"),
        )
        for _ in range(40)
    ]
    part = linked(orders(rows))
    left, walked = set(range(len(rows))), {}
    while left:
        reached, edge = set(), [min(left)]
        while edge:
            place = edge.pop()
            reached.add(place)
            near = {
                other
                for other in left - reached
                if any(mine is not None and mine == theirs for mine, theirs in zip(rows[place], rows[other], strict=True))
            }
            edge += near
        left -= reached
        walked |= dict.fromkeys(reached, min(reached))
    assert [[part[one] == part[other] for other in range(40)] for one in range(40)] == [
        [walked[one] == walked[other] for other in range(40)] for one in range(40)
    ]
    assert 3 < len(set(walked.values())) < 38


def test_what_many_share_links_nobody() -> None:
    crowd = [(f"u{number}", None, "library", None) for number in range(MOST_ACCOUNTS + 1)]
    assert len(set(linked(orders(crowd)))) == len(crowd)
    assert len(set(linked(orders(crowd[1:])))) == 1


def test_a_burst_is_three_linked_accounts_opened_within_three_days() -> None:
    ring = [("r1", "p", None, None), ("r2", "p", "d", None), ("r3", None, "d", None), ("r2", "p", None, None)]
    home = [("h1", None, None, "x"), ("h2", None, None, "x"), ("h3", None, None, "x")]
    opened = {"r1": 2.0, "r2": 0.5, "r3": 3.4, "h1": 0.0, "h2": 2.9, "h3": 3.1}
    (found,) = bursts(orders(ring + home, opened))
    assert (found.name, found.user_ids) == ("r2", ("r2", "r1", "r3"))
    assert (found.first_opened_at, found.last_opened_at) == (MAY + timedelta(days=0.5), MAY + timedelta(days=3.4))
    assert bursts(orders(ring, {"r1": 2.0, "r2": 0.5})) == []  # nobody knows when r3 was opened
    assert bursts(orders([])) == []
