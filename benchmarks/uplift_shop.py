"""Effects of the simulated shop's offers beside the true ones: how the network and the learners recover them.

One shop of 5,000 customers, both campaigns; the users' numbers are counted from the events before the day of assignment, half of the users
teach and the others are asked. The truth is the expected effect by `ShopOracle.effects`, which nothing but tests and benchmarks may read.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training.signatures import USER_FEATURES

SEED = 7
DAY = np.timedelta64(1, "D")
OUTCOMES = ("visited", "converted")


def delivered(seed: int) -> tuple[dict[str, pd.DataFrame], Any]:
    """The clean shop's events and exposures, and its oracle."""
    from sources.files import read_table
    from sources.registry import deliver
    from sources.shop_oracle import ShopOracle

    with tempfile.TemporaryDirectory(prefix="portrait-uplift-") as folder:
        landing = Path(folder) / "landing"
        deliver("shop", None, landing, seed=seed, options={"dirt": 0})
        tables = {name: read_table(landing, name).to_pandas() for name in ("events", "campaign_exposures")}
        return tables, ShopOracle.beside(Path(folder) / "truth")


def numbers_before(events: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """USER_FEATURES of each row's user, counted from the events before the day of assignment; 0 where there are none."""
    day = rows["assigned_at"].dt.floor("D")
    events = events[["user_id", "event_type", "occurred_at", "session_id", "quantity", "unit_price"]]
    both = rows[["user_id"]].assign(row=np.arange(len(rows)), day=day.to_numpy()).merge(events, on="user_id")
    both = both[both["occurred_at"] < both["day"]]
    age = (both["day"] - both["occurred_at"]) / pd.Timedelta(days=1)
    money = both["quantity"] * both["unit_price"] * (both["event_type"] == "purchase")
    kinds = {"views": "view", "carts": "cart", "favourites": "favourite", "purchases": "purchase", "returns": "return"}
    found = {}
    for name in USER_FEATURES:
        what, _, window = name.rpartition("_")
        part = both[(age <= float(window[:-1])) if window != "total" else np.ones(len(both), bool)]
        if what in kinds:
            part = part[part["event_type"] == kinds[what]]
        grouped = part.groupby("row")
        if what == "spend":
            counted = money[part.index].groupby(part["row"]).sum()
        elif what == "active_days":
            counted = part["occurred_at"].dt.floor("D").groupby(part["row"]).nunique()
        elif what == "sessions":
            counted = grouped["session_id"].nunique()
        else:
            counted = grouped.size()
        found[name] = counted.reindex(range(len(rows)), fill_value=0).to_numpy(float)
    return pd.DataFrame(found, index=rows.index)


def truth_of(oracle: Any, events: pd.DataFrame, rows: pd.DataFrame, offers: list[str], outcome: str) -> np.ndarray:
    """Expected effects `(rows, offers)`, NaN for offers that the row's campaign did not have."""
    from sources.shop_oracle import Asked

    events = events.sort_values("occurred_at", kind="stable")
    by_user = dict(iter(events[events["user_id"].isin(rows["user_id"])].groupby("user_id")))
    nothing = events.iloc[:0]
    known = []
    for user, at in zip(rows["user_id"], rows["assigned_at"], strict=True):
        part = by_user.get(user, nothing)
        known.append(part[part["occurred_at"] < at])
    asked = Asked(
        rows["user_id"].to_numpy(object),
        rows["assigned_at"].to_numpy("datetime64[us]").astype(np.int64),
        [part["item_id"].to_numpy(object) for part in known],
        [part["event_type"].to_numpy(object) for part in known],
        [part["occurred_at"].to_numpy("datetime64[us]").astype(np.int64) for part in known],
    )
    effects = oracle.effects(asked, rows["campaign_id"].to_numpy(object), offers, outcome)
    has = pd.crosstab(rows["campaign_id"], rows["treatment"]).reindex(columns=offers, fill_value=0) > 0
    return np.where(has.loc[rows["campaign_id"]].to_numpy(), effects, np.nan)


def measure(seed: int = SEED, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """By outcome and model: rank correlation, PEHE beside that of the true average, share of true effects within the 95 % intervals, and
    the uplift figures on held-out outcomes; means over the offers."""
    from training.run_portrait import part_of
    from training.uplift import CONTROL, fit_uplift
    from training.uplift_config import UpliftConfig
    from training.uplift_evidence import Trial, learned_by_boosting

    tables, oracle = delivered(seed)
    rows = tables["campaign_exposures"].reset_index(drop=True)
    rows[[*OUTCOMES]] = rows[[*OUTCOMES]].astype(float)
    numbers = numbers_before(tables["events"], rows)
    frame = pd.concat([rows, numbers], axis=1)
    offers = sorted(set(rows["treatment"]) - {CONTROL})
    covariates = [name for name in rows.columns if name.startswith("x_")]
    is_asked = np.asarray(part_of(rows["user_id"], seed)) < 0.5
    learn, asked = frame[~is_asked].reset_index(drop=True), frame[is_asked].reset_index(drop=True)
    fitted = fit_uplift(learn, offers, [*OUTCOMES, "spend"], covariates, UpliftConfig(**(config or {})), seed)
    effects = fitted.predict(asked)
    matrices = [fitted.covariates.matrix(fitted.covariates.inputs(part, None)) for part in (learn, asked)]
    found: dict[str, Any] = {"users": len(asked), "learned from": len(learn), "seed": seed, "outcomes": {}}
    for outcome in OUTCOMES:
        truth = truth_of(oracle, tables["events"], asked, offers, outcome)
        taught, trial = (
            Trial.of(part, offers, outcome, matrix, False, seed) for part, matrix in zip((learn, asked), matrices, strict=True)
        )
        predicted = {"Portrait": effects[outcome].mean, **learned_by_boosting(taught, matrices[0], matrices[1], seed)}
        inside = (effects[outcome].low <= truth) & (truth <= effects[outcome].high)
        found["outcomes"][outcome] = {
            who: _recovered(own, truth) | trial.figures(own, seed, np.arange(len(asked))) for who, own in predicted.items()
        }
        found["outcomes"][outcome]["Portrait"]["within the interval"] = float(inside[np.isfinite(truth)].mean())
    return found


def _recovered(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """`effect_measures.recovery`, averaged over the offers."""
    from training.effect_measures import recovery

    known = np.isfinite(truth)
    each = [recovery(predicted[known[:, at], at], truth[known[:, at], at]) for at in range(truth.shape[1])]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}
