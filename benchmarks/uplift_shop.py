"""Effects of the simulated shop's offers beside the true ones: how the network and the learners recover them, and what their plans earn.

Both campaigns; the users' numbers are counted from the events before the day of assignment, half of the users teach and the others are
asked. The truth is the expected effect by `ShopOracle.effects`, which nothing but tests and benchmarks may read. The *informed ceiling*
knows what the shop draws its effects from (the segment, whether cheap or dear things are looked at, the channel), and learns their sizes
from the same rows: what it misses is noise. Plans are those of `benchmarks.campaigns`, for those asked of the newest campaign's customers.
`python -m benchmarks.uplift_shop` prints how both grow with the number of assignments that teach.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training.signatures import USER_FEATURES

SEED = 7
DAY = np.timedelta64(1, "D")
OUTCOMES = ("visited", "converted")
CEILING = "informed ceiling"
CEILING_ROWS = (10.0, 30.0)  # evidence that its coefficients are held by: what all offers share, and what each has of its own
TAUGHT = (1_200, 5_000, 12_000)  # assignments, of a shop of LARGE customers
LARGE = 20_000
MOVED = 0.1  # a true effect of which one would say so


def delivered(seed: int, users: int = 5_000) -> tuple[dict[str, pd.DataFrame], Any]:
    """The clean shop's events and exposures, and its oracle."""
    from sources.files import read_table
    from sources.registry import deliver
    from sources.shop_oracle import ShopOracle

    with tempfile.TemporaryDirectory(prefix="portrait-uplift-") as folder:
        landing = Path(folder) / "landing"
        deliver("shop", None, landing, seed=seed, options={"dirt": 0, "users": users})
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


def informed(truth: pd.DataFrame, rows: pd.DataFrame, learn: np.ndarray, mean: np.ndarray, offers: list[str], outcome: str) -> np.ndarray:
    """Effects of all `rows` `(rows, offers)`, a ridge R-learner on what the true effects are made of; `truth` has a line for each row, and
    `mean` `(rows,)` is the mean outcome as far as it can be told beforehand."""
    adds = truth[[f"adds_{offer}" for offer in offers]].to_numpy(float)
    alike = [truth["segment"].to_numpy(object), rows["x_channel"].to_numpy(object), rows["campaign_id"].to_numpy(object)]
    above = np.nan_to_num(adds[:, [0]] - truth.groupby(alike)[f"adds_{offers[0]}"].transform("mean").to_numpy()[:, None])
    segment = pd.get_dummies(truth["segment"]).to_numpy(float)
    channel = pd.get_dummies(rows["x_channel"]).to_numpy(float)
    channel = channel - channel.mean(axis=0)
    inputs = np.concatenate(
        [segment, segment * np.sign(above) / 2, *(segment * channel[:, [at]] for at in range(channel.shape[1]))], axis=1
    )
    arms = ["control", *offers]
    shares = pd.crosstab(rows["campaign_id"], rows["treatment"], normalize="index").reindex(columns=arms, fill_value=0)
    surplus = (rows["treatment"].to_numpy()[:, None] == np.array(arms)) - shares.loc[rows["campaign_id"]].to_numpy()
    own = [inputs * surplus[:, 1:].sum(axis=1, keepdims=True), *(inputs * surplus[:, [at]] for at in range(1, len(arms)))]
    design, width = np.concatenate(own, axis=1)[learn], inputs.shape[1]
    held = np.repeat([CEILING_ROWS[0], CEILING_ROWS[1]], [width, width * len(offers)])
    found = np.linalg.solve(design.T @ design + np.diag(held), design.T @ (rows[outcome].to_numpy(float) - mean)[learn])
    shared, apart = found[:width], found[width:].reshape(len(offers), width)
    return np.stack([inputs @ (shared + one) for one in apart], axis=1)


