"""Accounts that share instruments: connected components, and bursts of accounts opened together.

One pass over the orders builds a sparse graph of accounts and instruments, of which SciPy finds the components in time linear in its edges.
An instrument that more than MOST_ACCOUNTS accounts have used (a parcel shop, a library's computer) links nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from feature_repo.order_features import KINDS, MOST_ACCOUNTS

SHARED = tuple(kind for kind in KINDS if kind != "user")
BURST = timedelta(days=3)
LEAST = 3  # accounts of a burst


@dataclass(frozen=True)
class Burst:
    """Accounts opened within BURST of one another that share instruments, by opening; `name` is that of the first account."""

    name: str
    user_ids: tuple[str, ...]
    first_opened_at: datetime
    last_opened_at: datetime


def linked(orders: pd.DataFrame) -> np.ndarray:
    """A number for each order, `(orders,)`, the same for all orders of accounts that are linked; a guest's order is an account of its own.

    `orders` has `order_id`, `user_id`, `payment_id`, `device_id` and `address_id`; what is null links nothing.
    """
    guest = "\x00" + orders["order_id"].astype(str)
    account, accounts = pd.factorize(orders["user_id"].where(orders["user_id"].notna(), guest))
    edges, shift = [], len(accounts)
    for kind in SHARED:
        code, values = pd.factorize(orders[f"{kind}_id"])
        pairs = pd.DataFrame({"account": account, "code": code})[code >= 0].drop_duplicates()
        users = pairs.groupby("code")["account"].transform("size")
        edges.append(pairs[users <= MOST_ACCOUNTS].to_numpy() + np.array([0, shift]))
        shift += len(values)
    pairs = np.concatenate([np.empty((0, 2), np.int64), *edges])
    graph = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(shift, shift))
    return connected_components(graph, directed=False)[1][account]


def bursts(orders: pd.DataFrame) -> list[Burst]:
    """Bursts of LEAST accounts or more, largest first; `orders` also has `account_opened_at`.

    Within a component, accounts sorted by opening are cut wherever the next one opened more than BURST after the first of the run: a
    household shares instruments too, but its members do not open accounts together.
    """
    known = orders.assign(part=linked(orders))
    known = known[known["user_id"].notna() & known["account_opened_at"].notna()]
    accounts = known.drop_duplicates("user_id")[["user_id", "account_opened_at", "part"]].sort_values(["account_opened_at", "user_id"])
    sizes = accounts.groupby("part")["user_id"].transform("size")
    found = []
    for _, members in accounts[sizes >= LEAST].groupby("part"):
        opened = members["account_opened_at"].to_list()
        for run in _runs(opened):
            if len(run) >= LEAST:
                users = tuple(members["user_id"].iloc[run].astype(str))
                found.append(Burst(users[0], users, opened[run[0]].to_pydatetime(), opened[run[-1]].to_pydatetime()))
    return sorted(found, key=lambda burst: (-len(burst.user_ids), burst.name))


def _runs(times: Sequence[datetime]) -> list[list[int]]:
    """Places of sorted times in runs, each no longer than BURST from its first."""
    runs: list[list[int]] = []
    for place, time in enumerate(times):
        if not runs or time - times[runs[-1][0]] > BURST:
            runs.append([])
        runs[-1].append(place)
    return runs
