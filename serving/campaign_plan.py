"""Plans a campaign: the uplift of every eligible user, the budget spent where it earns most, and what that is worth, in files for people
and programs (`campaign_files.py`). The same request at the same time gives the same plan."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serving.budget import Infeasible, Prices, Problem, Solution, solve
from serving.campaign_audience import Audience, audience
from serving.campaign_files import PLAN, folder, plan_file, write_table
from serving.campaign_request import CampaignRequest
from serving.campaign_state import changing, may_become, move, read_status
from serving.campaign_terms import KINDS, Money, Terms, plain, price_in_words
from serving.errors import BadRequest
from serving.offers import effects_of
from serving.segment_members import OTHER, large_enough
from serving.shop_front import ShopFront, front
from settings import Settings
from sources.durable import replace_text
from training.signatures import UPLIFT

BATCH = 512


@dataclass(frozen=True)
class Plan:
    """A campaign's plan in totals, of those who are not held out; the rows stand in `plan.parquet` beside `plan.json`.

    `prices` are what one more unit of the budget, of each channel's budget and of each segment's quota is worth; `curve` is the objective's
    value by budget; `best_possible` is a value that no plan exceeds; `groups` count users by segment and offer, small segments
    together. What is expected of an outcome that past campaigns never told is None. Of the offers `without_cost` nobody knows what a
    contact costs.
    """

    request: CampaignRequest
    as_of: datetime
    model_version: int
    audience: int
    held_out: int
    treated: dict[str, int]
    planned_cost: float
    expected_visits: float | None
    expected_conversions: float | None
    expected_spend: float | None
    expected_profit: float | None
    value: float
    best_possible: float
    price: float
    price_in_words: str
    prices: dict[str, dict[str, float]]
    curve: tuple[tuple[float, float], ...]
    groups: tuple[dict[str, Any], ...]
    left_out: dict[str, int]
    offers: tuple[dict[str, Any], ...]
    without_cost: tuple[str, ...] = ()
    path: Path = field(default=Path())

    def as_text(self) -> str:
        who = ", ".join(f"{count} users get {offer}" for offer, count in self.treated.items()) or "nobody gets an offer"
        spend, profit = ("unknown" if total is None else f"{total:.2f}" for total in (self.expected_spend, self.expected_profit))
        return (
            f"campaign {self.request.name}: of {self.audience} users {self.held_out} are held out; {who}; "
            f"cost {self.planned_cost:.2f} of {self.request.budget:.2f}, expected added spend {spend}, "
            f"expected profit {profit}. {self.price_in_words}"
            + "".join(f" Cost of {offer} unknown, counted as 0: say it in `costs`." for offer in self.without_cost)
        )


def plan(request: CampaignRequest, *, shop: ShopFront | None = None, who: str = "house") -> Plan:
    """Plans, writes the plan and notes the campaign as planned; CampaignRefused where one of that name is approved already."""
    shop = shop or front()
    as_of, settings = shop.clock(), shop.settings
    with changing(request.name, settings):
        may_become(request.name, "planned", settings)
        people = audience(request, as_of, settings)
        version, treatments, effects = _asked(shop, people.user_ids, as_of)
        terms = Terms.of(request, treatments, shop.offer_costs())
        buys = np.where(np.isnan(people.buys_anyway), np.nan_to_num(np.nanmean([*people.buys_anyway, 0.0])), people.buys_anyway)
        money = terms.money(request, treatments, effects, buys)
        names, segment = np.unique(people.segments.astype(str), return_inverse=True)
        solution, chosen = _chosen(request, people, money, names, segment)
        plan = _summed(request, as_of, version, people, terms, money, solution, names, chosen, settings.least_segment)
        _write(plan, settings, people, terms, money, chosen)
        move(request.name, "planned", settings, who=who, why=f"budget {request.budget:g}")
    return plan


def read_plan(name: str, settings: Settings) -> Plan:
    """The plan as it was written; UnknownCampaign where there is none."""
    read_status(name, settings)
    raw = json.loads((folder(settings, name) / "plan.json").read_text(encoding="utf-8"))
    lists = {key: tuple(raw.get(key, ())) for key in ("groups", "offers", "without_cost")} | {
        "curve": tuple((x, y) for x, y in raw["curve"])
    }
    times = {"as_of": datetime.fromisoformat(raw["as_of"]), "path": folder(settings, name)}
    return Plan(**raw | lists | times | {"request": CampaignRequest.of(raw["request"])})


def _asked(shop: ShopFront, user_ids: np.ndarray, as_of: datetime) -> tuple[int, list[str], dict[str, np.ndarray]]:
    """The model's version, its offers, and its effects, `(users, offers)` by kind."""
    parts = [
        effects_of(shop, shop.features.read(UPLIFT.feature_service, list(user_ids[start : start + BATCH])), as_of)
        for start in range(0, len(user_ids), BATCH)
    ]
    first, names, _ = parts[0]
    return first.version, names, {kind: np.concatenate([part[2][kind] for part in parts]).astype(float) for kind in KINDS}


