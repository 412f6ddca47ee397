"""A shop of ten users and eight items, small enough to check by hand: 2024-03-01 to 2024-04-29, so the house's clock says 2024-04-30."""

import csv
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

ITEMS = [
    ("tea", "Green tea", "drinks > tea", 4.5, "true"),
    ("mate", "Mate tea", "drinks > tea", 6.0, "true"),
    ("cup", "White cup", "kitchen > cups", 7.0, "true"),
    ("mug", "Blue mug", "kitchen > cups", 8.0, "true"),
    ("pot", "Tea pot", "kitchen > pots", 19.0, "true"),
    ("tin", "Tea tin", "kitchen > tins", 3.0, "true"),
    ("tray", "Oak tray", "home > trays", 25.0, "true"),
    ("rug", "Wool rug", "home > rugs", 90.0, "false"),
]

#: user, item, type, time, quantity, price. Ann and Ben are counted by hand in the test.
BY_HAND = [
    ("ann", "tea", "view", "2024-03-05 10:00:00", "", ""),
    ("ann", "tea", "purchase", "2024-03-05 10:05:00", 2, 4.5),
    ("ann", "cup", "view", "2024-04-10 09:00:00", "", ""),
    ("ann", "cup", "cart", "2024-04-10 09:10:00", "", ""),
    ("ann", "cup", "purchase", "2024-04-25 20:00:00", 1, 7.0),
    ("ann", "cup", "return", "2024-04-26 08:00:00", 1, 7.0),
    ("ben", "pot", "view", "2024-04-12 12:00:00", "", ""),
    ("ben", "pot", "purchase", "2024-04-12 12:30:00", 1, 19.0),
    ("", "rug", "view", "2024-04-20 12:00:00", "", ""),  # a guest
]

#: Rows that break a rule, and the rule.
DIRTY = {
    "unparseable time": ("ann", "tea", "view", "yesterday", "", ""),
    "negative price": ("ann", "tea", "purchase", "2024-04-01 10:00:00", 1, -4.5),
    "unknown event type": ("ann", "tea", "teleport", "2024-04-01 11:00:00", "", ""),
}

LATER_PURCHASE = ("ann", "tray", "purchase", "2024-05-20 10:00:00", 1, 25.0)


def regulars() -> list[tuple]:
    """Seven users with steady habits: each goes round the catalogue at a pace of their own, and buys at every fourth stop."""
    rows = []
    sellable = [item for item in ITEMS if item[4] == "true"]
    for number in range(7):
        for stop, day in enumerate(range(number, 60, 2 + number % 3)):
            item_id, _, _, price, _ = sellable[(number + stop) % len(sellable)]
            at = datetime(2024, 3, 1, 8 + number) + timedelta(days=day)  # noqa: DTZ001
            rows.append((f"regular{number}", item_id, "view", f"{at}", "", ""))
            if stop % 4 == 0:
                rows.append((f"regular{number}", item_id, "purchase", f"{at + timedelta(minutes=9)}", 1, price))
    return rows


def clean_events() -> list[tuple]:
    return BY_HAND + regulars()


def popularity() -> list[str]:
    """Items by purchases in the 30 days to 2024-04-30, then events in these, then events ever, then id: counted naively."""
    recent = [row for row in clean_events() if row[3] >= "2024-03-31"]
    bought = Counter(row[1] for row in recent if row[2] == "purchase")
    seen, ever = Counter(row[1] for row in recent), Counter(row[1] for row in clean_events())
    return sorted((item[0] for item in ITEMS), key=lambda item: (-bought[item], -seen[item], -ever[item], item))


def write(folder: Path, extra: list[tuple] | None = None) -> int:
    """Writes users, items, user_traits and events as CSV; returns the event rows, dirt and one exact duplicate included."""
    folder.mkdir(parents=True, exist_ok=True)
    users = ["ann", "ben", "cleo", *(f"regular{number}" for number in range(7))]  # cleo never came
    _csv(folder / "users.csv", ["user_id", "registered_at"], [(user, "2024-03-01 00:00:00") for user in users])
    _csv(folder / "items.csv", ["item_id", "title", "category", "price", "in_stock"], ITEMS)
    traits = [(user, "gender", "female" if index % 2 else "male", "2024-03-01 00:00:00") for index, user in enumerate(users[:8])]
    _csv(folder / "user_traits.csv", ["user_id", "trait", "value", "known_at"], traits)
    rows = [(f"e{number:04}", *row) for number, row in enumerate([*clean_events(), *DIRTY.values(), *(extra or [])])]
    rows.append(rows[0])
    names = ["event_id", "user_id", "item_id", "event_type", "occurred_at", "quantity", "unit_price"]
    _csv(folder / "events.csv", names, rows)
    return len(rows)


def _csv(file: Path, names: list[str], rows: list[tuple]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([names, *rows])
