"""A simulated shop with known truth, at any size: the data that anybody has.

Publisher: this project. Licence: Apache-2.0. Offered: here. Reads nothing. Gives users, user_traits (gender and age_band of about 40 % of
the users), items, events (view, favourite, cart, purchase, return) and campaign_exposures (one randomised campaign, outcomes known 14 days
later).

`simulate` yields the landing tables and, apart from them, the truth that only tests may read; `read` passes on the tables alone. Everything
is drawn from one seeded generator: the same seed and options give the same rows. A row becomes known (`ds`) on the day it is received; what
was there before the window becomes known on its first day; rows that would be received after the window are not delivered.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from sources.errors import UnknownOption
from sources.files import landing_table
from sources.shop_campaign import ARMS, COST, OUTCOME_DAYS, PROPENSITY, SEGMENTS, Campaign, run_campaign
from sources.shop_catalogue import PATHS, Catalogue, item_words, make_catalogue
from sources.shop_people import AGE_BANDS, CITIES, COUNTRIES, DAY, GENDERS, People, make_people
from sources.shop_visits import aftermath, plan_visits, simulate_visits

CAMPAIGN_DAYS_BEFORE_END = 30
SHARE_LATE = 0.01
ROWS_A_DUPLICATE = 20_000  # one exact duplicate in so many events
_EVENT_NAMES = np.array(["view", "favourite", "cart", "purchase", "return"])


@dataclass(frozen=True)
class ShopOptions:
    """Size and window of the shop; `end` is the last day of the window."""

    users: int = 5000
    items: int = 2000
    events_per_user: int = 80
    days: int = 90
    end: date = date(2024, 3, 31)

    @classmethod
    def of(cls, options: dict[str, Any]) -> "ShopOptions":
        """From texts or numbers; raises `UnknownOption` for a value outside its range."""
        lowest = {"users": 10, "items": 2 * len(PATHS), "events_per_user": 1, "days": 60}
        values: dict[str, Any] = {}
        for name, value in options.items():
            try:
                values[name] = date.fromisoformat(str(value)) if name == "end" else int(value)
            except ValueError as problem:
                rule = "a day, YYYY-MM-DD" if name == "end" else "a whole number"
                raise UnknownOption(f"Option {name} of source shop is {rule}. Received '{value}'.") from problem
            if name in lowest and values[name] < lowest[name]:
                raise UnknownOption(f"Option {name} of source shop is at least {lowest[name]}. Received {value}.")
        return cls(**values)


@dataclass(frozen=True)
class Simulation:
    """Landing tables with `ds`, and the truth: `users` (tastes, drift) and `campaign` (segment, and each arm's outcome for each user)."""

    tables: dict[str, pa.Table]
    truth: dict[str, pa.Table]


def read(data: None, seed: int, options: dict[str, Any]) -> dict[str, pa.Table]:
    """The landing tables of the shop of that seed and size."""
    return simulate(seed, ShopOptions.of(options)).tables


def simulate(seed: int, options: ShopOptions) -> Simulation:
    """The shop of `seed`: its landing tables, and its truth."""
    rng = np.random.default_rng(seed)
    end_day = (options.end - date(1970, 1, 1)).days + 1
    start, end = (end_day - options.days) * DAY, end_day * DAY
    catalogue = make_catalogue(rng, options.items, start, end)
    people = make_people(rng, options.users, start, end)
    agreed = rng.random(options.users) < 0.9

    visits = plan_visits(rng, people, start, end, options.users * options.events_per_user)
    events = simulate_visits(rng, visits, catalogue, people)
    events = np.concatenate([events, aftermath(rng, events, catalogue)])
    events, campaign = run_campaign(rng, events, catalogue, people, agreed, end - CAMPAIGN_DAYS_BEFORE_END * DAY)

    user_ids = np.array([f"u{number:06d}" for number in range(options.users)])
    words = item_words(rng, catalogue)
    tables = {
        "users": _users(rng, people, agreed, user_ids, start),
        "user_traits": _traits(rng, people, user_ids, start),
        "items": landing_table(
            "items",
            {**words, "price": catalogue.price, "listed_at": _times(catalogue.listed_at), "in_stock": catalogue.in_stock},
            _days(np.maximum(catalogue.listed_at, start)),
        ),
        "events": _events(rng, events, user_ids, np.array(words["item_id"]), end),
        "campaign_exposures": _exposures(campaign, user_ids),
    }
    return Simulation(tables, _truth(people, catalogue, campaign, user_ids))


def _times(microseconds: np.ndarray) -> np.ndarray:
    return microseconds.astype("datetime64[us]")


def _days(microseconds: np.ndarray) -> np.ndarray:
    return _times(microseconds).astype("datetime64[D]")


def _users(rng: np.random.Generator, people: People, agreed: np.ndarray, user_ids: np.ndarray, start: int) -> pa.Table:
    columns = {
        "user_id": user_ids,
        "registered_at": _times(people.registered_at),
        "country": COUNTRIES[people.city],
        "city": CITIES[people.city],
        "consent_personalisation": rng.random(len(user_ids)) < 0.93,
        "consent_marketing": agreed,
        "consent_credit": rng.random(len(user_ids)) < 0.4,
    }
    return landing_table("users", columns, _days(np.maximum(people.registered_at, start)))


def _traits(rng: np.random.Generator, people: People, user_ids: np.ndarray, start: int) -> pa.Table:
    """Both traits of those who declared them, at registration."""
    declared = np.repeat(np.flatnonzero(rng.random(len(user_ids)) < 0.4), 2)
    is_gender = np.arange(len(declared)) % 2 == 0
    columns = {
        "user_id": user_ids[declared],
        "trait": np.where(is_gender, "gender", "age_band"),
        "value": np.where(is_gender, GENDERS[people.gender[declared]], AGE_BANDS[people.age[declared]]),
        "known_at": _times(people.registered_at[declared]),
    }
    return landing_table("user_traits", columns, _days(np.maximum(people.registered_at[declared], start)))


def _events(rng: np.random.Generator, events: np.ndarray, user_ids: np.ndarray, item_ids: np.ndarray, end: int) -> pa.Table:
    """Events by the time they happened, those received in the window only; one in a hundred comes one to two days late."""
    events = events[np.lexsort((events["type"], events["item"], events["session"], events["at"]))]
    delay = rng.exponential(8_000_000, len(events)).astype(np.int64) + 50_000
    late = rng.random(len(events)) < SHARE_LATE
    received = events["at"] + np.where(late, rng.integers(DAY, 2 * DAY, len(events)), delay)
    numbers = np.arange(len(events))
    known = received < end
    numbers = np.sort(np.concatenate([numbers[known], rng.choice(numbers[known], max(1, len(events) // ROWS_A_DUPLICATE))]))
    events, received = events[numbers], received[numbers]
    columns = {
        "event_id": np.array([f"e{number:09d}" for number in numbers]),
        "user_id": pa.array(user_ids[events["user"]], pa.string(), mask=events["user"] < 0),
        "item_id": item_ids[events["item"]],
        "event_type": _EVENT_NAMES[events["type"]],
        "occurred_at": _times(events["at"]),
        "received_at": _times(received),
        "session_id": _numbered("s", events["session"]),
        "order_id": _numbered("o", events["order"]),
        "quantity": events["quantity"],
        "unit_price": events["price"],
    }
    return landing_table("events", columns, _days(received))


def _numbered(letter: str, numbers: np.ndarray) -> pa.Array:
    return pa.array([f"{letter}{number:08d}" if number >= 0 else None for number in numbers.tolist()], pa.string())


def _exposures(campaign: Campaign, user_ids: np.ndarray) -> pa.Table:
    """One row a user, delivered whole on the day its outcome is known."""
    taken = np.arange(len(campaign.user)), campaign.arm
    outcome_at = campaign.assigned_at + OUTCOME_DAYS * DAY
    columns = {
        "campaign_id": np.full(len(campaign.user), "spring"),
        "user_id": user_ids[campaign.user],
        "assigned_at": _times(campaign.assigned_at),
        "treatment": ARMS[campaign.arm],
        "propensity": PROPENSITY[campaign.arm],
        "cost": COST[campaign.arm],
        "visited": campaign.visited[taken] > 0,
        "converted": campaign.converted[taken] > 0,
        "spend": np.round(campaign.spend[taken], 2),
        "outcome_at": _times(outcome_at),
    }
    return landing_table("campaign_exposures", columns, _days(outcome_at))


def _truth(people: People, catalogue: Catalogue, campaign: Campaign, user_ids: np.ndarray) -> dict[str, pa.Table]:
    users = {
        "user_id": user_ids,
        "gender": GENDERS[people.gender],
        "age_band": AGE_BANDS[people.age],
        "drifts_at": _times(people.drifts_at),
        "visit_rate": people.visit_rate,
    }
    outcomes = {
        f"{name}_{arm}": values[:, number]
        for name, values in (("visited", campaign.visited), ("converted", campaign.converted), ("spend", campaign.spend))
        for number, arm in enumerate(ARMS)
    }
    assigned = {"user_id": user_ids[campaign.user], "segment": SEGMENTS[campaign.segment], "treatment": ARMS[campaign.arm]}
    return {"users": pa.table(users), "campaign": pa.table(assigned | outcomes)}