def _chosen(
    request: CampaignRequest, people: Audience, money: Money, names: np.ndarray, segment: np.ndarray
) -> tuple[Solution, np.ndarray]:
    """The solution for those who are not held out, and the arm of everybody, `(users,)`: of the others by the prices it found."""
    free, held = np.flatnonzero(~people.is_held_out), np.flatnonzero(people.is_held_out)
    sizes = np.bincount(segment[free], minlength=len(names))
    least, most = np.zeros(len(names), np.int64), sizes.copy()
    for quota in request.quotas:
        place = np.flatnonzero(names == quota.segment)
        if not len(place):
            raise BadRequest(f"A quota must be of a segment of the audience, {names.tolist()}. Received {quota.segment!r}.")
        least[place[0]], most[place[0]] = quota.bounds(int(sizes[place[0]]))
    limits = tuple(type(one)(one.name, one.uses[free], one.most) for one in money.channels)
    try:
        solution = solve(Problem(money.value[free], money.cost[free], request.budget, segment[free], least, most, limits))
    except Infeasible as no_plan:
        raise BadRequest(str(no_plan)) from None
    chosen = np.full(len(segment), -1)
    chosen[free] = solution.chosen
    chosen[held] = solution.prices.choose(
        money.value[held], money.cost[held], segment[held], tuple(one.uses[held] for one in money.channels)
    )
    return solution, chosen


def _summed(
    request: CampaignRequest, as_of: datetime, version: int, people: Audience, terms: Terms, money: Money, solution: Solution,
    names: np.ndarray, chosen: np.ndarray, least: int,
) -> Plan:  # fmt: skip
    free = ~people.is_held_out
    given = np.where(free, chosen, -1)
    added = {kind: _known(money.of(table, given).sum()) for kind, table in money.added.items()}
    arms = np.array([*terms.names, ""], object)[given]
    large, _ = large_enough(pd.Series(people.segments[free].astype(str)), least)
    told = [segment if segment in large else OTHER for segment in people.segments[free].tolist()]
    counted = Counter(zip(told, arms[free].tolist(), strict=True))
    groups = tuple({"segment": segment, "offer": offer or None, "users": count} for (segment, offer), count in sorted(counted.items()))
    prices: Prices = solution.prices
    return Plan(
        request,
        as_of,
        version,
        len(people.user_ids),
        int(people.is_held_out.sum()),
        {name: int((given == place).sum()) for place, name in enumerate(terms.names)},
        float(money.of(money.cost, given).sum()),
        added["visit_uplift"],
        added["conversion_uplift"],
        added["spend_uplift"],
        _known(money.of(money.profit, given).sum()),
        solution.value,
        solution.bound,
        prices.budget,
        price_in_words(prices.budget, request.objective),
        {
            "channels": {limit.name: price for limit, price in zip(money.channels, prices.limits, strict=True)},
            "segments": {str(name): float(price) for name, price in zip(names, prices.segments, strict=True) if price},
        },
        solution.curve,
        groups,
        people.left_out,
        tuple(plain(terms)),
        terms.without_cost,
    )


def _known(total: float) -> float | None:
    return None if np.isnan(total) else float(total)


def _write(plan: Plan, settings: Settings, people: Audience, terms: Terms, money: Money, chosen: np.ndarray) -> None:
    """The rows, then the totals; both whole."""
    name = plan.request.name
    intended = np.array([*terms.names, None], object)[chosen]
    columns = {
        "user_id": people.user_ids,
        "segment": people.segments,
        "holdout": people.is_held_out,
        "intended_offer": intended,
        "offer": np.where(people.is_held_out, None, intended),
        "propensity": people.propensity,
        **{kind: money.of(table, chosen) for kind, table in money.added.items()},
        "cost": money.of(money.cost, chosen),
        "expected_profit": money.of(money.profit, chosen),
    }
    for other in ("evaluation.json", "assignments.parquet"):
        (folder(settings, name) / other).unlink(missing_ok=True)  # of another plan
    write_table(plan_file(settings, name), columns, PLAN)
    summary = asdict(plan) | {"request": plan.request.as_dict(), "as_of": plan.as_of.isoformat(), "path": name}
    replace_text(folder(settings, name) / "plan.json", json.dumps(summary, indent=1, sort_keys=True))
