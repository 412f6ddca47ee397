"""The portrait's run: trait, propensity and spend heads on the frozen encoder, judged by log-loss on held-out users and on a later time.

The encoder has learned from the events between the evaluated label time and its own holdout time; the heads have not.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from training import metrics
from training.baselines import base_rate
from training.encoder import TrainedEncoder
from training.export import export_model
from training.frames import (
    PROPENSITY_LABELS,
    SPEND_WINDOW,
    Asked,
    ask_portrait,
    histories_until,
    numbers_at,
    propensity_labels,
    spend_labels,
    to_us,
    trait_labels,
)
from training.histories import Histories
from training.portrait import Portrait
from training.portrait_config import PortraitConfig
from training.propensities import OUTCOMES, fit_propensities
from training.run_folder import Evidence, TrainingWindow, skip
from training.run_recommender import LIGHT, golden_users
from training.segments import fit_segments
from training.served import SavedPredictor, blocks, champion, history_inputs, number_inputs
from training.signatures import PORTRAIT, USER_FEATURES
from training.spend import Spend, fit_spend, pace
from training.traits import Traits, fit_traits

OUTCOME_WINDOW = timedelta(days=30)
MAX_LABELS = 30_000
MIN_LABELS = 20
ALARMED = 0.05  # share of users with an alarm while training
ALARM_USERS = 5_000


def train_portrait(
    encoder: TrainedEncoder, config: PortraitConfig, window: TrainingWindow, seed: int, draft: Path, provenance: dict[str, object]
) -> Evidence:
    """Writes `draft/saved_model` and returns how it did. Raises TrainingSkipped without any usable label."""
    histories = histories_until(window.holdout_at, window.start_at)
    declared = trait_labels(window.end_at)
    declared = declared[declared["user_id"].isin(set(histories.user_ids))]
    is_held = part_of(declared["user_id"], seed) < 0.2
    traits = fit_traits(encoder, histories, declared[~is_held], config, seed, to_us(window.holdout_at))
    train, test = _learned_and_asked(propensity_labels(window.end_at), OUTCOME_WINDOW, seed)
    propensities = None
    if len(train.labels) >= MIN_LABELS:
        is_calibration = part_of(train.labels["user_id"], seed + 1) < config.calibration_share
        numbers = np.column_stack([train.numbers, train.days_since_last])
        vectors = encoder.vectors(train.histories, train.at_us)
        propensities = fit_propensities(vectors, numbers, _truth(train.labels), is_calibration, config, seed)
    if not traits.heads and propensities is None:
        lacking = "; ".join(f"trait {trait}: {reason}" for trait, reason in traits.skipped.items()) or "`user_traits` has no rows"
        raise skip("portrait", window, f"too few labels: {len(train.labels)} in next_purchase_labels ({MIN_LABELS} needed); {lacking}")

    paid, asked = _learned_and_asked(spend_labels(window.end_at), SPEND_WINDOW, seed)
    spend = _fit_spend(encoder, paid, config, seed)

    known = numbers_at(pd.Series(histories.user_ids), window.holdout_at)
    served = Portrait(encoder, traits, propensities, fit_segments(known, seed), spend)
    served.interests.alarm_from.assign(alarm_level(served, histories, to_us(window.holdout_at)))
    examples = golden_users(histories)
    unknown = np.full((len(examples), len(USER_FEATURES)), np.nan)
    golden = history_inputs(examples, to_us(window.holdout_at)) | number_inputs(unknown)
    facts = {**provenance, "traits": list(traits.heads), "segments": served.segments.names if served.segments else []}
    export_model(served, served.serve, PORTRAIT, draft / "saved_model", explain=served.explain, golden=golden, provenance=facts)
    held = declared[is_held & declared["trait"].isin(traits.heads)]
    return _evidence(
        draft / "saved_model",
        traits,
        held,
        declared[~is_held],
        histories,
        window,
        train,
        test if propensities else test[np.empty(0, np.int64)],
        propensities,
        asked if spend else asked[np.empty(0, np.int64)],
    )


def alarm_level(served: Portrait, histories: Histories, at_us: int) -> float:
    """The evidence of a sudden change that all but `ALARMED` of the users stay below."""
    found = []
    for rows in blocks(min(len(histories), ALARM_USERS)):
        inputs = {name: tf.constant(values) for name, values in history_inputs(histories[rows], at_us).items()}
        found.append(served.interests.evidence(served.reader.read(**inputs), inputs["as_of_us"]).numpy())
    return float(np.quantile(np.concatenate(found), 1 - ALARMED)) if found else float("inf")


def part_of(user_ids: pd.Series, seed: int) -> np.ndarray:
    """A number in [0, 1) for each user, the same whenever the user is asked, `(rows,)`."""
    hashes = pd.util.hash_array(user_ids.astype(str).to_numpy(object), hash_key=f"{seed:016d}"[:16])
    return hashes / 2.0**64


def _fit_spend(encoder: TrainedEncoder, paid: Asked, config: PortraitConfig, seed: int) -> Spend | None:
    """None where too little is known of what users spent: see `training.spend.fit_spend`."""
    speed = pace(paid.histories.times_us, paid.at_us, encoder.config.sequence_length)
    numbers = np.column_stack([paid.numbers, paid.days_since_last, speed])
    part = (part_of(paid.labels["user_id"], seed + 1) * config.spend_parts).astype(int)
    return fit_spend(encoder.vectors(paid.histories, paid.at_us), numbers, paid.labels["spend"].to_numpy(float), part, config, seed)


def _learned_and_asked(labels: pd.DataFrame, outcome_window: timedelta, seed: int) -> tuple[Asked, Asked]:
    """Rows to learn from and rows to be asked: the newest label time is asked, and what was known by then is learned from.

    Where nothing was known by then, a fifth of the users is asked and the others are learned from.
    """
    newest = labels["label_at"].max() if len(labels) else pd.NaT
    asked = labels[labels["label_at"] == newest]
    learned = labels[labels["label_at"] + outcome_window <= newest] if len(labels) else labels
    if len(learned) < MIN_LABELS and len(asked):
        is_asked = part_of(asked["user_id"], seed) < 0.2
        learned, asked = asked[~is_asked], asked[is_asked]
    learned = learned.sample(min(MAX_LABELS, len(learned)), random_state=seed).sort_index()
    return ask_portrait(learned), ask_portrait(asked)


def _truth(labels: pd.DataFrame) -> np.ndarray:
    """Outcomes in the order of `propensities.OUTCOMES`, `(rows, 4)` of 0 and 1: churn is no event at all."""
    purchased_7d, purchased_30d, active_7d, active_30d = (labels[name].astype(bool).to_numpy() for name in PROPENSITY_LABELS)
    return np.column_stack([purchased_7d, purchased_30d, ~active_7d, ~active_30d]).astype(int)


def _evidence(
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
) -> Evidence:
    """Log-loss of the served form: one row per held-out trait label, and one per user at the evaluated time (mean of its outcomes)."""
    models = {"portrait": SavedPredictor(saved_model)}
    if published := champion("portrait"):
        models[f"served version {published[0]}"] = SavedPredictor(published[1])
    places = pd.Index(histories.user_ids).get_indexer(held["user_id"])
    unknown = np.full((len(held), len(USER_FEATURES)), np.nan, np.float32)
    truth = _truth(test.labels)
    figures: dict[str, dict[str, float]] = {name: {} for name in (*models, "base rate")}
    losses: dict[str, list[np.ndarray]] = {name: [] for name in figures}
    calibration = {}
    belongs: list[np.ndarray] = []  # the slice of each row, in the order of the losses

    answers = {name: _answers(model, histories[places], to_us(window.holdout_at), unknown) for name, model in models.items()}
    asked = {name: _answers(model, test.histories, test.at_us, test.numbers) for name, model in models.items()}
    for trait, head in traits.heads.items():
        rows = np.flatnonzero((held["trait"] == trait).to_numpy() & held["value"].isin(head.values).to_numpy())
        known = declared[(declared["trait"] == trait) & declared["value"].isin(head.values)]
        own = np.searchsorted(head.values, held["value"].to_numpy(object)[rows].astype(str))
        base = base_rate(np.searchsorted(head.values, known["value"].astype(str)), len(head.values))
        belongs.append(np.array([f"{trait}: {value}" for value in held["value"].to_numpy(object)[rows]], object))
        for name in figures:
            chances = (
                np.tile(base, (len(rows), 1)) if name == "base rate" else _trait_chances(answers[name], rows, trait, head.values, base)
            )
            losses[name].append(metrics.row_logloss(own, chances))
            if len(rows):
                figures[name] |= {
                    f"{trait} {key}": value
                    for key, value in metrics.classification(own, chances).items()
                    if key in ("auc", "logloss", "ece")
                }
    if len(truth):
        rates = (_truth(train.labels).sum(0) + 1) / (len(train.labels) + 2)
        belongs.append(np.where(test.histories.lengths < LIGHT, f"light users (under {LIGHT} events)", "heavy users").astype(object))
        for name in figures:
            chances = (
                np.tile(rates, (len(truth), 1)) if name == "base rate" else np.column_stack([asked[name][outcome] for outcome in OUTCOMES])
            )
            chances = np.where(np.isfinite(chances), chances, rates)
            losses[name].append(
                np.mean(
                    [metrics.row_logloss(truth[:, o], np.column_stack([1 - chances[:, o], chances[:, o]])) for o in range(len(OUTCOMES))],
                    axis=0,
                )
            )
            for place, outcome in enumerate(OUTCOMES):
                short = outcome.replace("_probability", "")
                figures[name] |= {
                    f"{short} auc": metrics.auc(truth[:, place] == 1, chances[:, place]),
                    f"{short} ece": metrics.ece(truth[:, place], chances[:, place]),
                }
                if name == "portrait":
                    calibration[short] = (truth[:, place], chances[:, place])
    slice_of = np.concatenate([np.empty(0, object), *belongs])
    slices = {str(name): slice_of == name for name in sorted(set(slice_of))}
    joined = {name: np.concatenate([np.empty(0), *parts]) for name, parts in losses.items()}
    for name, values in joined.items():
        figures[name] = {"negative logloss": -float(values.mean()) if len(values) else float("nan"), **figures[name]}

    def mean(name: str) -> metrics.Statistic:
        return lambda rows: -float(joined[name][rows].mean())

    figures = {name: own | _spend_figures(models.get(name), spent) for name, own in figures.items()}
    missing = "".join(f" No head for trait {trait}: {reason}." for trait, reason in traits.skipped.items())
    if len(spent.labels):
        missing += f" Expected spend of {len(spent.labels)} users, whose base rate is what they spent in the 90 days before."
    else:
        missing += " No head for expected spend: too few windows of 90 days are over in which anybody paid."
    return Evidence(
        len(joined["portrait"]),
        mean("portrait"),
        mean("base rate"),
        mean(f"served version {published[0]}") if published else None,
        figures,
        note=f"Log-loss on {len(held)} trait labels of held-out users and {len(truth)} users at the evaluated label time.{missing}",
        curves=propensities.curves if propensities else {},
        calibration=calibration,
        tables={
            "By slice": [
                {"slice": name, "rows": int(rows.sum()), **{model: -float(loss[rows].mean()) for model, loss in joined.items()}}
                for name, rows in slices.items()
            ]
        },
        slices=slices,
        champion_path=published[1] if published else None,
    )


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
