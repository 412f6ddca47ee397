"""Judges a plan before it is sent, by what its rule would have done in past randomised campaigns; writes `evaluation.json` beside it.

The rule is asked about past users as it is asked about those of the plan: features as known when they were assigned, the shop's own
covariates unknown. Of campaigns that the model learned from only those users are judged by whom it never saw. Quotas are left aside.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from feature_repo.frames import read_mart, training_frame
from serving.budget import Prices
from serving.campaign_evaluation import LEAST_COVERAGE, NOTHING, Gain, Trials, Verdict, gain, verdict
from serving.campaign_files import CONTROL, folder
from serving.campaign_plan import BATCH, Plan, read_plan
from serving.campaign_request import OfferTerms
from serving.campaign_state import changing
from serving.campaign_terms import KINDS, Terms
from serving.model_inputs import to_us
from serving.offers import effects_of
from serving.shop_front import ShopFront, front
from settings import Settings
from sources.durable import replace_text
from training.held_users import part_of
from training.randomised import draws, randomised
from training.signatures import HISTORY, PROVENANCE_FILE, UPLIFT, USER_FEATURES

if TYPE_CHECKING:
    import pandas as pd

#: The share of users whom the uplift model keeps to be judged by (`training/run_uplift.py`).
UNSEEN_SHARE = 0.5
OUTCOMES = {"profit": "spend", "conversions": "is_converted", "visits": "is_visited"}


@dataclass(frozen=True)
class Evaluation:
    """The verdict on a plan, what it rests on, and what could not be used.

    `gain` is of the plan's objective, None where there is nothing to judge by; `profit` is that in money, None where too few rows tell of
    it; `coverage` the share of those whom the rule gives an offer who could be judged.
    """

    name: str
    verdict: Verdict
    reason: str
    gain: Gain | None
    campaigns: tuple[str, ...]
    not_randomised: int
    not_covered: int
    seen_by_model: int
    profit: Gain | None = None
    coverage: float = 0.0

    @property
    def may_be_sent(self) -> bool:
        return self.verdict == "blessed"


def evaluate_plan(name: str, *, shop: ShopFront | None = None) -> Evaluation:
    """The verdict on the plan of that name, on disk beside it."""
    shop = shop or front()
    plan = read_plan(name, shop.settings)
    with changing(name, shop.settings):
        found = _evaluated(plan, shop)
        replace_text(folder(shop.settings, name) / "evaluation.json", json.dumps(asdict(found), indent=1))
    return found


def read_evaluation(name: str, settings: Settings) -> Evaluation | None:
    """The verdict as it was written; None where the plan was not judged."""
    file = folder(settings, name) / "evaluation.json"
    if not file.exists():
        return None
    raw = json.loads(file.read_text(encoding="utf-8"))
    gains = {name: Gain(**raw[name]) if raw.get(name) else None for name in ("gain", "profit")}
    return Evaluation(**raw | gains | {"campaigns": tuple(raw["campaigns"])})


def _evaluated(plan: Plan, shop: ShopFront) -> Evaluation:
    name, objective = plan.request.name, plan.request.objective
    try:
        rows = _logged(plan.as_of, OUTCOMES[objective], shop.settings)
    except FileNotFoundError:
        return _unknown(name)
    is_random = rows["propensity"].notna()
    is_unseen = _unseen(rows, plan.model_version, shop.settings)
    kept = rows[is_random & is_unseen].reset_index(drop=True)
    counts = {"not_randomised": int((~is_random).sum()), "seen_by_model": int((is_random & ~is_unseen).sum())}
    if kept.empty:
        return _unknown(name, **counts)
    trials, earned, is_covered = _trials(plan, shop, kept)
    is_wanted, has_spend = trials.wanted != NOTHING, is_covered & np.isfinite(earned)
    coverage = float(is_covered[is_wanted].mean()) if is_wanted.any() else 1.0
    found = gain(trials[is_covered]) if is_covered.any() else None
    profit = found if objective == "profit" else None
    if objective != "profit" and has_spend.sum() >= max(1.0, LEAST_COVERAGE * is_covered.sum()):
        profit = gain(replace(trials, reward=earned)[has_spend])
    judged, reason = verdict(found, profit, objective=objective, coverage=coverage)
    campaigns = tuple(sorted(set(kept.loc[is_covered, "campaign_id"])))
    uncovered = int((~is_covered).sum())
    return Evaluation(name, judged, reason, found, campaigns, not_covered=uncovered, profit=profit, coverage=coverage, **counts)


def _unknown(name: str, not_randomised: int = 0, seen_by_model: int = 0) -> Evaluation:
    """Where nothing is left to judge by."""
    reason = "no randomised campaign with known outcomes tells what the plan would do"
    if seen_by_model:
        reason = f"all {seen_by_model} rows of randomised campaigns may have taught the model, and would judge it too kindly"
    return Evaluation(name, "unknown", reason, None, (), not_randomised, 0, seen_by_model)


def _logged(as_of: datetime, outcome: str, settings: Settings) -> "pd.DataFrame":
    """Assignments of campaigns with a control group whose outcome was known at `as_of`; `propensity` is NaN where it is not that of the
    row's `draw`."""
    rows = read_mart("campaign_outcomes")
    rows["draw"] = draws(rows, settings.campaigns_dir)
    rows["propensity"] = rows["propensity"].where(randomised(rows, rows["draw"].to_numpy(object)))
    is_known = (rows["assigned_at"] < as_of) & (rows["outcome_at"].isna() | (rows["outcome_at"] <= as_of)) & rows[outcome].notna()
    with_control = set(rows.loc[rows["treatment"] == CONTROL, "campaign_id"])
    return rows[is_known & rows["campaign_id"].isin(with_control)].reset_index(drop=True)


