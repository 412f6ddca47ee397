"""Applications for credit as a frame, and what their outcomes leave unsure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd

from feature_repo.frames import read_mart, training_frame
from training.signatures import CREDIT_BEHAVIOUR, RISK

#: A smaller share of ripe applications without an outcome needs no warning.
FEW_MISSING = 0.01


@dataclass(frozen=True)
class CreditRows:
    """`known` applications (`defaulted` 0 or 1) and the `columns` of theirs that a model may read, and what to be warned of."""

    known: pd.DataFrame
    columns: list[str]
    warnings: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.known)


def credit_rows(end: datetime) -> CreditRows:
    """Applications made before `end` whose outcome was known by then; where the shop gives no time of the outcome, it counts at once."""
    rows = read_mart("credit_outcomes")
    rows = rows[rows["applied_at"] < end].reset_index(drop=True)
    told = pd.DataFrame([json.loads(text) if isinstance(text, str) else {} for text in rows["covariates"]], index=rows.index)
    defaulted = pd.to_numeric(rows["is_defaulted"].astype(object).map(lambda value: None if pd.isna(value) else float(value)))
    rows = pd.concat([rows.drop(columns=["covariates", "is_defaulted"]), told], axis=1).assign(defaulted=defaulted.astype(float))
    is_known = rows["defaulted"].notna() & (rows["outcome_at"].isna() | (rows["outcome_at"] <= end))
    rows = _with_behaviour(rows)
    columns = [name for name in ("amount", *CREDIT_BEHAVIOUR, *sorted(told.columns)) if rows[name].notna().any()]
    return CreditRows(rows[is_known].reset_index(drop=True), columns, warnings_of(rows, is_known.to_numpy(), end))


def _with_behaviour(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` beside what was known at application of those who had agreed that it be read; NaN of the others."""
    asked = pd.DataFrame({"user_id": rows["user_id"].fillna("").astype(str), "event_timestamp": rows["applied_at"]})
    known = training_frame(RISK.feature_service, asked)[list(CREDIT_BEHAVIOUR)] if len(rows) else pd.DataFrame(columns=CREDIT_BEHAVIOUR)
    return pd.concat([rows, known.astype(float)], axis=1)


def with_declared(rows: pd.DataFrame, protected: tuple[str, ...]) -> pd.DataFrame:
    """`rows` with what their users had declared at application, as `x_<trait>`, of traits that are `protected` and no column of theirs.

    It is there to measure fairness by, and never an input.
    """
    told = read_mart("trait_labels").dropna(subset=["user_id", "trait", "value"])
    told = told.assign(trait="x_" + told["trait"].astype(str), known_at=pd.to_datetime(told["known_at"]))
    told = told[told["trait"].isin(set(protected) - set(rows.columns))]
    found = rows[["user_id", "applied_at"]].reset_index(names="row").merge(told, on="user_id")
    found = found[found["known_at"].isna() | (found["known_at"] <= found["applied_at"])].drop_duplicates(["row", "trait"])
    return rows.join(found.pivot(index="row", columns="trait", values="value"))


def warnings_of(rows: pd.DataFrame, is_known: np.ndarray, end: datetime) -> list[str]:
    """What the outcomes leave unsure, in sentences: those of refused applicants, and those that are missing for a reason.

    An application is ripe once it is older than the longest time that nine in ten outcomes took.
    """
    if not is_known.any():
        return []
    waited = (rows["outcome_at"] - rows["applied_at"])[is_known].dropna()
    ripe_after = waited.quantile(0.9) if len(waited) else pd.Timedelta(0)
    is_ripe = (rows["applied_at"] + ripe_after < pd.Timestamp(end)).to_numpy()
    missing = float((~is_known[is_ripe]).mean()) if is_ripe.any() else 0.0
    if missing <= FEW_MISSING:
        return [
            "Every ripe application has an outcome, so refused ones are not among them: the model has learned from accepted applicants "
            "alone and is unsure of others (reject inference)."
        ]
    told = f"{missing:.0%} of the ripe applications have no outcome. Where these were refused or lost for a reason, the model is too kind"
    return [f"{told} to applicants like them (reject inference)."]
