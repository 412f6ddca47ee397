"""Visits to the simulated shop: when people come, and what they look at.

Inside a visit people walk along their category's ring of items, step aside to a neighbouring category, or turn to what they like. An item
of a category is chosen in two steps, so that the cost does not grow with the catalogue: a few are drawn by popularity, and of these the
customer takes one by how well it suits (sampling-importance resampling, Rubin 1987).
"""

import numpy as np

from sources.shop_calendar import DAY, HOUR, busy_hours
from sources.shop_catalogue import LEAVES_A_MIDDLE, Catalogue
from sources.shop_people import People

VISIT = np.dtype([("at", "i8"), ("user", "i4"), ("session", "i4"), ("guest", "?")], align=True)
EVENTS_A_VISIT = 5.74  # measured mean over all that follows from a visit, by which visits are counted out
MAX_VIEWS = 14
CANDIDATES = 5
TINY = np.float32(1e-30)  # an exponential in single precision may be 0
SHARE_GUEST = 0.07
CHUNK = 20_000  # visits simulated at once: their arrays stay in the processor's cache
FOLLOWS, BESIDE, STAYS = 0.55, 0.67, 0.92  # edges of what the next step is; the rest turns to what the customer likes
AROUND = (0.6, 0.25, 0.15)  # which of the ring's next three items is walked to
ENDS = 0.22  # chance that a visit ends with the item looked at
RESUMES = 0.33


def plan_visits(rng: np.random.Generator, people: People, start: int, end: int, events: float) -> np.ndarray:
    """Visits (dtype `VISIT`) by user and time, for about `events` events; they follow the calendar, and impulsive people come by night."""
    begins = np.maximum(people.registered_at, start)
    counts = rng.poisson(expected_visits(people, start, events))
    user = np.repeat(np.arange(len(counts)), counts)
    edges, busy = busy_hours(start, end)
    low, high = np.interp(begins[user], edges, busy), np.interp(people.left_at[user], edges, busy)
    at = np.interp(low + rng.random(len(user)) * (high - low), busy, edges).astype(np.int64)
    by_night = at // DAY * DAY + rng.integers(0, 5 * HOUR, len(user))
    is_late = rng.random(len(user)) < odds(-3.2 + 1.2 * people.impulse[user])
    at = np.where(is_late & (by_night >= begins[user]), by_night, at)
    return make_visits(user, at, rng.random(len(user)) < SHARE_GUEST, 0)


def expected_visits(people: People, start: int, events: float) -> np.ndarray:
    """Visits of each customer in the whole window, `(users,)`, for about `events` events of all of them."""
    weight = people.visit_rate * (people.left_at - np.maximum(people.registered_at, start))
    return weight / weight.sum() * events / EVENTS_A_VISIT


def make_visits(user: np.ndarray, at: np.ndarray, guest: np.ndarray, first_session: int) -> np.ndarray:
    """Visits in order of user and time, numbered from `first_session`."""
    visits = np.zeros(len(user), VISIT)
    order = np.lexsort((at, user))
    visits["user"], visits["at"], visits["guest"] = user[order], at[order], guest[order]
    visits["session"] = first_session + np.arange(len(user))
    return visits


def browse(rng: np.random.Generator, visits: np.ndarray, catalogue: Catalogue, people: People, start: int, end: int) -> np.ndarray:
    """Items looked at, shape `(visits, MAX_VIEWS)`, -1 where none; one visit in three resumes at the last item of the one before."""
    user, at = visits["user"].astype(np.int64), visits["at"].astype(np.int64)
    length = np.minimum(rng.geometric(ENDS, len(visits)), MAX_VIEWS)
    seen = np.full((len(visits), MAX_VIEWS), -1, np.int32)
    seen[:, 0] = _pick(rng, _wanted_leaf(rng, people, user, at, start, end), user, at, catalogue, people)
    for step in range(1, MAX_VIEWS):
        on = np.flatnonzero(length > step)
        before = seen[on, step - 1]
        moves = rng.random(len(on), np.float32)
        place = np.searchsorted(np.cumsum(AROUND[:2]).astype(np.float32), rng.random(len(on), np.float32))
        item = catalogue.next_items[before, place]
        turns = np.flatnonzero((moves >= FOLLOWS) | (catalogue.listed_at[item] > at[on]))
        if len(turns):
            who, when, leaf = user[on[turns]], at[on[turns]], catalogue.leaf[before[turns]]
            beside = leaf // LEAVES_A_MIDDLE * LEAVES_A_MIDDLE + rng.integers(LEAVES_A_MIDDLE, size=len(turns))
            leaf = np.where((moves[turns] >= FOLLOWS) & (moves[turns] < BESIDE), beside, leaf)
            freed = np.flatnonzero(moves[turns] >= STAYS)
            leaf[freed] = _wanted_leaf(rng, people, who[freed], when[freed], start, end)
            item[turns] = _pick(rng, leaf, who, when, catalogue, people)
        seen[on, step] = item

    last = seen[np.arange(len(visits)), length - 1]
    resumes = (rng.random(len(visits)) < RESUMES) & ~visits["guest"]
    resumes[1:] &= (user[1:] == user[:-1]) & ~visits["guest"][:-1]
    resumes[:1] = False
    seen[resumes, 0] = np.roll(last, 1)[resumes]
    return seen


def _wanted_leaf(rng: np.random.Generator, people: People, user: np.ndarray, at: np.ndarray, start: int, end: int) -> np.ndarray:
    is_turned = rng.random(len(user)) < people.turned(user, at, start, end)
    chances = people.leaf_chances[is_turned.astype(int), user]  # (visits, leaves)
    return (chances[:, :-1] <= rng.random((len(user), 1), np.float32)).sum(axis=1)


def appeal(item: np.ndarray, user: np.ndarray, catalogue: Catalogue, people: People) -> np.ndarray:
    """How well items suit customers, by brand, style and price; zero is the middle, the shape is that of `item` and `user` together."""
    miss = catalogue.price_level[item] - people.price_taste[user]
    return people.brand_taste[user, catalogue.brand[item]] + people.style_taste[user, catalogue.style[item]] - 1.5 * miss * miss


def _pick(rng: np.random.Generator, leaf: np.ndarray, user: np.ndarray, at: np.ndarray, catalogue: Catalogue, people: People) -> np.ndarray:
    """One listed item of each leaf, by popularity and then by the customer's taste."""
    slot = (rng.random((len(leaf), CANDIDATES), np.float32) * catalogue.lottery.shape[1]).astype(np.int64)
    offered = catalogue.lottery[leaf[:, None], slot]  # (visits, candidates)
    score = appeal(offered, user[:, None], catalogue, people) - np.log(rng.standard_exponential(offered.shape, np.float32) + TINY)  # Gumbel
    score[catalogue.listed_at[offered] > at[:, None]] = -np.inf
    best = np.argmax(score, axis=1)
    rows = np.arange(len(leaf))
    return np.where(score[rows, best] > -np.inf, offered[rows, best], catalogue.first_item[leaf])


def odds(log_odds: np.ndarray) -> np.ndarray:
    """The probability of these log odds."""
    return 1 / (1 + np.exp(-log_odds))