def _unseen(rows: "pd.DataFrame", version: int, settings: Settings) -> np.ndarray:
    """Whether the model never learned from the row: its window ended before, or the user was kept to be judged by, `(rows,)`; of a model
    that does not say what it learned from, none."""
    file: Path = settings.models_dir / UPLIFT.name / str(version) / PROVENANCE_FILE
    if not file.exists():
        return np.zeros(len(rows), bool)
    told = json.loads(file.read_text(encoding="utf-8"))
    end = datetime.fromisoformat(told["window"].split("/")[1])
    later = (rows["assigned_at"] >= end).to_numpy()
    return later | (part_of(rows["user_id"], int(told["seed"])) < UNSEEN_SHARE)


def _trials(plan: Plan, shop: ShopFront, rows: "pd.DataFrame") -> tuple[Trials, np.ndarray, np.ndarray]:
    """The rows with the objective as reward, what each earned at the plan's costs (NaN where spend is unknown), and whether the rule's
    choice was among the arms of the row's draw, `(rows,)` each."""
    frame = training_frame(UPLIFT.feature_service, rows[["user_id"]].assign(event_timestamp=rows["assigned_at"]))
    treatments, effects = _effects_then(shop, frame, rows)
    offers = tuple(OfferTerms(**one) for one in plan.offers)
    terms = replace(Terms.of(plan.request, treatments, {}), offers=offers)
    is_bought = rows["is_converted"].fillna(False).to_numpy(bool)
    is_control = (rows["treatment"] == CONTROL).to_numpy()
    buys_anyway = np.full(len(rows), is_bought[is_control].mean())
    money = terms.money(plan.request, treatments, effects, buys_anyway)
    prices = Prices(plan.price, tuple(plan.prices["channels"][one.name] for one in money.channels), np.zeros(1))
    wanted = prices.choose(money.value, money.cost, np.zeros(len(rows), np.int64), tuple(one.uses for one in money.channels))
    arms = {name: place for place, name in enumerate(terms.names)}
    given = rows["treatment"].map(lambda name: NOTHING if name == CONTROL else arms.get(name, len(arms))).to_numpy(int)
    tried = {draw: set(own) for draw, own in rows.assign(given=given).groupby("draw")["given"]}
    is_covered = np.array([one in tried[draw] for one, draw in zip(wanted, rows["draw"], strict=True)])
    contact = np.array([0.0, *(sum(offers[o].contact_cost or 0.0 for o in arm) for arm in terms.arms), 0.0])
    redemption = np.array([0.0, *(sum(offers[o].redemption_cost for o in arm) for arm in terms.arms), 0.0])
    spent = rows["spend"].astype(float).to_numpy()
    earned = plan.request.margin * spent - contact[given + 1] - redemption[given + 1] * is_bought
    reward = earned if plan.request.objective == "profit" else rows[OUTCOMES[plan.request.objective]].astype(float).to_numpy()
    numbers = frame[list(USER_FEATURES)].to_numpy(float)
    campaign = rows["campaign_id"].astype("category").cat.codes.to_numpy(float)
    features = np.column_stack([numbers, campaign, *(effects[kind] for kind in KINDS)])
    trials = Trials(rows["user_id"].to_numpy(object), reward, rows["propensity"].to_numpy(float), given, wanted, features)
    return trials, earned, is_covered


def _effects_then(shop: ShopFront, frame: "pd.DataFrame", rows: "pd.DataFrame") -> tuple[list[str], dict[str, np.ndarray]]:
    """The offers the model knows, and its effects as of each assignment, `(rows, offers)` by kind."""
    asked = frame.to_dict("records")
    for row in asked:
        row |= {tensor.name: value if isinstance(value := row.get(tensor.name), np.ndarray) else () for tensor in HISTORY[:3]}
    at_us = np.array([to_us(at) for at in rows["assigned_at"]], np.int64)
    parts = [
        effects_of(shop, asked[n : n + BATCH], rows["assigned_at"].iloc[n].to_pydatetime(), at_us=at_us[n : n + BATCH])
        for n in range(0, len(asked), BATCH)
    ]
    return parts[0][1], {kind: np.concatenate([part[2][kind] for part in parts]).astype(float) for kind in KINDS}
