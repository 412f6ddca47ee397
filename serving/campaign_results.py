"""What an approved campaign brought so far: its ledger, read from the plan and the assignments that were left in the house."""

import json
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pandas as pd

from serving.campaign_files import assignments_file, folder, read_table
from serving.campaign_state import read_status
from serving.errors import BadRequest, NoResults
from serving.roi import ALPHA, Line, Terms
from serving.roi_ledger import Snapshot, days_of, ledger
from serving.roi_outcomes import LONGEST_WINDOW
from serving.sequential import Interval
from serving.shop_front import ShopFront, front
from settings import Settings

#: Days in which what a user does counts for an offer, where the campaign has no last day.
OUTCOME_DAYS = 14
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class CampaignResults:
    """The newest snapshot up to `as_of`, and those of the days before it, oldest first.

    All intervals of an offer together leave out the truth with a probability of at most `alpha`, over all offers and days.
    """

    name: str
    as_of: datetime
    outcome_days: int
    alpha: float
    days: tuple[Snapshot, ...]

    @property
    def snapshot(self) -> Snapshot:
        return self.days[-1]

    def as_text(self) -> str:
        now = self.snapshot
        state = "over" if now.is_over else "running"
        return "\n".join([f"campaign {self.name}, as known at {now.as_of:%Y-%m-%d} ({state}):", *(_told(line) for line in now.lines)])


def results(name: str, as_of: datetime | None = None, *, shop: ShopFront | None = None) -> CampaignResults:
    """The results as known at `as_of`, the newest there are where it is None.

    Raises NoResults       where nobody was assigned, BadRequest where `as_of` lies before the first day or after the house's clock.
    """
    shop = shop or front()
    now = shop.clock()
    if not NAME.fullmatch(name) or not assignments_file(shop.settings, name).exists():
        raise NoResults(name)
    if as_of and as_of > now:
        raise BadRequest(f"`as_of` must be no later than what is loaded, {now:%Y-%m-%d}. Received {as_of:%Y-%m-%d}.")
    assigned = read_table(assignments_file(shop.settings, name)).to_pandas()
    terms = terms_of(folder(shop.settings, name), assigned)
    until = as_of or now
    windows = terms.windows(assigned["assigned_at"])
    if not days_of(windows, until):
        first = windows["first_at"].min() + timedelta(days=1)
        raise BadRequest(f"Results begin when the first day is over, {first:%Y-%m-%d}. Received {until:%Y-%m-%d}. Load that day, or wait.")
    days = ledger(folder(shop.settings, name) / "ledger", name, assigned, terms, until, _sent_at(name, shop.settings))
    return CampaignResults(name, until, int(_lengths(terms, assigned).max()), ALPHA, tuple(days))


def terms_of(path: Path, assigned: pd.DataFrame) -> Terms:
    """What the plan in this folder says of its offers. One of several together, `a+b`, costs what they cost."""
    plan = json.loads((path / "plan.json").read_text(encoding="utf-8"))
    offers = {offer["name"]: offer for offer in plan["offers"]}
    arms = {arm: [offers[part] for part in ([arm] if arm in offers else arm.split("+"))] for arm in assigned["intended_offer"].unique()}
    contact, redemption = (
        {arm: float(sum(offer[cost] for offer in parts)) for arm, parts in arms.items()} for cost in ("contact_cost", "redemption_cost")
    )
    rows = read_table(path / "plan.parquet").select(["offer", "expected_profit"]).to_pandas()
    expected = rows.dropna(subset="offer").groupby("offer")["expected_profit"].sum().to_dict()
    first, last = (_day(plan["request"].get(name)) for name in ("starts_on", "ends_on"))
    terms = Terms(float(plan["request"]["margin"]), OUTCOME_DAYS, contact, redemption, expected, first, last)
    if (shortest := _lengths(terms, assigned).min()) < 1:
        raise BadRequest(f"Results need days of the campaign after its approval. Received `ends_on` {last}, {1 - shortest} days before it.")
    if (longest := _lengths(terms, assigned).max()) > LONGEST_WINDOW:
        raise BadRequest(f"Results are counted over at most {LONGEST_WINDOW} days. Received {longest} up to `ends_on`.")
    return terms


def _lengths(terms: Terms, assigned: pd.DataFrame) -> pd.Series:
    """Days of the users' outcome windows."""
    windows = terms.windows(assigned["assigned_at"])
    return (windows["until_at"] - windows["first_at"]).dt.days


def _day(given: str | None) -> date | None:
    return date.fromisoformat(given) if given else None


def _sent_at(name: str, settings: Settings) -> datetime | None:
    """When the campaign's lists went out, as somebody noted."""
    noted = [line["sent_at"] for line in read_status(name, settings).history if "sent_at" in line]
    return datetime.fromisoformat(noted[-1]) if noted else None


def _told(line: Line) -> str:
    cost = f"cost {line.cost:,.2f}"
    sent = f"{line.sent:,} of {line.planned:,} sent against {line.holdout:,} held out"
    profit = f"profit {_range(line.profit)} (planned {line.expected_profit:,.2f})" if line.profit else (
        "too few users tell yet" if line.sent else "not known to be sent"
    )  # fmt: skip
    return f"  {line.offer}: {sent}; {cost}; {profit}; {line.action.replace('_', ' ')}"


def _range(interval: Interval) -> str:
    return f"{interval.mean:,.2f} ({interval.low:,.2f} to {interval.high:,.2f})"
