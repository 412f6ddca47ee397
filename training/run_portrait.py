"""The portrait's run: trait, propensity and spend heads on the frozen encoder, judged by log-loss on held-out users and on a later time.

The encoder has learned from the events between the evaluated label time and its own holdout time; the heads have not.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from training.encoder import TrainedEncoder
from training.export import export_model
from training.frames import (
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
from training.held_users import part_of
from training.histories import Histories
from training.known_histories import some_users
from training.portrait import Portrait
from training.portrait_config import PortraitConfig
from training.portrait_evidence import outcomes_of, portrait_evidence
from training.propensities import fit_propensities
from training.run_folder import Evidence, TrainingWindow, skip
from training.run_recommender import golden_users
from training.segments import fit_segments, served_segments
from training.served import blocks, history_inputs, number_inputs
from training.signatures import PORTRAIT, USER_FEATURES
from training.spend import Spend, fit_spend, pace
from training.traits import fit_traits

OUTCOME_WINDOW = timedelta(days=30)
MAX_LABELS = 30_000
MIN_LABELS = 20
ALARMED = 0.05  # share of users with an alarm while training
ALARM_USERS = 5_000


def train_portrait(
    encoder: TrainedEncoder, config: PortraitConfig, window: TrainingWindow, seed: int, draft: Path, provenance: dict[str, object]
) -> Evidence:
    """Writes `draft/saved_model` and returns how it did. Raises TrainingSkipped without any usable label."""
    histories = histories_until(window.holdout_at, window.start_at, some_users(window.holdout_at, seed))
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
        propensities = fit_propensities(vectors, numbers, outcomes_of(train.labels), is_calibration, config, seed)
    if not traits.heads and propensities is None:
        lacking = "; ".join(f"trait {trait}: {reason}" for trait, reason in traits.skipped.items()) or "`user_traits` has no rows"
        raise skip("portrait", window, f"too few labels: {len(train.labels)} in next_purchase_labels ({MIN_LABELS} needed); {lacking}")

    paid, asked = _learned_and_asked(spend_labels(window.end_at), SPEND_WINDOW, seed)
    spend = _fit_spend(encoder, paid, config, seed)

    known = numbers_at(pd.Series(histories.user_ids), window.holdout_at)
    before = served_segments()
    served = Portrait(encoder, traits, propensities, fit_segments(known, seed, before), spend)
    served.interests.alarm_from.assign(alarm_level(served, histories, to_us(window.holdout_at)))
    examples = golden_users(histories)
    unknown = np.full((len(examples), len(USER_FEATURES)), np.nan)
    golden = history_inputs(examples, to_us(window.holdout_at)) | number_inputs(unknown)
    facts = {**provenance, "traits": list(traits.heads), "segments": served.segments.names if served.segments else []}
    facts |= {"segment_centres": served.segments.facts()} if served.segments else {}
    export_model(served, served.serve, PORTRAIT, draft / "saved_model", explain=served.explain, golden=golden, provenance=facts)
    held = declared[is_held & declared["trait"].isin(traits.heads)]
    evidence = portrait_evidence(
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
        encoder.catalogue,
        seed,
    )
    return replace(evidence, tables=evidence.tables | (served.segments.tables(known, before) if served.segments else {}))


def alarm_level(served: Portrait, histories: Histories, at_us: int) -> float:
    """The evidence of a sudden change that all but `ALARMED` of the users stay below."""
    found = []
    for rows in blocks(min(len(histories), ALARM_USERS)):
        inputs = {name: tf.constant(values) for name, values in history_inputs(histories[rows], at_us).items()}
        found.append(served.interests.evidence(served.reader.read(**inputs), inputs["as_of_us"]).numpy())
    return float(np.quantile(np.concatenate(found), 1 - ALARMED)) if found else float("inf")


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
