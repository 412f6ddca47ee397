"""Visits to the simulated shop: when people come, what they look at next, and what follows (favourite, cart, purchase, return, reorder)."""

import numpy as np

from sources.shop_catalogue import CONSUMABLE_TOPS, LEAVES_A_MIDDLE, PATHS, Catalogue
from sources.shop_people import DAY, People

VIEW, FAVOURITE, CART, PURCHASE, RETURN = range(5)
EVENT = np.dtype(
    [
        ("user", "i8"),  # -1 is a guest
        ("item", "i8"),
        ("type", "i1"),
        ("at", "i8"),  # microseconds since 1970 UTC
        ("session", "i8"),  # -1: outside a visit
        ("order", "i8"),  # -1: none
        ("quantity", "f8"),
        ("price", "f8"),
    ]
)
VISIT = np.dtype([("user", "i8"), ("guest", "?"), ("at", "i8"), ("session", "i8")])

EVENTS_A_VISIT = 6.0  # measured mean, by which visits are counted out
MAX_VIEWS = 14
_SECOND = 1_000_000
_HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 10, 11, 10, 9, 9, 9, 10, 12, 14, 15, 14, 10, 5], float)
_WEEKDAYS = np.array([0.9, 0.85, 0.9, 0.95, 1.0, 1.3, 1.35])  # Monday first
_CHUNK = 50_000  # visits simulated at once: bounds memory


