"""Dirt of the simulated shop: rows that a real shop's systems would hand in, in numbers that are known exactly.

Spoiled rows come on top of the clean ones, as copies under new keys with one cell spoiled, so that what is true of the clean shop stays
true. Each kind has the name under which `quality` counts it. Only encodings and blanks are spoiled in place: they can be repaired.
Not injected: a missing required column refuses the whole file.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sources.landing import LANDING
from sources.shop_calendar import DAY, SECOND
from sources.shop_ids import BLOCK_NUMBERS, numbered

NEVER_LISTED, NEVER_REGISTERED = "i-never-listed", "u-never-registered"
LONG_AGO = np.datetime64("1970-01-01T00:00:00", "us")
SHARE_LATE = 5.0  # late events, for each spoiled row

Spoiler = Callable[[pa.Table], pa.Array]


def _says(value: object, kind: pa.DataType) -> Spoiler:
    return lambda rows: pa.array([value] * rows.num_rows, kind)


def _text(value: str) -> Spoiler:
    return _says(value, pa.string())


def _number(value: float) -> Spoiler:
    return _says(value, pa.float64())


def _ahead(rows: pa.Table) -> pa.Array:
    return pc.cast(pc.add(pc.cast(rows["ds"], pa.timestamp("us")), pa.scalar(400 * DAY, pa.duration("us"))), pa.timestamp("us"))


def _long_ago(rows: pa.Table) -> pa.Array:
    return _says(LONG_AGO, pa.timestamp("us"))(rows)


#: table -> kind -> (column, spoiler): values of the column's type that are wrong
WRONG: dict[str, dict[str, tuple[str, Spoiler]]] = {
    "users": {
        "user_id_empty": ("user_id", _text(" ")),
        "registered_at_before_shop": ("registered_at", _long_ago),
    },
    "items": {
        "price_negative": ("price", _number(-9.99)),
        "price_absurd": ("price", _number(1e12)),
        "title_oversized": ("title", _text("endless-" * 12_501)),
    },
    "events": {
        "occurred_at_in_future": ("occurred_at", _ahead),
        "occurred_at_before_shop": ("occurred_at", _long_ago),
        "unit_price_negative": ("unit_price", _number(-4.5)),
        "unit_price_absurd": ("unit_price", _number(1e12)),
        "quantity_negative": ("quantity", _number(-1.0)),
        "quantity_absurd": ("quantity", _number(1e9)),
        "event_type_unknown": ("event_type", _text("teleport")),
        "item_id_empty": ("item_id", _text("")),
        "session_id_oversized": ("session_id", _text("s" * 300)),
        "unknown_item": ("item_id", _text(NEVER_LISTED)),
        "unknown_user": ("user_id", _text(NEVER_REGISTERED)),
    },
    "reviews": {"text_oversized": ("text", _text("again-and-" * 10_001)), "created_at_in_future": ("created_at", _ahead)},
    "campaign_exposures": {"propensity_outside_0_1": ("propensity", _number(1.5)), "spend_negative": ("spend", _number(-20.0))},
    "credit_applications": {"amount_absurd": ("amount", _number(1e12)), "applied_at_in_future": ("applied_at", _ahead)},
    "orders": {"amount_negative": ("amount", _number(-30.0)), "placed_at_before_shop": ("placed_at", _long_ago)},
    "chargebacks": {"reported_at_in_future": ("reported_at", _ahead)},
}
#: table -> kind -> (column, cell): what cannot be read as the column's type; such rows come in a file of text
UNREADABLE: dict[str, dict[str, tuple[str, str]]] = {
    "users": {"registered_at_unparseable": ("registered_at", "last spring")},
    "items": {"price_unparseable": ("price", "on request")},
    "events": {
        "occurred_at_unparseable": ("occurred_at", "yesterday evening"),
        "unit_price_unparseable": ("unit_price", "12,- EUR"),
        "quantity_unparseable": ("quantity", "a few"),
    },
    "reviews": {"rating_unparseable": ("rating", "four and a half")},
    "orders": {"amount_unparseable": ("amount", "see invoice")},
}
TWICE = ("users", "items", "events", "reviews", "orders")  # some of their rows come twice, cell for cell
#: The key's column that gets a new value in a spoiled copy.
_NEW_KEY = {"campaign_exposures": "user_id"}


@dataclass
class Delivered:
    """One table as it is handed in: `typed` by the contract, `text` with every column as text, `raw` with `title` as bytes, no UTF-8.

    `counts` says how many rows of each kind are among them.
    """

    typed: list[pa.Table]
    text: list[pa.Table] = field(default_factory=list)
    raw: list[pa.Table] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, to: list[pa.Table], kind: str, rows: pa.Table) -> None:
        if rows.num_rows:
            to.append(rows)
            self.counts[kind] = rows.num_rows


def spoil(rng: np.random.Generator, name: str, clean: pa.Table, rate: float, block: int, *, at_least_one: bool) -> Delivered:
    """`clean` with `rate` times its rows of dirt, shared evenly by the kinds that the table can have.

    `at_least_one` asks for one row of every kind, however small the table.
    """
    kinds = len(WRONG.get(name, ())) + len(UNREADABLE.get(name, ())) + (name in TWICE) + (name == "events") + 2 * (name == "items")
    out = Delivered([clean])
    if rate and kinds and clean.num_rows:
        fresh = count(block * BLOCK_NUMBERS)

        def how_many() -> int:
            return min(max(int(rng.random() + rate * clean.num_rows / kinds), int(at_least_one)), clean.num_rows)

        def copies() -> pa.Table:
            """Some rows under keys of their own."""
            rows = _drawn(rng, clean, how_many())
            ids = numbered("x", np.fromiter(fresh, np.int64, rows.num_rows))
            return _replace(rows, _NEW_KEY.get(name, LANDING[name].key[0]), ids)

        for kind, (column, spoiler) in WRONG.get(name, {}).items():
            rows = copies()
            out.add(out.typed, kind, _replace(rows, column, spoiler(rows)))
        for kind, (column, cell) in UNREADABLE.get(name, {}).items():
            rows = _as_text(copies())
            out.add(out.text, kind, _replace(rows, column, _text(cell)(rows)))
        if name in TWICE:
            out.add(out.typed, "exact_duplicates", _drawn(rng, clean, how_many()))
        if name == "events":
            out.add(out.typed, "superseded", _superseded(rng, clean, how_many()))
        if name == "items":
            _misread(rng, out, how_many(), how_many())
    if name == "events":
        _count_kept(out)
    return out


def _replace(rows: pa.Table, column: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(column), column, values)


def _as_text(rows: pa.Table) -> pa.Table:
    """Every column but `ds` as text."""
    return rows.cast(pa.schema([(column.name, column.type if column.name == "ds" else pa.string()) for column in rows.schema]))


def _drawn(rng: np.random.Generator, rows: pa.Table, many: int, among: np.ndarray | None = None) -> pa.Table:
    """`many` different rows, of those at the places `among` where given."""
    places = rng.choice(rows.num_rows, many, replace=False) if among is None else rng.permutation(among)[:many]
    return rows.take(pa.array(np.sort(places)))


def _superseded(rng: np.random.Generator, clean: pa.Table, many: int) -> pa.Table:
    """Earlier readings of events: the same id and day, received ten seconds before the true row, with one more in `quantity`."""
    received = clean["received_at"].cast(pa.int64()).to_numpy()
    rows = _drawn(rng, clean, many, np.flatnonzero((received - 10 * SECOND) // DAY == received // DAY))
    earlier = pc.subtract(rows["received_at"], pa.scalar(10 * SECOND, pa.duration("us")))
    return _replace(_replace(rows, "received_at", earlier), "quantity", pc.add(pc.fill_null(rows["quantity"], 0.0), 1.0))


def _misread(rng: np.random.Generator, out: Delivered, misread: int, padded: int) -> None:
    """Titles to repair, in place: UTF-8 read as cp1252, cp1252 handed in as bytes, and blanks around."""
    clean = out.typed[0]
    titles = clean["title"].to_pylist()
    shuffled = rng.permutation(len(titles)).tolist()
    foreign = [row for row in shuffled if not titles[row].isascii()][: 2 * misread]
    plain = [row for row in shuffled if titles[row].isascii()][:padded]
    for row in foreign[::2]:
        titles[row] = titles[row].encode("utf-8").decode("cp1252")
    for row in plain:
        titles[row] = f"  {titles[row]}\t"
    is_raw = np.zeros(len(titles), bool)
    is_raw[foreign[1::2]] = True
    raw = clean.filter(pa.array(is_raw))
    out.typed[0] = _replace(clean, "title", pa.array(titles, pa.string())).filter(pa.array(~is_raw))
    out.raw = [_replace(raw, "title", pa.array([title.encode("cp1252") for title in raw["title"].to_pylist()], pa.binary()))]
    out.counts |= {"title_encoding": len(foreign), "title_trimmed": len(plain)}


def _count_kept(out: Delivered) -> None:
    """Counts what is odd and kept among the events that no rule refuses: guests, and what is known later than the day after it happened."""
    kept = [out.typed[0], *(rows for rows in out.typed[1:] if _is_unknown(rows))]
    out.counts["guests"] = sum(rows["user_id"].null_count for rows in kept)
    days = [(rows["ds"].cast(pa.int32()).to_numpy(), rows["occurred_at"].cast(pa.int64()).to_numpy() // DAY) for rows in kept]
    out.counts["late"] = int(sum((known > happened + 1).sum() for known, happened in days))


def _is_unknown(rows: pa.Table) -> bool:
    return rows["item_id"][0].as_py() == NEVER_LISTED or rows["user_id"][0].as_py() == NEVER_REGISTERED
