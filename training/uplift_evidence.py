"""What held-out users show of predicted effects: rankings, sizes, and what choosing an offer by them is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from training import metrics
from training.effect_calibration import robust_effects
from training.effect_chances import Chances, chances_of
from training.effect_measures import Tenth, effect_error, policy_value, tenths_of
from training.randomised import CONTROL
from training.run_folder import Evidence
from training.uplift import Uplift
from training.uplift_learners import HELD_BACK, LEARNERS, Taught

FIGURES = ("uplift@30%", "qini", "auuc")
SAMPLES = 100  # a Qini curve for every resample is dear


@dataclass(frozen=True)
class Trial:
    """Held-out rows of campaigns: `outcome` `(rows,)`, who got what with what chances, and to which campaign a row belongs."""

    treatments: list[str]
    outcome: np.ndarray
    chances: Chances
    campaign: np.ndarray

    @classmethod
    def of(cls, labels: pd.DataFrame, treatments: list[str], measured: str, covariates: np.ndarray, adjust: bool, seed: int) -> Trial:
        """`covariates` `(rows, columns)` are what chances are estimated from, where they must be."""
        chances = chances_of(labels, [CONTROL, *treatments], covariates, adjust, seed)
        return cls(treatments, labels[measured].to_numpy(float), chances, labels["campaign_id"].to_numpy(object))

    def pairs(self, rows: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Each offer's number with the `rows` of one campaign that got it or could have and got nothing; campaigns are never mixed, since
        their control groups lived at other times."""
        chances = self.chances
        found = []
        for one in np.unique(self.campaign[rows]):
            own = rows[(self.campaign[rows] == one) & chances.is_kept[rows] & np.isfinite(self.outcome[rows])]
            for offer in range(1, len(self.treatments) + 1):
                pair = own[np.isin(chances.arm[own], (0, offer)) & (chances.chances[own, offer] > 0)]
                if 0 < (chances.arm[pair] == offer).sum() < len(pair):
                    found.append((offer, pair))
        return found

    def alike(self, offer: int, pair: np.ndarray, seed: int) -> np.ndarray:
        """The pair's rows as they are where everybody had the same chances, else drawn anew by inverse chances: the arms are alike."""
        both = self.chances.chances[pair][:, [0, offer]]
        chance = (both / both.sum(axis=1, keepdims=True))[np.arange(len(pair)), (self.chances.arm[pair] == offer).astype(int)]
        if np.ptp(both[:, 1] / both.sum(axis=1)) < 1e-6:
            return pair
        weight = 1 / chance
        return np.random.default_rng(seed).choice(pair, len(pair), p=weight / weight.sum())

    def figures(self, predicted: np.ndarray, seed: int, rows: np.ndarray) -> dict[str, float]:
        """Uplift figures of `predicted` `(all rows, treatments)`, averaged over offers and campaigns; NaN where none can be computed."""
        found = [metrics.uplift(*self._asked(predicted, seed, offer, pair)) for offer, pair in self.pairs(rows)]
        return {name: float(np.mean([one[name] for one in found])) if found else float("nan") for name in FIGURES}

    def qini(self, predicted: np.ndarray, seed: int, rows: np.ndarray) -> float:
        """The same of Qini alone, for those who ask for many resamples."""
        found = [metrics.qini(*self._asked(predicted, seed, offer, pair)) for offer, pair in self.pairs(rows)]
        return float(np.mean(found)) if found else float("nan")

    def _asked(self, predicted: np.ndarray, seed: int, offer: int, pair: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        own = self.alike(offer, pair, seed)
        return self.outcome[own].astype(int), predicted[own, offer - 1], self.chances.arm[own] == offer

    def effects(self) -> np.ndarray:
        """Doubly robust effects `(rows, treatments)`, from each arm's mean outcome in the campaign."""
        chances = self.chances
        expected = np.zeros(chances.chances.shape)
        for one in np.unique(self.campaign):
            rows = np.flatnonzero((self.campaign == one) & chances.is_kept & np.isfinite(self.outcome))
            for arm in np.unique(chances.arm[rows]):
                own = rows[chances.arm[rows] == arm]
                expected[self.campaign == one, arm] = np.average(self.outcome[own], weights=1 / chances.chances[own, arm])
        found = robust_effects(expected[:, :, None], chances.arm, chances.chances, self.outcome[:, None])[:, :, 0]
        return np.where(chances.is_kept[:, None], found, np.nan)


def learned_by_boosting(taught: Trial, learn: np.ndarray, asked: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """What each of LEARNERS says of the rows `asked`, `(rows, treatments)`, from the rows `learn` that `taught` describes."""
    found = {name: np.zeros((len(asked), len(taught.treatments))) for name in LEARNERS}
    for offer in range(1, len(taught.treatments) + 1):
        rows = np.concatenate([np.empty(0, int), *[pair for number, pair in taught.pairs(np.arange(len(learn))) if number == offer]])
        if not len(rows):
            continue
        both = taught.chances.chances[rows][:, [0, offer]]
        fitted = Taught(learn[rows], taught.outcome[rows], taught.chances.arm[rows] == offer, both[:, 1] / both.sum(axis=1))
        with threadpool_limits(1, user_api="openmp"):  # so few rows are not worth a second thread
            for name, learner in LEARNERS.items():
                found[name][:, offer - 1] = learner(fitted, asked, HELD_BACK, seed)
    return found


def evidence(
    trial: Trial, predicted: dict[str, np.ndarray], uplift: Uplift, measured: str, published: tuple[int, Path] | None, seed: int
) -> Evidence:
    """Figures of every model, Qini of each offer against control averaged; random targeting has 0. `predicted["uplift"]` is judged."""
    rows = len(trial.outcome)
    everybody = np.arange(rows)
    figures = {name: partial(trial.figures, own, seed) for name, own in predicted.items()}
    effects = trial.effects() if rows else np.zeros((0, len(trial.treatments)))
    shown = {name: figures[name](everybody) for name in predicted}
    average = {"uplift@30%": float(np.nanmean(effects)) if np.isfinite(effects).any() else float("nan"), "qini": 0.0, "auuc": 0.0}
    intervals = {name: _intervals(figures[name], rows, seed) for name in predicted if rows and name not in LEARNERS}
    tables, tenths = _sizes(trial, predicted["uplift"], effects, measured)
    if errors := [effect_error(own) for own in tenths.values() if own]:
        shown["uplift"]["effect error"] = float(np.mean([one["effect_error"] for one in errors]))
    tables |= _choices(trial, predicted["uplift"], measured) if rows else {}
    offers = ", ".join(uplift.treatments)
    note = f"Outcome {measured}, offers {offers} against control, {rows} users that the networks never saw."
    if uplift.adjustment:
        note = f"{uplift.adjustment.as_text()} {note}"
    return Evidence(
        rows,
        partial(trial.qini, predicted["uplift"], seed),
        lambda _rows: 0.0,
        partial(trial.qini, predicted[f"served version {published[0]}"], seed) if published else None,
        {**shown, "random": average},
        note=note,
        curves=uplift.curves,
        tables=tables,
        intervals=intervals,
        gains=_gains(trial, predicted, everybody, seed),
        tenths=tenths,
        champion_path=published[1] if published else None,
        samples=200,
    )


def _intervals(figures: Callable[[np.ndarray], dict[str, float]], rows: int, seed: int) -> dict[str, metrics.Interval]:
    keys = list(FIGURES)
    values, drawn = metrics.resample(lambda chosen: np.array([figures(chosen)[key] for key in keys]), rows, seed, samples=SAMPLES)
    return {key: metrics.interval(values[place], drawn[:, place]) for place, key in enumerate(keys)}


def _sizes(
    trial: Trial, predicted: np.ndarray, effects: np.ndarray, measured: str
) -> tuple[dict[str, list[dict[str, object]]], dict[str, list[Tenth]]]:
    """For each offer the users in tenths by predicted effect, highest first: what was predicted, and what was measured."""
    lines: list[dict[str, object]] = []
    found: dict[str, list[Tenth]] = {}
    for place, offer in enumerate(trial.treatments):
        known = np.isfinite(effects[:, place])
        found[offer] = tenths_of(predicted[known, place], effects[known, place])
        for number, one in enumerate(found[offer], start=1):
            seen = {"measured": one.measured["mean"], "95 % range": [one.measured["low"], one.measured["high"]]}
            lines.append({"offer": offer, "tenth": number, "users": one.users, "predicted": one.predicted, **seen})
    return ({f"Effect on {measured}, predicted and measured": lines} if lines else {}), found


def _choices(trial: Trial, predicted: np.ndarray, measured: str) -> dict[str, list[dict[str, object]]]:
    """What share has the outcome if everybody got the offer of the greatest effect, or one and the same: within each campaign's offers."""
    lines: list[dict[str, object]] = []
    for one in np.unique(trial.campaign):
        rows = np.flatnonzero((trial.campaign == one) & trial.chances.is_kept & np.isfinite(trial.outcome))
        offers = np.flatnonzero((trial.chances.chances[rows] > 0).all(axis=0)) if len(rows) else np.empty(0, int)
        if len(offers) < 2 or offers[0] != 0:
            continue
        gains = np.column_stack([np.zeros(len(rows)), predicted[rows]])[:, offers]
        policies = {"the offer of the greatest effect": offers[gains.argmax(axis=1)]}
        policies |= {f"{[CONTROL, *trial.treatments][arm]} for all": np.full(len(rows), arm) for arm in offers}
        for who, chosen in policies.items():
            value = policy_value(chosen, trial.chances.arm[rows], trial.chances.chances[rows], trial.outcome[rows])
            lines.append(
                {"campaign": one, "policy": who, "users": len(rows), measured: value["mean"], "95 % range": [value["low"], value["high"]]}
            )
    return {"What choosing by the model is worth (by inverse propensities)": lines} if lines else {}


def _gains(
    trial: Trial, predicted: dict[str, np.ndarray], rows: np.ndarray, seed: int
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Qini curves by offer and model: share of the treated and controls together, and outcomes gained among them."""
    from sklift.metrics import qini_curve

    found: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for offer, pair in trial.pairs(rows):
        own = trial.alike(offer, pair, seed)
        panel = found.setdefault(f"{trial.treatments[offer - 1]}, {trial.campaign[pair[0]]}", {})
        for name, effect in predicted.items():
            x, y = qini_curve(trial.outcome[own].astype(int), effect[own, offer - 1], (trial.chances.arm[own] == offer).astype(int))
            panel[name] = (x / len(own), y)
    return found
