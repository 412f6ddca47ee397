"""Marketing offers: the served uplift of each offer for a user, and a plan of who gets what within a budget."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from serving.budget import choose_offers
from serving.errors import BadRequest, UnknownUser
from serving.model_client import Prediction
from serving.model_inputs import history_inputs, user_inputs
from serving.shop_front import ShopFront, front
from training.signatures import UPLIFT

BATCH = 512
DEFAULT_MARGIN = 0.3
INTERVALS = ("visit_uplift_low", "visit_uplift_high", "spend_uplift_low", "spend_uplift_high")


@dataclass(frozen=True)
class OfferEffect:
    """What one offer would change for one user; `expected_profit` is margin x added spend less cost.

    `*_low` and `*_high` are 95 % intervals, None from a model that was trained before there were any.
    """

    offer: str
    visit_uplift: float
    conversion_uplift: float
    spend_uplift: float
    cost: float
    expected_profit: float
    visit_uplift_low: float | None = None
    visit_uplift_high: float | None = None
    spend_uplift_low: float | None = None
    spend_uplift_high: float | None = None


@dataclass(frozen=True)
class Offers:
    """Every offer for a user by falling expected profit; `best` is None where each loses money. `label` is that of the model's version."""

    user_id: str
    as_of: datetime
    features_at: datetime | None
    model_version: int
    effects: tuple[OfferEffect, ...]
    best: str | None
    label: str | None = None


@dataclass(frozen=True)
class CampaignRequest:
    """What a marketer asks for: `budget` and `costs` in the shop's currency, `margin` as a share of spend.

    `costs` overrides what past campaigns say an offer costs; the share `holdout` of the audience gets nothing, to measure by.
    """

    name: str
    budget: float
    margin: float = DEFAULT_MARGIN
    holdout: float = 0.1
    costs: dict[str, float] | None = None

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name) or self.name.startswith("."):
            raise BadRequest(f"A campaign's `name` must be letters, digits, '-', '_' or '.'. Received {self.name!r}.")
        if not self.budget >= 0:
            raise BadRequest(f"`budget` must be zero or more. Received {self.budget}.")
        if not 0 < self.margin <= 1:
            raise BadRequest(f"`margin` must be above 0 and at most 1. Received {self.margin}.")
        if not 0 <= self.holdout < 1:
            raise BadRequest(f"`holdout` must be from 0 to below 1. Received {self.holdout}.")


@dataclass(frozen=True)
class Plan:
    """A campaign's plan; the rows (user, offer, effects) stand in `plan.parquet` beside `plan.json`."""

    request: CampaignRequest
    as_of: datetime
    model_version: int
    audience: int
    held_out: int
    treated: dict[str, int]
    planned_cost: float
    expected_spend: float
    expected_profit: float
    path: Path

    def as_text(self) -> str:
        who = ", ".join(f"{count} users get {offer}" for offer, count in self.treated.items()) or "nobody gets an offer"
        return (
            f"campaign {self.request.name}: of {self.audience} users {self.held_out} are held out; {who}; "
            f"cost {self.planned_cost:.2f} of {self.request.budget:.2f}, expected added spend {self.expected_spend:.2f}, "
            f"expected profit {self.expected_profit:.2f}"
        )


def offers(user_id: str, *, margin: float = DEFAULT_MARGIN, shop: ShopFront | None = None) -> Offers:
    """The effect of every offer on a known user; `UnknownUser` where the feature store has no row."""
    shop = shop or front()
    as_of = shop.clock()
    row = shop.user_row(UPLIFT.feature_service, user_id)
    if row.get("events_total") is None:
        raise UnknownUser(user_id)
    answer, names, effects = _effects(shop, [row], as_of, user_id)
    costs = _costs(shop, names, None)
    lines = [
        OfferEffect(
            offer=name,
            **{kind: float(values[0, i]) for kind, values in effects.items()},
            cost=float(costs[i]),
            expected_profit=float(margin * effects["spend_uplift"][0, i] - costs[i]),
            **{end: float(answer[end][0, i]) for end in INTERVALS if end in answer},
        )
        for i, name in enumerate(names)
    ]
    lines.sort(key=lambda line: -line.expected_profit)
    best = lines[0].offer if lines and lines[0].expected_profit > 0 else None
    return Offers(user_id, as_of, row.get("features_at"), answer.version, tuple(lines), best, answer.label)


