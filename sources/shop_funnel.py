"""What follows from looking: favourites, carts, orders, and later returns, ratings and orders of the same again."""

import numpy as np

from sources.shop_calendar import DAY, SECOND
from sources.shop_catalogue import CONSUMABLE_TOPS, Catalogue
from sources.shop_people import People
from sources.shop_visits import CHUNK, appeal, browse, odds

VIEW, FAVOURITE, CART, PURCHASE, RETURN, RATE = range(6)
SHARE_REORDERED, SHARE_RATED = 0.35, 0.25  # of purchases
REORDERED_AFTER, RETURNED_AFTER, RATED_AFTER = (15, 35), (3, 20), (4, 15)  # days
EVENT = np.dtype(
    [
        ("at", "i8"),  # microseconds since 1970 UTC
        ("user", "i4"),  # place in the block; the one behind a guest's events, too
        ("item", "i4"),
        ("session", "i4"),  # -1: outside a visit
        ("order", "i4"),  # -1: none
        ("cents", "i4"),  # price paid a piece; 0: not told
        ("quantity", "i2"),  # 0: not told
        ("type", "i1"),
        ("rating", "i1"),  # 0: none
        ("guest", "?"),
    ],
    align=True,
)


def cart_chance(liking: np.ndarray, buying: np.ndarray, eager: float = 0.0) -> np.ndarray:
    """How likely an item looked at is to be put into the cart."""
    return odds(-2.1 + 0.7 * liking + buying + eager)


def pay_chance(buying: np.ndarray, eager: float = 0.0) -> np.ndarray:
    """How likely a cart is to be paid."""
    return odds(-0.3 + buying + eager)


def return_chance(top: np.ndarray, impulse: np.ndarray, suits: np.ndarray) -> np.ndarray:
    """How likely a purchase of the top category `top` is to be sent back."""
    return odds(-3.2 + 0.9 * (top < 2) + 0.5 * impulse - 0.3 * suits)


