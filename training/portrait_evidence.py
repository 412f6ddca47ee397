"""How a trained portrait did: the served form's log-loss, figures and calibration beside base rates, the served model and the oracle.

One row per held-out trait label, and one per user at the evaluated time (the mean of its outcomes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training import metrics
from training.baselines import base_rate
from training.catalogue import Catalogue
from training.examples import Example, portrayed
from training.frames import PROPENSITY_LABELS, Asked, to_us
from training.histories import Histories
from training.oracle import MOST_CELLS, ORACLE, ShopOracle, house_oracle, question
from training.propensities import OUTCOMES
from training.run_folder import Evidence, TrainingWindow
from training.run_recommender import LIGHT
from training.served import SavedPredictor, blocks, champion, history_inputs, number_inputs
from training.signatures import USER_FEATURES
from training.traits import Traits

BASE = "base rate"
RESAMPLED_ROWS = 10_000_000  # rows times resamples of one figure: bounds the time for intervals

#: Figures of rows `(rows,)`, given what is true of them and the probabilities `(rows, classes)`.
Figures = Callable[[np.ndarray, np.ndarray], dict[str, float]]


@dataclass
class _Scores:
    """What is gathered by model: figures, their intervals, and log-loss by row."""

    seed: int
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    intervals: dict[str, dict[str, metrics.Interval]] = field(default_factory=dict)
    losses: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(
        self, truth: np.ndarray, chances: dict[str, np.ndarray], loss: Callable[[np.ndarray, np.ndarray], np.ndarray], of: Figures
    ) -> None:
        for name, own in chances.items():
            self.losses.setdefault(name, []).append(loss(truth, own))
            figures, intervals = self.figures.setdefault(name, {}), self.intervals.setdefault(name, {})
            if not len(truth):
                continue
            keys = list(of(truth, own))
            samples = max(20, min(200, RESAMPLED_ROWS // len(truth)))
            values, drawn = metrics.resample(partial(_values, of, truth, own), len(truth), self.seed, samples)
            figures |= dict(zip(keys, values.tolist(), strict=True))
            ranges = {key: metrics.interval(values[place], drawn[:, place]) for place, key in enumerate(keys)}
            intervals |= {key: found for key, found in ranges.items() if not key.endswith("ece")}  # which resampling raises by itself


def outcomes_of(labels: pd.DataFrame) -> np.ndarray:
    """Outcomes in the order of `propensities.OUTCOMES`, `(rows, 4)` of 0 and 1: churn is no event at all."""
    purchased_7d, purchased_30d, active_7d, active_30d = (labels[name].astype(bool).to_numpy() for name in PROPENSITY_LABELS)
    return np.column_stack([purchased_7d, purchased_30d, ~active_7d, ~active_30d]).astype(int)


def portrait_evidence(
    saved_model: Path,
    traits: Traits,
    held: pd.DataFrame,
    declared: pd.DataFrame,
    histories: Histories,
    window: TrainingWindow,
    train: Asked,
    test: Asked,
    propensities: Any,
    spent: Asked,
    catalogue: Catalogue,
    seed: int,
) -> Evidence:
    """`held` are declarations of users that the heads did not see, `declared` those they saw; `test` is empty without propensity heads, and
    `spent` without the one of expected spend."""
    models = {"portrait": SavedPredictor(saved_model)}
    if published := champion("portrait"):
        models[f"served version {published[0]}"] = SavedPredictor(published[1])
    oracle = house_oracle() if (len(test.labels) + len(held)) * len(catalogue) <= MOST_CELLS else None
    places = pd.Index(histories.user_ids).get_indexer(held["user_id"])
    unknown = np.full((len(held), len(USER_FEATURES)), np.nan, np.float32)
    at_us = to_us(window.holdout_at)
    answers = {name: _answers(model, histories[places], at_us, unknown) for name, model in models.items()}
    later = {name: _answers(model, test.histories, test.at_us, test.numbers) for name, model in models.items()}

    scores, confusions, calibration = _Scores(seed), {}, {}
    belongs: list[np.ndarray] = []  # the slice of each row, in the order of the losses
    for trait, head in traits.heads.items():
        rows = np.flatnonzero((held["trait"] == trait).to_numpy() & held["value"].isin(head.values).to_numpy())
        known = declared[(declared["trait"] == trait) & declared["value"].isin(head.values)]
        own = held["value"].to_numpy(object)[rows].astype(str)
        base = base_rate(np.searchsorted(head.values, known["value"].astype(str)), len(head.values))
        chances = {name: _trait_chances(answer, rows, trait, head.values, base) for name, answer in answers.items()}
        chances[BASE] = np.tile(base, (len(rows), 1))
        if oracle:
            chances[ORACLE] = oracle.trait_chances(held["user_id"].to_numpy(object)[rows], trait, head.values)
        scores.add(np.searchsorted(head.values, own), chances, metrics.row_logloss, _figures_of_trait(trait))
        belongs.append(np.array([f"{trait}: {value}" for value in own], object))
        if len(rows):
            said = answers["portrait"]["trait_choices"][rows, list(answers["portrait"]["trait_names"][0]).index(trait)]
            confusions[trait] = (list(head.values), metrics.confusion(own, said, head.values))
    truth = outcomes_of(test.labels)
    if len(truth):
        chances = _outcome_chances(later, test, outcomes_of(train.labels), oracle)
        belongs.append(np.where(test.histories.lengths < LIGHT, f"light users (under {LIGHT} events)", "heavy users").astype(object))
        scores.add(truth, chances, _outcome_loss, _figures_of_outcomes)
        for place, outcome in enumerate(OUTCOMES):
            calibration[_short(outcome)] = (truth[:, place], chances["portrait"][:, place])

    slice_of = np.concatenate([np.empty(0, object), *belongs])
    slices = {str(name): slice_of == name for name in sorted(set(slice_of))}
    joined = {name: np.concatenate([np.empty(0), *parts]) for name, parts in scores.losses.items()}

    def mean(name: str) -> metrics.Statistic:
        return lambda rows: -float(joined[name][rows].mean())

    figures, intervals = {}, {}
    for name, values in joined.items():
        whole = metrics.bootstrap(mean(name), len(values), seed, 200) if len(values) else None
        figures[name] = {"negative logloss": whole["mean"] if whole else float("nan"), **scores.figures[name]}
        if name == BASE or name in models:
            figures[name] |= _spend_figures(models.get(name), spent)
        intervals[name] = {**({"negative logloss": whole} if whole else {}), **scores.intervals[name]}
    missing = "".join(f" No head for trait {trait}: {reason}." for trait, reason in traits.skipped.items())
    if len(spent.labels):
        missing += f" Expected spend of {len(spent.labels)} users, whose base rate is what they spent in the 90 days before."
    else:
        missing += " No head for expected spend: too few windows of 90 days are over in which anybody paid."
    return Evidence(
        len(joined["portrait"]),
        mean("portrait"),
        mean(BASE),
        mean(f"served version {published[0]}") if published else None,
        figures,
        note=f"Log-loss on {len(held)} trait labels of held-out users and {len(truth)} users at the evaluated label time.{missing}",
        curves=propensities.curves if propensities else {},
        calibration=calibration,
        confusions=confusions,
        tables={
            "Negative logloss by group of customers": [
                {"slice": name, "rows": int(rows.sum()), **{model: -float(loss[rows].mean()) for model, loss in joined.items()}}
                for name, rows in slices.items()
            ]
        },
        intervals=intervals,
        examples=_examples(models["portrait"], test, held, histories, at_us, catalogue),
        slices=slices,
        champion_path=published[1] if published else None,
    )


def _values(of: Figures, truth: np.ndarray, chances: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.array(list(of(truth[rows], chances[rows]).values()))


def _figures_of_trait(trait: str) -> Figures:
    def of(truth: np.ndarray, chances: np.ndarray) -> dict[str, float]:
        found = metrics.classification(truth, chances)
        return {f"{trait} {key}": found[key] for key in ("auc", "accuracy", "logloss", "ece")}

    return of


def _figures_of_outcomes(truth: np.ndarray, chances: np.ndarray) -> dict[str, float]:
    found = {}
    for place, outcome in enumerate(OUTCOMES):
        found[f"{_short(outcome)} auc"] = metrics.auc(truth[:, place] == 1, chances[:, place])
        found[f"{_short(outcome)} ece"] = metrics.ece(truth[:, place], chances[:, place])
    return found


def _outcome_loss(truth: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Log-loss, averaged over the outcomes, `(rows,)`."""
    each = [metrics.row_logloss(truth[:, o], np.column_stack([1 - chances[:, o], chances[:, o]])) for o in range(len(OUTCOMES))]
    return np.mean(each, axis=0)


