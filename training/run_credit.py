"""The credit model's run: two thirds of the applicants teach it, the others measure it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from training import metrics
from training.credit import fit_credit
from training.credit_augmentation import credit_augmentation
from training.credit_config import CreditConfig
from training.credit_evidence import calibrated_ece, fairness, figures, reason_stability, surely, traits_of, unmeasured
from training.credit_policy import CreditPolicy, credit_policy
from training.credit_rows import credit_rows, with_declared
from training.credit_served import ServedCredit
from training.export import export_model
from training.run_folder import Evidence, TrainingWindow, skip
from training.run_portrait import part_of
from training.served import SavedPredictor, champion
from training.signatures import RISK, Tensor

ASKED = 1 / 3
LEAST_ROWS, LEAST_DEFAULTS = 60, 10
ASKED_REASONS = 100  # rows whose reasons are measured for stability


def train_credit(config: CreditConfig, window: TrainingWindow, seed: int, draft: Path, provenance: dict[str, object]) -> Evidence:
    """Writes `draft/saved_model` and returns how it did. Raises TrainingSkipped without enough known outcomes of both kinds."""
    rows, policy = credit_rows(window.end_at), credit_policy()
    defaults = int(rows.known["defaulted"].sum())
    if len(rows) < LEAST_ROWS or min(defaults, len(rows) - defaults) < LEAST_DEFAULTS:
        raise skip(
            "risk",
            window,
            f"`credit_applications` needs {LEAST_ROWS} known outcomes, {LEAST_DEFAULTS} of them defaults and as many not. "
            f"Found {len(rows)} with {defaults} defaults",
        )
    names = [name for name in rows.columns if name not in policy.protected]
    if not names:
        raise skip("risk", window, f"`credit_applications` has no column that may decide: only {sorted(rows.columns)}")
    is_asked = part_of(rows.known["user_id"].fillna(rows.known["application_id"]), seed) < ASKED
    learn, asked = (rows.known[part].reset_index(drop=True) for part in (~is_asked, is_asked))
    traits = traits_of(with_declared(asked, policy.protected), list(policy.protected))
    unjudged = unmeasured(traits, asked["defaulted"].to_numpy(), policy.protected)
    warnings = [*rows.warnings, *([unjudged] if unjudged else [])]

    augmentation = credit_augmentation(learn, names, seed)
    credit = fit_credit(learn, names, config, seed, drawn=augmentation.drawn)
    served = ServedCredit(credit, warnings)
    known = (*RISK.inputs, *served.extra_inputs)
    golden = inputs_of(learn.iloc[:3], known)
    facts = {**provenance, "columns": names, "protected": [name for name in rows.columns if name not in names], "warnings": warnings}
    facts |= {"drawn_rows": augmentation.facts()["rows"]}
    export_model(
        served,
        served.score,
        RISK,
        draft / "saved_model",
        explain=served.explain,
        golden=golden,
        provenance=facts,
        extra_inputs=served.extra_inputs,
    )
    inputs = {name: values[:ASKED_REASONS] for name, values in credit.columns.inputs(asked).items()}
    least = policy.least_points / policy.points_per_log_odds
    stability = reason_stability(inputs, credit.reference, credit.columns, credit.log_odds, least, seed) if len(asked) else {}
    evidence = _evidence(draft / "saved_model", asked, traits, policy, warnings, stability, credit.curves, seed)
    told = augmentation.facts()
    shown = {name: list(value.values()) if isinstance(value, dict) else value for name, value in told.items()}  # mean, low, high
    return replace(
        evidence,
        facts={"augmentation": told},
        unjudged=unjudged,
        tables=evidence.tables | {"Drawn defaults beside the real ones that taught": [shown]},
    )


def inputs_of(frame: pd.DataFrame, tensors: tuple[Tensor, ...]) -> dict[str, np.ndarray]:
    """The model's inputs for applications; a column that the frame lacks is unknown."""
    inputs: dict[str, np.ndarray] = {}
    for tensor in tensors:
        column = frame[tensor.name] if tensor.name in frame else pd.Series([None] * len(frame), dtype=object)
        is_word = tensor.dtype == "string"
        inputs[tensor.name] = column.fillna("").astype(str).to_numpy(object) if is_word else column.astype(float).to_numpy(np.float32)
    return inputs


def _evidence(
    saved_model: Path,
    asked: pd.DataFrame,
    traits: dict[str, np.ndarray],
    policy: CreditPolicy,
    warnings: list[str],
    stability: dict[str, float],
    curves: dict[str, list[float]],
    seed: int,
) -> Evidence:
    """AUC against the amount alone and the served model; calibration and fairness at the policy's threshold."""
    truth, published = asked["defaulted"].to_numpy(), champion("risk")
    chances = {"risk": _chances(saved_model, asked)}
    if published:
        chances[f"served version {published[0]}"] = _chances(published[1], asked)
    amount = asked["amount"].fillna(asked["amount"].median()).fillna(0.0).to_numpy(float)

    def area(scores: np.ndarray) -> metrics.Statistic:
        return lambda rows: metrics.auc(truth[rows] > 0, scores[rows])

    groups = fairness(traits, truth, chances["risk"], policy.approve_below)
    unfair = {}
    for kind in ("approved_gap", "calibration_gap"):
        worst = max(groups, key=lambda group: surely(group[kind]), default=None)
        if worst:
            unfair[kind] = (f"{worst['trait'].removeprefix('x_')} {worst['value']}", surely(worst[kind]))
    if len(truth):
        beyond = metrics.ece(truth > 0, chances["risk"]) - calibrated_ece(chances["risk"], seed)["high"]
        unfair["calibration_gap"] = max(unfair.get("calibration_gap", ("", 0.0)), ("all applicants", beyond), key=lambda one: one[1])
    told = [f"{len(asked):,} applications of people whom the network never saw; protected columns are not read.", *warnings]
    tables: dict[str, list[dict[str, object]]] = {"Fairness, by groups of at least 30": groups} if groups else {}
    if stability:
        tables["Reasons, asked again after every amount moved by 1 %"] = [dict(stability)]
    names = list(chances)
    return Evidence(
        len(truth),
        area(chances["risk"]),
        area(amount),
        area(chances[names[1]]) if published else None,
        {**{name: figures(truth, one) for name, one in chances.items()}, "amount alone": {"auc": metrics.auc(truth > 0, amount)}},
        note=" ".join(told),
        curves=curves,
        calibration={"default": (truth > 0, chances["risk"])},
        tables=tables,
        slices={f"{name} {value}": values == value for name, values in traits.items() for value in sorted(set(values) - {""})},
        champion_path=published[1] if published else None,
        unfair=unfair,
    )


def _chances(saved_model: Path, frame: pd.DataFrame) -> np.ndarray:
    """The model's probabilities of default, `(rows,)`; a column that the frame lacks is unknown to it."""
    model = SavedPredictor(saved_model)
    tensors = tuple(
        Tensor(name, "string" if spec.dtype.name == "string" else "float32", ("batch",), "") for name, spec in model.inputs.items()
    )
    return model(inputs_of(frame, tensors))["default_probability"].astype(float)