@dataclass(frozen=True)
class ShopTrial:
    """A shop's assignments with what was known of each, the true effects `(rows, offers)` by outcome, and which rows are asked."""

    rows: pd.DataFrame
    frame: pd.DataFrame
    offers: list[str]
    true: dict[str, np.ndarray]
    made_of: pd.DataFrame
    is_asked: np.ndarray
    seed: int

    @classmethod
    def of(cls, seed: int, users: int = 5_000) -> "ShopTrial":
        from training.randomised import CONTROL
        from training.run_portrait import part_of

        tables, oracle = delivered(seed, users)
        rows = tables["campaign_exposures"].reset_index(drop=True)
        rows[[*OUTCOMES]] = rows[[*OUTCOMES]].astype(float)
        offers = sorted(set(rows["treatment"]) - {CONTROL})
        frame = pd.concat([rows, numbers_before(tables["events"], rows)], axis=1)
        true = {outcome: truth_of(oracle, tables["events"], rows, offers, outcome) for outcome in OUTCOMES}
        keys = pd.MultiIndex.from_arrays([rows["campaign_id"], rows["user_id"]])
        made_of = oracle.campaigns.set_index(["campaign_id", "user_id"]).reindex(keys).reset_index(drop=True)
        return cls(rows, frame, offers, true, made_of, np.asarray(part_of(rows["user_id"], seed)) < 0.5, seed)

    def predicted(self, learn: np.ndarray, config: dict[str, Any]) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
        """By model and outcome, the effects on the rows asked `(asked rows, offers)` from the rows `learn`; and our own with intervals."""
        from training.uplift import fit_uplift
        from training.uplift_config import UpliftConfig
        from training.uplift_evidence import Trial, learned_by_boosting
        from training.uplift_learners import HELD_BACK, expected_outcome

        taught, asked = (self.frame.loc[rows].reset_index(drop=True) for rows in (learn, self.is_asked))
        covariates = [name for name in self.rows.columns if name.startswith("x_")]
        fitted = fit_uplift(taught, self.offers, [*OUTCOMES, "spend"], covariates, UpliftConfig(**config), self.seed)
        effects = fitted.predict(asked)
        matrices = [fitted.covariates.matrix(fitted.covariates.inputs(part, None)) for part in (taught, asked)]
        found: dict[str, dict[str, np.ndarray]] = {"Portrait": {outcome: effects[outcome].mean for outcome in OUTCOMES}}
        for outcome in OUTCOMES:
            trial = Trial.of(taught, self.offers, outcome, matrices[0], False, self.seed)
            for who, own in learned_by_boosting(trial, matrices[0], matrices[1], self.seed).items():
                found.setdefault(who, {})[outcome] = own
            mean = np.zeros(len(self.rows))
            for part in (0, 1):  # by a model that never saw the row
                halves = np.arange(len(taught)) % 2 == part
                mean[np.flatnonzero(learn)[~halves]] = expected_outcome(
                    matrices[0][halves], taught[outcome].to_numpy(float)[halves], matrices[0][~halves], HELD_BACK, self.seed
                )
            everybody = informed(self.made_of, self.rows, learn, mean, self.offers, outcome)
            found.setdefault(CEILING, {})[outcome] = everybody[self.is_asked]
        return found, effects

    def earned(self, converted: np.ndarray) -> dict[str, float]:
        """By share of the budget that could be spent, what a plan by the effects `(asked rows, offers)` earns of the best possible."""
        from benchmarks.campaigns import MARGIN, SHARES, most_spent, share_earned

        newest = self.rows.loc[self.rows["assigned_at"].idxmax(), "campaign_id"]
        own = (self.rows["campaign_id"] == newest).to_numpy()
        true = self.true["converted"][own & self.is_asked]
        has = np.isfinite(true).all(axis=0)
        basket = float(self.rows.loc[own & (self.rows["converted"] == 1), "spend"].mean())
        cost = self.rows[own].groupby("treatment")["cost"].mean().reindex(self.offers).to_numpy()[has]
        cost = np.broadcast_to(cost, true[:, has].shape)
        worth, thought = (MARGIN * basket * values[:, has] - cost for values in (true, converted[own[self.is_asked]]))
        most = most_spent(worth, cost)
        return {f"{share:.0%}": share_earned(worth, thought, cost, share * most) for share in SHARES}


def measure(seed: int = SEED, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """By outcome and model: rank correlation, PEHE beside that of the true average, share of true effects within the 95 % intervals, and
    the uplift figures on held-out outcomes, means over the offers; and what plans by the effects on purchases earn."""
    from training.uplift_evidence import Trial

    shop = ShopTrial.of(seed)
    predicted, effects = shop.predicted(~shop.is_asked, config or {})
    asked = shop.frame[shop.is_asked].reset_index(drop=True)
    found: dict[str, Any] = {"users": len(asked), "learned from": int((~shop.is_asked).sum()), "seed": seed, "outcomes": {}}
    for outcome in OUTCOMES:
        truth = shop.true[outcome][shop.is_asked]
        trial = Trial.of(asked, shop.offers, outcome, np.zeros((len(asked), 1)), False, seed)
        found["outcomes"][outcome] = {
            who: _recovered(own[outcome], truth) | trial.figures(own[outcome], seed, np.arange(len(asked)))
            for who, own in predicted.items()
        }
        inside = (effects[outcome].low <= truth) & (truth <= effects[outcome].high)
        moved = np.isfinite(truth) & (np.abs(truth) >= MOVED)
        found["outcomes"][outcome]["Portrait"] |= {
            "within the interval": float(inside[np.isfinite(truth)].mean()),
            "of the moved": float(inside[moved].mean()),
            "moved": float(moved.sum() / np.isfinite(truth).sum()),
        }
    found["earned"] = {who: shop.earned(own["converted"]) for who, own in predicted.items()}
    return found


def growth(seed: int = SEED, taught: tuple[int, ...] = TAUGHT, users: int = LARGE) -> list[dict[str, Any]]:
    """Rank correlations, PEHE over that of the true average, and shares earned, by the number of assignments that teach."""
    shop = ShopTrial.of(seed, users)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(~shop.is_asked))
    found = []
    for size in taught:
        learn = np.zeros(len(shop.rows), bool)
        learn[order[:size]] = True
        predicted, _ = shop.predicted(learn, {})
        for who, own in predicted.items():
            figures = {"assignments": int(learn.sum()), "who": who, "earned": shop.earned(own["converted"])}
            found.append(figures | {outcome: _recovered(own[outcome], shop.true[outcome][shop.is_asked]) for outcome in OUTCOMES})
    return found


def _recovered(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """`effect_measures.recovery`, averaged over the offers."""
    from training.effect_measures import recovery

    known = np.isfinite(truth)
    each = [recovery(predicted[known[:, at], at], truth[known[:, at], at]) for at in range(truth.shape[1])]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


if __name__ == "__main__":
    print(json.dumps(growth(), indent=1))
