"""Recency, frequency, money: every customer's place among the buyers in fifths, and the segment that goes with it.

Each of the three is scored from 1 to 5 by the share of buyers who are no better (ties share their mean place; Hughes 1994, "Strategic
Database Marketing"): recency by the days since the last purchase (fewer is better), frequency by purchase lines ever, money by what was
spent ever less returns. Frequency and money, which go together, are averaged, halves up. Who never bought is a segment of their own.
"""

from datetime import datetime

import numpy as np
import pandas as pd

FIFTHS = 5
NO_PURCHASE = "no purchase yet"

#: Rows: recency from 5 (bought just now) to 1; columns: mean of frequency and money from 1 to 5. The field's usual names.
GRID = (
    ("new customers", "potential loyalists", "potential loyalists", "champions", "champions"),
    ("promising", "potential loyalists", "loyal customers", "loyal customers", "champions"),
    ("about to sleep", "need attention", "need attention", "loyal customers", "loyal customers"),
    ("hibernating", "about to sleep", "at risk", "at risk", "at risk"),
    ("lost", "hibernating", "at risk", "cannot lose them", "cannot lose them"),
)

#: Best first: where a small segment is put together with another, it is the next one.
NAMES = (
    "champions", "loyal customers", "potential loyalists", "new customers", "promising", "need attention", "about to sleep", "at risk",
    "cannot lose them", "hibernating", "lost", NO_PURCHASE,
)  # fmt: skip


def rfm(users: pd.DataFrame, at: datetime) -> pd.DataFrame:
    """`recency_days`, the scores `recency`, `frequency` and `money` (NaN without a purchase) and `segment` of each row, by its index.

    `users` has last_purchase_at, purchases_total and spend_total, as known at `at`.
    """
    is_buyer = users["last_purchase_at"].notna() & (users["purchases_total"] > 0)
    recency_days = (pd.Timestamp(at) - users["last_purchase_at"]) / pd.Timedelta(days=1)
    scores = pd.DataFrame(
        {
            "recency": _fifth(-recency_days.where(is_buyer)),
            "frequency": _fifth(users["purchases_total"].where(is_buyer)),
            "money": _fifth(users["spend_total"].where(is_buyer)),
        }
    )
    found = pd.DataFrame({"recency_days": recency_days, **scores, "segment": NO_PURCHASE}, index=users.index)
    worth = np.floor((scores["frequency"] + scores["money"] + 1) / 2)
    rows, columns = (FIFTHS - scores["recency"][is_buyer]).astype(int), (worth[is_buyer] - 1).astype(int)
    found.loc[is_buyer, "segment"] = np.array(GRID, object)[rows, columns]
    return found


def _fifth(values: pd.Series) -> pd.Series:
    """1 for the lowest fifth of the known values to 5 for the highest."""
    return np.ceil(values.rank(pct=True) * FIFTHS - 1e-9)
