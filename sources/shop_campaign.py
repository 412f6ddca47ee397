"""One randomised campaign of the simulated shop: two offers and a control arm, with known effects that depend on observable behaviour.

An offer works through visits: it adds one to those it persuades, and takes the next 14 days' visits from those it annoys. What a campaign
report would say (visited, converted, spend) is then counted from the events.

| segment, by the 30 days before | who | what an offer does |
| --- | --- | --- |
| persuadable | filled a cart and paid nothing | adds a visit, often a purchase; the better offer depends on prices looked at |
| sure thing | paid | next to nothing |
| lost cause | did not come | next to nothing |
| sleeping dog | came at least twice and only looked | takes visits away |
| other | anyone else | adds a visit now and then |
"""

from dataclasses import dataclass

import numpy as np

from sources.shop_catalogue import Catalogue
from sources.shop_people import DAY, People
from sources.shop_visits import CART, FAVOURITE, PURCHASE, VIEW, make_visits, simulate_visits

ARMS = np.array(["control", "discount", "free_shipping"])
PROPENSITY = np.array([0.4, 0.3, 0.3])
COST = np.array([0.0, 2.0, 1.2])
SHARE_ASSIGNED = 0.8 / 0.9  # of those who agreed to offers (90 %): 80 % of all
OUTCOME_DAYS = 14
SEGMENTS = np.array(["persuadable", "sure_thing", "lost_cause", "sleeping_dog", "other"])

# probability that the offer adds a visit, by segment: (for who looks at cheap things, for who looks at dear ones)
_ADDS = {
    1: np.array([[0.65, 0.35], [0.02, 0.02], [0.01, 0.01], [0.0, 0.0], [0.10, 0.05]]),
    2: np.array([[0.25, 0.50], [0.02, 0.02], [0.01, 0.01], [0.0, 0.0], [0.05, 0.10]]),
}
_TAKES = np.array([0.0, 0.0, 0.0, 0.5, 0.0])  # probability that the offer takes the visits away, by segment


@dataclass(frozen=True)
class Campaign:
    """Who was assigned what, and the truth; arrays of shape `(assigned,)` or `(assigned, arms)`, outcomes of the arm not taken included."""

    user: np.ndarray
    arm: np.ndarray
    assigned_at: np.ndarray
    segment: np.ndarray
    visited: np.ndarray
    converted: np.ndarray
    spend: np.ndarray


def run_campaign(
    rng: np.random.Generator, events: np.ndarray, catalogue: Catalogue, people: People, agreed: np.ndarray, day: int
) -> tuple[np.ndarray, Campaign]:
    """`events` as they are after the campaign of `day` (a midnight), and the campaign."""
    eligible = np.flatnonzero(agreed & (people.registered_at < day))
    user = np.sort(rng.permutation(eligible)[: round(len(eligible) * SHARE_ASSIGNED)])
    assigned_at = day + np.int64(9 * DAY // 24) + rng.integers(0, DAY // 24, len(user))
    segment, looks_dear = _segments(events, catalogue, user, day)
    arm = rng.choice(len(ARMS), len(user), p=PROPENSITY)
    place = np.full(len(agreed), -1)
    place[user] = np.arange(len(user))

    owner = np.where(events["user"] >= 0, place[events["user"]], -1)
    inside = (owner >= 0) & (events["at"] >= assigned_at[owner]) & (events["at"] < assigned_at[owner] + OUTCOME_DAYS * DAY)
    spent = events["price"] * events["quantity"]
    takes = rng.random(len(user)) < _TAKES[segment]
    persuaded = rng.random(len(user))
    visited, converted, spend = (np.zeros((len(user), len(ARMS))) for _ in range(3))
    added: list[np.ndarray] = []
    for number in range(len(ARMS)):
        extra = events[:0]
        stays = inside if number == 0 else inside & ~takes[owner]
        if number:
            comes = np.flatnonzero(persuaded < _ADDS[number][segment, looks_dear])
            at = assigned_at[comes] + rng.integers(DAY // 12, 8 * DAY, len(comes))
            first = max(int(part["session"].max(initial=0)) for part in (events, *added)) + 1
            visits = make_visits(user[comes], at, np.zeros(len(comes), bool), first)
            extra = simulate_visits(rng, visits, catalogue, people, eager=1.2)
        for kind, outcome in ((VIEW, visited), (PURCHASE, converted)):
            outcome[owner[stays & (events["type"] == kind)], number] = 1
            outcome[place[extra["user"][extra["type"] == kind]], number] = 1
        paid = stays & (events["type"] == PURCHASE)
        np.add.at(spend[:, number], owner[paid], spent[paid])
        np.add.at(spend[:, number], place[extra["user"]], np.nan_to_num(extra["price"] * extra["quantity"]))
        added.append(extra[arm[place[extra["user"]]] == number])

    gone = inside & (takes & (arm > 0))[owner]
    gone |= np.isin(events["order"], events["order"][gone & (events["type"] == PURCHASE)])  # and what would have come back
    return np.concatenate([events[~gone], *added]), Campaign(user, arm, assigned_at, segment, visited, converted, spend)


def _segments(events: np.ndarray, catalogue: Catalogue, user: np.ndarray, day: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of the segment, and 1 where the user looks at dearer things than the middle user; both of shape `(assigned,)`."""
    recent = events[(events["at"] < day) & (events["at"] >= day - 30 * DAY) & (events["user"] >= 0)]
    size = int(max(user.max(initial=0), recent["user"].max(initial=0))) + 1
    counts = [np.bincount(recent["user"][recent["type"] == kind], minlength=size)[user] for kind in range(PURCHASE + 1)]
    views, favourites, carts, purchases = counts[VIEW], counts[FAVOURITE], counts[CART], counts[PURCHASE]
    pairs = np.unique(np.stack([recent["user"], recent["session"]]), axis=1)[0]
    sessions = np.bincount(pairs, minlength=size)[user]
    chosen = [(carts > 0) & (purchases == 0), purchases > 0, views == 0, (sessions >= 2) & (favourites == 0)]
    levels = np.bincount(recent["user"], weights=catalogue.price_level[recent["item"]], minlength=size)
    level = (levels / np.maximum(np.bincount(recent["user"], minlength=size), 1))[user]
    return np.select(chosen, [0, 1, 2, 3], 4), (level > np.median(level)).astype(int)