def _outcome_chances(
    later: dict[str, dict[str, np.ndarray]], test: Asked, learned: np.ndarray, oracle: ShopOracle | None
) -> dict[str, np.ndarray]:
    """Probabilities `(rows, outcomes)` by model; where a model has none, the rates of the outcomes `learned` `(rows, outcomes)`."""
    rates = (learned.sum(0) + 1) / (len(learned) + 2)
    chances = {name: np.column_stack([answer[outcome] for outcome in OUTCOMES]) for name, answer in later.items()}
    chances = {name: np.where(np.isfinite(own), own, rates) for name, own in chances.items()}
    chances[BASE] = np.tile(rates, (len(test.labels), 1))
    if oracle:
        chances[ORACLE] = oracle.outcomes(question(test.histories, test.at_us))
    return chances


def _answers(model: SavedPredictor, histories: Histories, at_us: Any, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """The model's outputs for all rows, in blocks; traits and values of the first row stand for all."""
    times = np.broadcast_to(np.asarray(at_us, np.int64), (len(histories),))
    found = [model(history_inputs(histories[rows], times[rows]) | number_inputs(numbers[rows])) for rows in blocks(len(histories))]
    return {name: np.concatenate([block[name] for block in found]) for name in found[0]} if found else {}


def _trait_chances(answer: dict[str, np.ndarray], rows: np.ndarray, trait: str, values: list[str], base: np.ndarray) -> np.ndarray:
    """Probabilities of `values` from a served answer; a trait or value that the model does not know gets its base rate."""
    chances = np.tile(base, (len(rows), 1))
    if len(rows) and trait in answer["trait_names"][0]:
        place = list(answer["trait_names"][0]).index(trait)
        known = list(answer["trait_values"][0, place])
        for number, value in enumerate(values):
            if value in known:
                chances[:, number] = answer["trait_probabilities"][rows, place, known.index(value)]
    return chances / chances.sum(1, keepdims=True)


def _examples(
    served: SavedPredictor, test: Asked, held: pd.DataFrame, histories: Histories, at_us: int, catalogue: Catalogue
) -> list[Example]:
    """Portraits of users whose declarations the heads did not see, at the evaluated label time if anybody was asked then."""
    known = {(str(user), str(trait)): str(value) for user, trait, value in held[["user_id", "trait", "value"]].itertuples(index=False)}
    unseen = set(held["user_id"])
    if len(test.labels):
        rows = np.flatnonzero(test.labels["user_id"].isin(unseen).to_numpy())
        chosen = test[rows] if len(rows) else test
        return portrayed(served, chosen.histories, chosen.at_us, chosen.numbers, known, catalogue)
    rows = np.flatnonzero(np.isin(histories.user_ids.astype(str), list(unseen)))
    numbers = np.full((len(rows), len(USER_FEATURES)), np.nan, np.float32)
    return portrayed(served, histories[rows], np.full(len(rows), at_us), numbers, known, catalogue)


def _short(outcome: str) -> str:
    return outcome.replace("_probability", "")


def _spend_figures(model: SavedPredictor | None, spent: Asked) -> dict[str, float]:
    """Figures of expected spend at the newest label time; the base rate's is what was spent in the 90 days before, once again."""
    if not len(spent.labels):
        return {}
    said = _answers(model, spent.histories, spent.at_us, spent.numbers) if model else {}
    again = np.nan_to_num(spent.numbers[:, USER_FEATURES.index("spend_90d")])
    if model and "expected_spend_90d" not in said:
        return {}
    found = metrics.amounts(spent.labels["spend"].to_numpy(float), said.get("expected_spend_90d", again))
    return {f"spend_90d {key}": value for key, value in found.items()}
