"""Fraud in the simulated shop, and its machines: rings of fresh accounts, stolen accounts, buyers who deny, and bots.

| who | what shows | charged back |
| --- | --- | --- |
| ring | accounts opened within two days share devices, addresses and payment instruments, and order dear things | 9 in 10 |
| stolen account | an old customer's payment instrument, with a new device and a new address, orders dear things within hours | 9 in 10 |
| denial | nothing: an ordinary order, charged back all the same | 1 in 500 orders |

Sharing proves nothing by itself: households share an address, and some of them a device. Banks report 14 to 45 days later. Bots are
accounts that look at hundreds of things, a second or two each; only the truth says which they are.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from sources.files import landing_table
from sources.shop_calendar import DAY, SECOND, as_days, as_times
from sources.shop_catalogue import Catalogue
from sources.shop_funnel import EVENT, PURCHASE, straight_orders
from sources.shop_ids import BLOCK_NUMBERS, numbered, user_ids
from sources.shop_people import People

USERS_A_RING, USERS_A_THEFT, USERS_A_BOT = 1000, 400, 500
KINDS = np.array(["ring", "stolen", "denial"])
SHARE_REPORTED, SHARE_DENIED = 0.9, 1 / 500
# numbers of instruments: a customer's own, a guest's, a thief's, a ring's
_GUESTS, _THIEVES, _RINGS = BLOCK_NUMBERS // 2, BLOCK_NUMBERS * 8 // 10, BLOCK_NUMBERS * 9 // 10


@dataclass(frozen=True)
class Suspects:
    """Customers of a block who are not what they seem: `ring` `(users,)` is the ring's number or -1; `bots` and `victims` are places."""

    ring: np.ndarray
    bots: np.ndarray
    victims: np.ndarray

    @property
    def excluded(self) -> np.ndarray:
        """Whom no campaign may choose, `(users,)`: what an offer does to them is not part of the truth."""
        chosen = self.ring >= 0
        chosen[self.bots] = chosen[self.victims] = True
        return chosen