def plan_visits(rng: np.random.Generator, people: People, start: int, end: int, events: int) -> np.ndarray:
    """Visits (dtype `VISIT`) by user and time, for about `events` events; day and hour follow a weekly and a daily rhythm."""
    begins = np.maximum(people.registered_at, start)
    weight = people.visit_rate * (people.left_at - begins)
    counts = rng.poisson(weight / weight.sum() * events / EVENTS_A_VISIT)
    user = np.repeat(np.arange(len(counts)), counts)

    hours = np.arange((end - start) // (DAY // 24))
    weekday = (start // DAY + 3 + hours // 24) % 7  # 1 January 1970 was a Thursday
    busy = np.concatenate([[0.0], np.cumsum(_WEEKDAYS[weekday] * _HOURS[hours % 24])])
    edges = start + np.arange(len(busy)) * (DAY // 24)
    low, high = np.interp(begins[user], edges, busy), np.interp(people.left_at[user], edges, busy)
    at = np.interp(low + rng.random(len(user)) * (high - low), busy, edges).astype(np.int64)
    return make_visits(user, at, rng.random(len(user)) < 0.07, 0)


def make_visits(user: np.ndarray, at: np.ndarray, guest: np.ndarray, first_session: int) -> np.ndarray:
    """Visits in order of user and time, numbered from `first_session`."""
    visits = np.zeros(len(user), VISIT)
    order = np.lexsort((at, user))
    visits["user"], visits["at"], visits["guest"] = user[order], at[order], guest[order]
    visits["session"] = first_session + np.arange(len(user))
    return visits


def simulate_visits(rng: np.random.Generator, visits: np.ndarray, catalogue: Catalogue, people: People, eager: float = 0.0) -> np.ndarray:
    """Events (dtype `EVENT`) of `visits`; `eager` is added to the log odds of the cart and of paying."""
    chunks = np.array_split(visits, max(1, -(-len(visits) // _CHUNK)))
    return np.concatenate([_funnel(rng, chunk, _browse(rng, chunk, catalogue, people), catalogue, people, eager) for chunk in chunks])


def _browse(rng: np.random.Generator, visits: np.ndarray, catalogue: Catalogue, people: People) -> np.ndarray:
    """Items looked at, shape `(visits, MAX_VIEWS + 1)`, -1 where none; one visit in three resumes at the last item of the one before."""
    user, at = visits["user"], visits["at"]
    drifted = rng.random(len(visits)) < np.clip((at - people.drifts_at[user]) / (20 * DAY), 0, 1)
    length = np.minimum(rng.geometric(0.22, len(visits)), MAX_VIEWS)
    seen = np.full((len(visits), MAX_VIEWS + 1), -1)
    for step in range(MAX_VIEWS):
        on = np.flatnonzero(length > step)
        if step == 0:
            leaf = _wanted_leaf(rng, people, user, drifted)
        else:
            before = seen[on, step]
            following = catalogue.next_items[before, rng.choice(3, len(on), p=[0.6, 0.25, 0.15])]
            moves = rng.random(len(on))
            follows = (moves < 0.55) & (catalogue.listed_at[following] <= at[on])
            leaf = catalogue.leaf[before]
            beside = leaf // LEAVES_A_MIDDLE * LEAVES_A_MIDDLE + rng.integers(LEAVES_A_MIDDLE, size=len(on))
            leaf = np.where(moves > 0.92, _wanted_leaf(rng, people, user[on], drifted[on]), np.where(moves > 0.80, beside, leaf))
        picked = _pick(rng, leaf, user[on], at[on], catalogue, people)
        seen[on, step + 1] = np.where(follows, following, picked) if step else picked

    last = seen[np.arange(len(visits)), length]
    resumes = (rng.random(len(visits)) < 0.33) & ~visits["guest"]
    resumes[1:] &= (user[1:] == user[:-1]) & ~visits["guest"][:-1]
    resumes[:1] = False
    seen[resumes, 0] = np.roll(last, 1)[resumes]
    return seen


def _wanted_leaf(rng: np.random.Generator, people: People, user: np.ndarray, drifted: np.ndarray) -> np.ndarray:
    taste = people.taste[drifted.astype(int), user]  # (visits, leaves)
    return np.argmax(taste + rng.gumbel(size=(len(user), len(PATHS))).astype(np.float32), axis=1)


def _appeal(item: np.ndarray, user: np.ndarray, catalogue: Catalogue, people: People) -> np.ndarray:
    miss = catalogue.price_level[item] - people.price_taste[user]
    return people.brand_taste[user, catalogue.brand[item]] - 1.5 * miss**2


def _pick(rng: np.random.Generator, leaf: np.ndarray, user: np.ndarray, at: np.ndarray, catalogue: Catalogue, people: People) -> np.ndarray:
    """One listed item of each leaf, by popularity and the user's taste."""
    offered = catalogue.in_leaf[leaf]  # (visits, widest leaf)
    score = catalogue.log_popularity[offered] + _appeal(offered, user[:, None], catalogue, people) + rng.gumbel(size=offered.shape)
    score[(offered < 0) | (catalogue.listed_at[offered] > at[:, None])] = -np.inf
    return offered[np.arange(len(leaf)), np.argmax(score, axis=1)]


def _funnel(
    rng: np.random.Generator, visits: np.ndarray, seen: np.ndarray, catalogue: Catalogue, people: People, eager: float
) -> np.ndarray:
    """Views of `seen`, and what follows from them: an item liked goes to the favourites or the cart; a cart is paid whole, or not."""
    visit, step = np.nonzero(seen >= 0)
    views = _events(visits, visit, seen[visit, step], VIEW)
    gaps = rng.lognormal(np.log(40), 0.8, seen.shape) * _SECOND
    views["at"] += np.cumsum(gaps, axis=1)[visit, step].astype(np.int64)

    user = visits["user"][visit]
    liking = _appeal(views["item"], user, catalogue, people)
    favourites = views[rng.random(len(views)) < _odds(-3.2 + 0.6 * liking)]
    carted = rng.random(len(views)) < _odds(-2.1 + 0.7 * liking + people.buying[user] + eager)
    carts = views[carted]
    carts["type"], favourites["type"] = CART, FAVOURITE
    carts["at"] += 5 * _SECOND
    favourites["at"] += 3 * _SECOND

    pays = rng.random(len(visits)) < _odds(-0.3 + people.buying[visits["user"]] + eager)
    bought = pays[visit[carted]]
    purchases = carts[bought]
    end = np.zeros(len(visits), np.int64)
    np.maximum.at(end, visit, views["at"])
    purchases["type"], purchases["order"] = PURCHASE, purchases["session"]
    purchases["at"] = end[visit[carted][bought]] + 60 * _SECOND
    purchases["quantity"] = np.minimum(rng.geometric(0.8, len(purchases)), 6)
    reduced = np.where(rng.random(len(purchases)) < 0.15, 0.85, 1.0)
    purchases["price"] = np.round(catalogue.price[purchases["item"]] * reduced, 2)
    _, once = np.unique(np.stack([purchases["order"], purchases["item"]]), axis=1, return_index=True)
    return np.concatenate([views, favourites, carts, purchases[np.sort(once)]])


def _events(visits: np.ndarray, visit: np.ndarray, item: np.ndarray, kind: int) -> np.ndarray:
    events = np.zeros(len(visit), EVENT)
    events["user"] = np.where(visits["guest"], -1, visits["user"])[visit]
    events["at"], events["session"] = visits["at"][visit], visits["session"][visit]
    events["item"], events["type"], events["order"], events["quantity"], events["price"] = item, kind, -1, np.nan, np.nan
    return events


def _odds(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds))


def aftermath(rng: np.random.Generator, events: np.ndarray, catalogue: Catalogue) -> np.ndarray:
    """Returns of one purchase in twenty (one in ten of clothes), 3 to 20 days later, and reorders of consumables, 15 to 35 days later."""
    bought = events[events["type"] == PURCHASE]
    top = catalogue.top[bought["item"]]
    returns = bought[rng.random(len(bought)) < np.where(top < 2, 0.10, 0.05)]
    returns["type"], returns["session"] = RETURN, -1
    returns["at"] += rng.integers(3 * DAY, 20 * DAY, len(returns))

    again = bought[(rng.random(len(bought)) < 0.35) & np.isin(top, CONSUMABLE_TOPS) & (bought["user"] >= 0)]
    again["at"] += rng.integers(15 * DAY, 35 * DAY, len(again))
    again["session"] = again["order"] = events["session"].max(initial=0) + 1 + np.arange(len(again))
    steps = []
    for kind, seconds in ((VIEW, 0), (CART, 20), (PURCHASE, 80)):
        part = again.copy()
        part["type"] = kind
        part["at"] += seconds * _SECOND
        if kind != PURCHASE:
            part["order"], part["quantity"], part["price"] = -1, np.nan, np.nan
        steps.append(part)
    return np.concatenate([returns, *steps])
