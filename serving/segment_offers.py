"""Which offer suits a segment, by the newest campaign that was planned: the one that the plan expects to earn most on its members."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from serving.campaign_files import read_table
from settings import get_settings


@dataclass(frozen=True)
class BestOffer:
    """The offer that the plan `campaign` intends for `users` of a segment, and what it expects to earn on each."""

    offer: str
    campaign: str
    users: int
    expected_profit: float


def best_offers(members: Mapping[str, np.ndarray]) -> dict[str, BestOffer]:
    """By segment; without those for whose members the newest plan intends nothing that earns."""
    plans = sorted(get_settings().campaigns_dir.glob("*/plan.parquet"), key=lambda file: (file.stat().st_mtime_ns, file.parent.name))
    if not plans:
        return {}
    newest = plans[-1]
    rows = _plan(newest, newest.stat().st_mtime_ns)
    found = {}
    for segment, users in members.items():
        intended = rows.reindex(rows.index.intersection(users)).dropna(subset="intended_offer")
        if intended.empty:
            continue
        by_offer = intended.groupby("intended_offer")["expected_profit"].agg(["count", "sum"]).sort_values("sum", kind="stable")
        if by_offer["sum"].iloc[-1] > 0:
            count, total = int(by_offer["count"].iloc[-1]), float(by_offer["sum"].iloc[-1])
            found[segment] = BestOffer(str(by_offer.index[-1]), newest.parent.name, count, total / count)
    return found


@lru_cache(maxsize=2)
def _plan(file: Path, _written: int) -> pd.DataFrame:
    return read_table(file).select(["user_id", "intended_offer", "expected_profit"]).to_pandas().set_index("user_id")