def plan(request: CampaignRequest, *, shop: ShopFront | None = None) -> Plan:
    """Asks the uplift of every known user and spends the budget where it earns most; the same request gives the same plan."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from feature_repo.frames import rows_as_of

    shop = shop or front()
    as_of = shop.clock()
    everyone = sorted(rows_as_of("user_features", as_of)["user_id"])
    held_out = {user for user in everyone if _share(request.name, user) < request.holdout}
    audience = [user for user in everyone if user not in held_out]
    if not audience:
        raise BadRequest(
            f"A plan needs an audience. Of {len(everyone)} known users all {len(held_out)} are held out: lower `holdout`, or load users."
        )
    parts = [
        _effects(shop, shop.features.read(UPLIFT.feature_service, audience[start : start + BATCH]), as_of)
        for start in range(0, len(audience), BATCH)
    ]
    first, names, _ = parts[0]
    effects = {kind: np.concatenate([part[2][kind] for part in parts]) for kind in parts[0][2]}  # (users, offers)
    costs = _costs(shop, names, request.costs)
    profit = request.margin * effects["spend_uplift"] - costs[None, :]
    chosen = choose_offers(profit, costs, request.budget)
    treated = np.flatnonzero(chosen >= 0)
    picked = chosen[treated]
    rows = {
        "user_id": [audience[i] for i in treated],
        "offer": [names[i] for i in picked],
        **{kind: values[treated, picked].astype(float) for kind, values in effects.items()},
        "cost": costs[picked],
        "expected_profit": profit[treated, picked],
    }
    path = shop.settings.campaigns_dir / request.name
    path.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), path / "plan.parquet")
    result = Plan(
        request,
        as_of,
        first.version,
        len(everyone),
        len(held_out),
        {name: int((picked == i).sum()) for i, name in enumerate(names)},
        float(costs[picked].sum()),
        float(rows["spend_uplift"].sum()),
        float(rows["expected_profit"].sum()),
        path,
    )
    summary: dict[str, Any] = asdict(result) | {"as_of": as_of.isoformat(), "path": path.name}
    (path / "plan.json").write_text(json.dumps(summary, indent=1, sort_keys=True), encoding="utf-8")
    return result


def _effects(
    shop: ShopFront, rows: list[dict[str, Any]], as_of: datetime, user_id: str | None = None
) -> tuple[Prediction, list[str], dict[str, np.ndarray]]:
    """The model's answer, offer names and the three uplifts of shape `(users, offers)`; a shop's own covariates are asked as unknown."""
    inputs = history_inputs(rows, as_of) | user_inputs(rows)
    for name, tensor in shop.extra_inputs(UPLIFT.name, inputs).items():
        inputs[name] = np.full(len(rows), "", dtype=object) if tensor.dtype == "string" else np.full(len(rows), np.nan, dtype=np.float32)
    answer = shop.predict(UPLIFT.name, inputs, user_id=user_id)
    names = [value.decode() if isinstance(value, bytes) else str(value) for value in answer["treatments"][0]]
    return answer, names, {kind: answer[kind] for kind in ("visit_uplift", "conversion_uplift", "spend_uplift")}


def _costs(shop: ShopFront, names: list[str], given: dict[str, float] | None) -> np.ndarray:
    """Cost of each offer, shape `(offers,)`: as given, else the mean of past campaigns, else zero."""
    unknown = set(given or {}) - set(names)
    if unknown:
        raise BadRequest(f"`costs` must name offers of this shop, {names}. Received {sorted(unknown)}.")
    return np.array([(given or {}).get(name, shop.offer_costs().get(name, 0.0)) for name in names], dtype=float)


def _share(campaign: str, user_id: str) -> float:
    """A number in [0, 1) that is fixed for a campaign and user."""
    return int.from_bytes(hashlib.sha256(f"{campaign}\t{user_id}".encode()).digest()[:8], "big") / 2**64
