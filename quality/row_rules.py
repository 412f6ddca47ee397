"""The value rules at the landing border, as data: which rows go to quarantine, and under which name.

`rules_for(LANDING["events"])` yields named SQL predicates over one row. A predicate sees `"raw_<column>"` as delivered, `"<column>"` after
the cast to the contract's type (null where the cast failed) and `ds`, the day that brought the row. A row that breaks several rules is
quarantined once, under the first in order; `detail` names all of them.
"""

from dataclasses import dataclass

from sources.landing import EVENT_TYPES, Column, LandingTable

#: No shop that can use this software sold anything online earlier; zero and epoch dates fall before it.
SHOP_OPENED = "1995-01-01"

#: A time may lie this far after the end of its day: clocks and time zones of the shop's systems.
FUTURE_TOLERANCE = "1 day"

#: Announced ahead of time, so it may lie in the future, as far as there are dates: readers online know no later one.
_MAY_LIE_AHEAD = ("listed_at",)
LAST_DATE = "9999-12-31 23:59:59.999999"

MONEY = (0.0, 1e9)
#: Allowed numbers by column name, ends included.
RANGES: dict[str, tuple[float, float]] = {
    "price": MONEY,
    "unit_price": MONEY,
    "cost": MONEY,
    "spend": MONEY,
    "amount": MONEY,
    "quantity": (0.0, 1e6),
    "rating": (-1e3, 1e3),
    "score": (-1e9, 1e9),
    "rank": (1, 1e6),
}

ALLOWED: dict[str, tuple[str, ...]] = {
    "event_type": EVENT_TYPES,
    "kind": ("recommendation", "offer", "credit", "order"),
}

_FREE_TEXT = ("title", "description", "category", "brand", "country", "city", "value", "text", "reason")
FREE_TEXT_LENGTH = 100_000
NAME_LENGTH = 256

#: The rule of a row whose key came again with other values later in the same day.
SUPERSEDED = "superseded"

#: The rule of events of which one known user has more in one second and delivery than anyone can cause: a robot, a loop, a broken clock.
#: The longest order of a real shop, all lines at one time, had 543.
BURST = "burst"
BURST_EVENTS = 1_000


@dataclass(frozen=True)
class Rule:
    """One rule: its name, the SQL predicate that is true for a row that breaks it, and what it means."""

    name: str
    broken: str
    meaning: str


def _string_rules(column: Column) -> list[Rule]:
    name = column.name
    longest = FREE_TEXT_LENGTH if name in _FREE_TEXT else NAME_LENGTH
    rules = [Rule(f"{name}_oversized", f'length("{name}") > {longest}', f"{name} is longer than {longest} characters")]
    if not column.nullable or name.endswith("_id"):
        rules.append(Rule(f"{name}_empty", f"trim(\"{name}\") = ''", f"{name} is an empty string"))
    if name in ALLOWED:
        allowed = ", ".join(f"'{value}'" for value in ALLOWED[name])
        rules.append(Rule(f"{name}_unknown", f'trim("{name}") <> \'\' and "{name}" not in ({allowed})', f"{name} is not one of {allowed}"))
    return rules


def _time_rules(column: Column) -> list[Rule]:
    name = column.name
    rules = [Rule(f"{name}_before_shop", f"\"{name}\" < timestamp '{SHOP_OPENED}'", f"{name} lies before {SHOP_OPENED}")]
    if name in _MAY_LIE_AHEAD:
        rules.append(Rule(f"{name}_in_future", f"\"{name}\" > timestamp '{LAST_DATE}'", f"{name} lies after {LAST_DATE[:10]}"))
    else:
        latest = f"ds + interval 1 day + interval '{FUTURE_TOLERANCE}'"
        rules.append(
            Rule(f"{name}_in_future", f'"{name}" > {latest}', f"{name} lies more than {FUTURE_TOLERANCE} after the day that brought it")
        )
    return rules


def _number_rules(column: Column) -> list[Rule]:
    name, value = column.name, f'"{column.name}"::double'
    rules = []
    if column.kind == "float":
        rules.append(Rule(f"{name}_not_finite", f"not isfinite({value})", f"{name} is NaN or infinite"))
    if name == "propensity":
        rules.append(
            Rule("propensity_outside_0_1", f"isfinite({value}) and not ({value} > 0 and {value} <= 1)", "propensity is not in (0, 1]")
        )
    if name in RANGES:
        low, high = RANGES[name]
        if low == 0:
            rules.append(Rule(f"{name}_negative", f"isfinite({value}) and {value} < 0", f"{name} is negative"))
            rules.append(Rule(f"{name}_absurd", f"isfinite({value}) and {value} > {high}", f"{name} is above {high:g}"))
        else:
            outside = f"isfinite({value}) and {value} not between {low} and {high}"
            rules.append(Rule(f"{name}_absurd", outside, f"{name} is outside {low:g} to {high:g}"))
    return rules


def _vector_rules(column: Column) -> list[Rule]:
    name = column.name
    broken = f'len("{name}") = 0 or list_bool_or(list_transform("{name}", lambda x: x is null or not isfinite(x)))'
    return [Rule(f"{name}_not_finite", broken, f"{name} is empty or holds a number that is not finite")]


_BY_KIND = {"string": _string_rules, "timestamp": _time_rules, "float": _number_rules, "int": _number_rules, "float_list": _vector_rules}

#: Money made of two cells, each of them allowed by itself: without this the product would not fit the marts' DECIMAL(18, 4).
_SPEND = Rule(
    "spend_absurd",
    f'"unit_price" * coalesce("quantity", 1) > {MONEY[1]} and isfinite("unit_price" * coalesce("quantity", 1))',
    f"unit_price times quantity is above {MONEY[1]:g}",
)

_TIME_ORDER = {
    "campaign_exposures": ("outcome_at", "assigned_at"),
    "credit_applications": ("outcome_at", "applied_at"),
}


def rules_for(table: LandingTable) -> tuple[Rule, ...]:
    """All rules of a landing table, in the order in which a row is judged: missing, unparseable, then each column's values."""
    rules = [
        Rule(f"{column.name}_missing", f'"raw_{column.name}" is null', f"{column.name} is null")
        for column in table.columns
        if not column.nullable
    ]
    rules += [
        Rule(
            f"{column.name}_unparseable",
            f'"raw_{column.name}" is not null and "{column.name}" is null',
            f"{column.name} cannot be read as {column.kind}",
        )
        for column in table.columns
    ]
    for column in table.columns:
        rules += _BY_KIND.get(column.kind, lambda _: [])(column)
    if table.name == "events":
        rules.append(_SPEND)
    if table.name in _TIME_ORDER:
        later, earlier = _TIME_ORDER[table.name]
        rules.append(Rule(f"{later}_before_{earlier}", f'"{later}" < "{earlier}"', f"{later} lies before {earlier}"))
    return tuple(rules)