def simulate_visits(
    rng: np.random.Generator, visits: np.ndarray, catalogue: Catalogue, people: People, start: int, end: int, eager: float = 0.0
) -> np.ndarray:
    """Events (dtype `EVENT`) of `visits`, by visit; `eager` is added to the log odds of the cart and of paying."""
    chunks = np.array_split(visits, max(1, -(-len(visits) // CHUNK)))
    return np.concatenate(
        [_funnel(rng, chunk, browse(rng, chunk, catalogue, people, start, end), catalogue, people, eager) for chunk in chunks]
    )


def _funnel(
    rng: np.random.Generator, visits: np.ndarray, seen: np.ndarray, catalogue: Catalogue, people: People, eager: float
) -> np.ndarray:
    """Views of `seen`, and what follows from them: an item liked goes to the favourites or the cart; a cart is paid whole, or not."""
    visit, step = np.nonzero(seen >= 0)
    views = np.zeros(len(visit), EVENT)
    views["user"], views["session"], views["guest"] = visits["user"][visit], visits["session"][visit], visits["guest"][visit]
    views["item"], views["order"] = seen[visit, step], -1
    gaps = np.exp(np.float32(np.log(40)) + np.float32(0.8) * rng.standard_normal(seen.shape, np.float32)) * np.float32(SECOND)
    views["at"] = visits["at"][visit] + np.cumsum(gaps, axis=1)[visit, step].astype(np.int64)

    user = views["user"].astype(np.int64)
    liking = appeal(views["item"], user, catalogue, people)
    favourites = views[rng.random(len(views), np.float32) < odds(-3.2 + 0.6 * liking)]
    carted = rng.random(len(views), np.float32) < cart_chance(liking, people.buying[user], eager)
    carts = views[carted]
    carts["type"], favourites["type"] = CART, FAVOURITE
    carts["at"] += 5 * SECOND
    favourites["at"] += 3 * SECOND

    pays = rng.random(len(visits)) < pay_chance(people.buying[visits["user"]], eager)
    bought = pays[visit[carted]]
    purchases = carts[bought]
    end = np.zeros(len(visits), np.int64)
    end[visit] = views["at"]  # the last one of a visit stays
    purchases["type"], purchases["order"] = PURCHASE, purchases["session"]
    purchases["at"] = end[visit[carted][bought]] + 60 * SECOND
    purchases["quantity"] = np.minimum(rng.geometric(0.8, len(purchases)), 6)
    reduced = np.where(rng.random(len(purchases)) < 0.15, 0.85, 1.0)
    purchases["cents"] = np.rint(catalogue.cents[purchases["item"]] * reduced)
    _, once = np.unique(purchases["order"].astype(np.int64) << 32 | purchases["item"], return_index=True)
    return np.concatenate([views, favourites, carts, purchases[np.sort(once)]])


def straight_orders(
    user: np.ndarray, at: np.ndarray, item: np.ndarray, cents: np.ndarray, quantity: np.ndarray, first_session: int
) -> np.ndarray:
    """Visits for one thing only, one a row: a view at `at`, a cart 20 s and a purchase 80 s later."""
    events = np.zeros((len(user), 3), EVENT)
    events["user"], events["item"], events["session"] = user[:, None], item[:, None], first_session + np.arange(len(user))[:, None]
    events["at"] = at[:, None] + np.array([0, 20, 80]) * SECOND
    events["type"], events["order"] = np.array([VIEW, CART, PURCHASE]), -1
    for name, values in (("order", events["session"][:, 0]), ("cents", cents), ("quantity", quantity)):
        events[name][:, 2] = values
    return events.ravel()


def reorders(rng: np.random.Generator, events: np.ndarray, catalogue: Catalogue, end: int) -> np.ndarray:
    """Consumables bought again: one purchase in three of them, 15 to 35 days later."""
    bought = events[(events["type"] == PURCHASE) & ~events["guest"]]
    bought = bought[(rng.random(len(bought)) < SHARE_REORDERED) & np.isin(catalogue.top[bought["item"]], CONSUMABLE_TOPS)]
    at = bought["at"] + rng.integers(REORDERED_AFTER[0] * DAY, REORDERED_AFTER[1] * DAY, len(bought))
    again, at = bought[at < end], at[at < end]
    return straight_orders(again["user"], at, again["item"], again["cents"], again["quantity"], next_session(events))


def aftermath(rng: np.random.Generator, events: np.ndarray, catalogue: Catalogue, people: People, end: int) -> np.ndarray:
    """Returns (3 to 20 days later; more of clothes, of what suits badly, and from the impulsive) and ratings (4 to 15 days later).

    A rating, 1 to 5, says how well the item suited the customer.
    """
    bought = events[events["type"] == PURCHASE]
    user = bought["user"].astype(np.int64)
    suits = appeal(bought["item"], user, catalogue, people)
    chance = return_chance(catalogue.top[bought["item"]], people.impulse[user], suits)
    returns = bought[rng.random(len(bought)) < chance]
    returns["type"] = RETURN
    returns["at"] += rng.integers(RETURNED_AFTER[0] * DAY, RETURNED_AFTER[1] * DAY, len(returns))

    rates = (rng.random(len(bought)) < SHARE_RATED) & ~bought["guest"]
    ratings = bought[rates]
    ratings["type"], ratings["cents"], ratings["quantity"] = RATE, 0, 0
    ratings["at"] += rng.integers(RATED_AFTER[0] * DAY, RATED_AFTER[1] * DAY, len(ratings))
    ratings["rating"] = np.clip(np.rint(3.2 + 0.8 * suits[rates] + rng.normal(0, 0.6, len(ratings))), 1, 5)
    later = np.concatenate([returns, ratings])
    later["session"] = -1
    return later[later["at"] < end]


def next_session(events: np.ndarray) -> int:
    """The first number that no visit of `events` has."""
    return int(events["session"].max(initial=-1)) + 1
