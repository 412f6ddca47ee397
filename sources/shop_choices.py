"""How likely each item is to be a customer's next new one: the chances behind `shop_visits.browse`, computed instead of drawn."""

import numpy as np
from scipy.sparse import csr_matrix

from sources.shop_catalogue import LEAVES_A_MIDDLE, PATHS, Catalogue
from sources.shop_people import People
from sources.shop_visits import AROUND, BESIDE, CANDIDATES, ENDS, FOLLOWS, RESUMES, STAYS, appeal

_LOG_TIMES = np.arange(-8.0, 10.5, 0.5, dtype=np.float32)  # where the race between candidates is looked at
_REST = 1e-3  # share of the next new item that is left unfollowed
_MAX_STEPS = 200


def wanted_chances(people: People, user: np.ndarray, at: np.ndarray, start: int, end: int) -> np.ndarray:
    """How likely each narrow category is to be wanted by `user` at `at`, `(rows, leaves)`."""
    share = people.turned(user, at, start, end)[:, None]
    first, last = np.diff(people.leaf_chances[:, user].astype(float), axis=2, prepend=0)
    return (first * (1 - share) + last * share).astype(np.float32)


def pick_chances(catalogue: Catalogue, people: People, user: np.ndarray, at: np.ndarray) -> np.ndarray:
    """How likely each item is to be taken where its category is wanted, `(rows, items)`; the items of a category sum to 1.

    `shop_visits` draws CANDIDATES from the category's lottery and takes the one with the best appeal plus Gumbel noise: a race of
    exponential clocks with rates `r = exp(appeal)`. With lottery shares `s` and `L(t) = sum s exp(-r t)`, item `i` wins with chance
    `n s_i integral r_i exp(-r_i t) L(t)^(n - 1) dt`, `n` = CANDIDATES. Candidates not yet listed never finish; if all are, the category's
    first item is taken.
    """
    share, members = _lottery_shares(catalogue), _members(catalogue)
    is_listed = catalogue.listed_at[None] <= at[:, None]
    rate = np.exp(appeal(np.arange(len(share))[None], user[:, None], catalogue, people)).astype(np.float32)
    offered = share * is_listed  # (rows, items)
    missing = 1 - offered @ members  # (rows, leaves)
    chances = np.zeros_like(rate)
    for log_time in _LOG_TIMES:
        running = np.exp(-rate * np.exp(log_time))
        others = ((offered * running) @ members + missing) ** (CANDIDATES - 1)
        chances += rate * running * others[:, catalogue.leaf] * np.exp(log_time)
    chances *= CANDIDATES * offered * (_LOG_TIMES[1] - _LOG_TIMES[0])
    chances[:, catalogue.first_item] += np.maximum(missing, 0) ** CANDIDATES
    return chances / (chances @ members)[:, catalogue.leaf]


def step_chances(catalogue: Catalogue, picks: np.ndarray, wanted: np.ndarray, is_listed: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Where a visit that goes on is after its next step, `(rows, items)`, from where it is, `here` `(rows, items)`."""
    members = _members(catalogue)
    by_leaf = here @ members
    around = FOLLOWS * np.ascontiguousarray((_ring(catalogue) @ here.T).T) * is_listed
    turned = FOLLOWS * by_leaf - around @ members  # the ring's item is not listed: another one of its category
    beside = np.repeat(by_leaf.reshape(len(here), -1, LEAVES_A_MIDDLE).mean(axis=2), LEAVES_A_MIDDLE, axis=1)
    freed = by_leaf.sum(axis=1, keepdims=True) * wanted
    fresh = turned + (BESIDE - FOLLOWS) * beside + (STAYS - BESIDE) * by_leaf + (1 - STAYS) * freed
    return around + fresh[:, catalogue.leaf] * picks


def next_new_chances(
    catalogue: Catalogue, people: People, user: np.ndarray, at: np.ndarray, is_seen: np.ndarray, start: int, end: int
) -> np.ndarray:
    """How likely each item is to be the next that `user` has not seen, asked at `at` between two visits, `(rows, items)`.

    Visits are followed step by step and one after the other until a new item comes; tastes stand still meanwhile, and the longest visit
    has no end of its own. `is_seen` is `(rows, items)`.
    """
    picks, wanted = pick_chances(catalogue, people, user, at), wanted_chances(people, user, at, start, end)
    is_listed = catalogue.listed_at[None] <= at[:, None]
    first = wanted[:, catalogue.leaf] * picks
    found = (1 - RESUMES) * first * ~is_seen
    here = (1 - RESUMES) * first * is_seen + RESUMES * first  # who resumes is shown the last item again, and goes on from a hidden one
    for _ in range(_MAX_STEPS):
        left = here.sum(axis=1, keepdims=True)
        if left.mean() < _REST:
            break
        shown = (1 - ENDS) * step_chances(catalogue, picks, wanted, is_listed, here) + ENDS * left * (1 - RESUMES) * first
        found += shown * ~is_seen
        here = shown * is_seen + ENDS * left * RESUMES * first
    return found


def _lottery_shares(catalogue: Catalogue) -> np.ndarray:
    """The share of its category's lottery that each item has, `(items,)`."""
    slots = catalogue.lottery.shape[1]
    return (np.bincount(catalogue.lottery.ravel(), minlength=len(catalogue.leaf)) / slots).astype(np.float32)


def _ring(catalogue: Catalogue) -> csr_matrix:
    """How likely who walks on from an item (column) is to come to another (row), `(items, items)`."""
    items = len(catalogue.leaf)
    chances = np.tile(np.array(AROUND, np.float32), items)
    return csr_matrix((chances, (catalogue.next_items.ravel(), np.repeat(np.arange(items), len(AROUND)))), shape=(items, items))


def _members(catalogue: Catalogue) -> np.ndarray:
    """1 where an item belongs to a category, `(items, leaves)`."""
    return (catalogue.leaf[:, None] == np.arange(len(PATHS))[None]).astype(np.float32)