def choose_suspects(rng: np.random.Generator, people: People, start: int, end: int) -> tuple[People, Suspects]:
    """`people` with rings settled among them (accounts opened together, few visits), and who is what; at least one of each kind."""
    users = len(people)
    shuffled = rng.permutation(users)
    ring = np.full(users, -1)
    registered, rate = people.registered_at.copy(), people.visit_rate.copy()
    sizes = rng.integers(5, 9, max(1, users // USERS_A_RING)) if users >= 20 else np.array([2])
    opened = rng.integers(start, end - (end - start) // 3, len(sizes))
    for number, members in enumerate(np.split(shuffled[: sizes.sum()], np.cumsum(sizes)[:-1])):
        ring[members] = number
        registered[members] = opened[number] + rng.integers(0, 2 * DAY, len(members))
        rate[members] *= 0.1
    old = shuffled[sizes.sum() :]
    old = old[(registered[old] < start) & (people.left_at[old] == end)]
    thefts, bots = max(1, users // USERS_A_THEFT), max(1, users // USERS_A_BOT)
    settled = replace(people, registered_at=registered, visit_rate=rate, left_at=np.where(ring >= 0, end, people.left_at))
    return settled, Suspects(ring, bots=old[:bots], victims=old[bots : bots + thefts])


def bot_events(rng: np.random.Generator, bots: np.ndarray, catalogue: Catalogue, start: int, end: int, first_session: int) -> np.ndarray:
    """Two bursts of 80 to 200 views for each bot, over the items that were on offer at `start`."""
    user = np.repeat(bots, 2)
    length = rng.integers(80, 200, len(user))
    burst = np.repeat(np.arange(len(user)), length)
    at = rng.integers(start, end - DAY, len(user))[burst]
    steps = np.cumsum(rng.uniform(1, 2, len(burst)))
    events = np.zeros(len(burst), EVENT)
    events["user"], events["session"], events["order"] = user[burst], first_session + burst, -1
    events["at"] = at + ((steps - steps[np.searchsorted(burst, burst)]) * SECOND).astype(np.int64)
    events["item"] = rng.choice(np.flatnonzero(catalogue.listed_at <= start), len(burst))
    return events


def fraud_events(
    rng: np.random.Generator, suspects: Suspects, people: People, catalogue: Catalogue, start: int, end: int, first_session: int
) -> tuple[np.ndarray, np.ndarray]:
    """Events of rings' and thieves' orders, and the kind of fraud of each of their sessions `(sessions,)`, from `first_session`."""
    members = np.repeat(np.flatnonzero(suspects.ring >= 0), 3)
    stolen = np.repeat(suspects.victims, rng.integers(2, 5, len(suspects.victims)))
    taken_at = rng.integers(start + (end - start) // 10, end - (end - start) // 4, len(people))
    ring_at = people.registered_at[members] + rng.integers(DAY // 24, 10 * DAY, len(members))
    theft_at = taken_at[stolen] + rng.integers(0, DAY // 4, len(stolen))
    user, at = np.concatenate([members, stolen]), np.concatenate([ring_at, theft_at])
    kind = np.repeat([0, 1], [len(members), len(stolen)])
    kept = at < end - DAY
    user, at, kind = user[kept], at[kept], kind[kept]
    there = np.flatnonzero(catalogue.listed_at <= start)
    dear = there[np.argsort(-catalogue.cents[there], kind="stable")[: max(3, len(there) // 20)]]
    item = rng.choice(dear, len(user))
    return straight_orders(user, at, item, catalogue.cents[item], rng.integers(1, 4, len(user)), first_session), kind


@dataclass(frozen=True)
class Orders:
    """Orders of a block, arrays of shape `(orders,)`: `kind` is the place in KINDS or -1; `reported_at` is 0 where no bank ever reports."""

    number: np.ndarray
    user: np.ndarray
    guest: np.ndarray
    placed_at: np.ndarray
    cents: np.ndarray
    kind: np.ndarray
    ring: np.ndarray
    reported_at: np.ndarray


def make_orders(rng: np.random.Generator, events: np.ndarray, suspects: Suspects, first_fraud: int, kinds: np.ndarray) -> Orders:
    """The orders behind the purchases of `events`; sessions `first_fraud`, `first_fraud + 1`, ... are frauds of `kinds`."""
    bought = events[events["type"] == PURCHASE]
    number, first, place = np.unique(bought["order"], return_index=True, return_inverse=True)
    cents = np.bincount(place, bought["cents"].astype(float) * bought["quantity"]).astype(np.int64)
    head = bought[first]
    fraud = number.astype(np.int64) - first_fraud
    is_planned = (fraud >= 0) & (fraud < len(kinds))
    kind = np.where(rng.random(len(number)) < SHARE_DENIED, 2, -1)
    kind[is_planned] = kinds[fraud[is_planned]]
    is_reported = (kind == 2) | ((kind >= 0) & (rng.random(len(number)) < SHARE_REPORTED))
    reported_at = np.where(is_reported, head["at"] + rng.integers(14 * DAY, 45 * DAY, len(number)), 0)
    ring = np.where(kind == 0, suspects.ring[head["user"]], -1)
    return Orders(number.astype(np.int64), head["user"].astype(np.int64), head["guest"], head["at"], cents, kind, ring, reported_at)


def orders_table(rng: np.random.Generator, orders: Orders, people: People, block: int, end: int) -> pa.Table:
    """The landing table `orders`, those placed before `end`; instruments are pseudonyms, shared as this module's table says."""
    own = orders.user * 4
    household = (np.arange(len(people)) - (rng.random(len(people)) < 0.15))[orders.user].clip(0) * 4
    payment, address = own + (orders.number % 5 == 0), household
    device = np.where((household != own) & (orders.number % 3 == 0), household, own) + (orders.number % 4 == 0)
    guest = _GUESTS + orders.number * 2
    thief = _THIEVES + orders.user * 2
    ring = _RINGS + orders.ring * 8
    by_kind = [orders.kind == 0, orders.kind == 1, orders.guest]
    base = block * BLOCK_NUMBERS
    kept = orders.placed_at < end
    columns = {
        "order_id": numbered("o", base + orders.number),
        "user_id": user_ids(np.where(orders.guest, -1, people.first + orders.user)),
        "placed_at": as_times(orders.placed_at),
        "amount": orders.cents / 100,
        "payment_id": numbered("p", base + np.select(by_kind, [ring + orders.number % 3, own, guest], payment)),
        "device_id": numbered("d", base + np.select(by_kind, [ring + orders.number % 2, thief, guest], device)),
        "address_id": numbered("a", base + np.select(by_kind, [ring + orders.number % 2, thief, guest], address)),
    }
    return landing_table("orders", columns, as_days(orders.placed_at)).filter(pa.array(kept))


def chargebacks_table(orders: Orders, block: int, end: int) -> pa.Table:
    """The landing table `chargebacks`: what banks had reported before `end`."""
    reported = (orders.reported_at > 0) & (orders.reported_at < end)
    columns = {
        "order_id": numbered("o", block * BLOCK_NUMBERS + orders.number[reported]),
        "reported_at": as_times(orders.reported_at[reported]),
    }
    return landing_table("chargebacks", columns, as_days(orders.reported_at[reported]))


def fraud_truth(orders: Orders, people: People, block: int) -> pa.Table:
    """One row per fraudulent order: its kind, its ring, and when it is reported (null: never)."""
    rows = np.flatnonzero(orders.kind >= 0)
    reported = orders.reported_at[rows]
    ring = orders.ring[rows]
    return pa.table(
        {
            "order_id": numbered("o", block * BLOCK_NUMBERS + orders.number[rows]),
            "user_id": user_ids(np.where(orders.guest[rows], -1, people.first + orders.user[rows])),
            "kind": KINDS[orders.kind[rows]],
            "ring": pa.array(block * 1000 + ring, mask=ring < 0),
            "placed_at": as_times(orders.placed_at[rows]),
            "reported_at": pa.array(as_times(reported), mask=reported == 0),
        }
    )
