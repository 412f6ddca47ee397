"""With what chance each row could have had each arm: as logged where a campaign was randomised, else as estimated from what was known.

An effect is claimed from chance alone. Where a row's propensity is not logged, or is not that of a draw (`randomised.py`), whoever got an
offer may have differed from whoever did not; then nothing is claimed unless told to adjust. Adjusting asks a cross-fitted propensity model
(logistic regression) and leaves out whoever had hardly a chance of some arm (Crump, Hotz, Imbens and Mitnik 2009, Dealing with limited
overlap in estimation of average treatment effects). It can only account for what is known: a reason that nobody recorded stays in them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.randomised import is_chance, misfit

LEAST_CHANCE = 0.05
FOLDS = 5


class NotRandomised(ValueError):
    """Effects were asked from campaigns that were not randomised, and nobody said to adjust."""


@dataclass(frozen=True)
class Adjustment:
    """What adjusting found: rows whose chances were estimated, of these left out for want of overlap, the least and greatest chance kept,
    the greatest standardised difference of a covariate between an arm and everybody, before and after weighting, and the effective sample
    size that the weights leave."""

    rows: int
    left_out: int
    least_chance: float
    greatest_chance: float
    difference_before: float
    difference_after: float
    effective_rows: float

    def as_text(self) -> str:
        return (
            f"NOT RANDOMISED: the chances of {self.rows:,} rows were estimated from what was known, {self.left_out:,} without overlap "
            f"were left out; the covariates differed by up to {self.difference_before:.2f} standard deviations, after weighting by "
            f"{self.difference_after:.2f}. Effects hold only as far as nothing unrecorded decided who got what."
        )


@dataclass(frozen=True)
class Chances:
    """`arm` `(rows,)`, number of the arm taken; `chances` `(rows, arms)`, 0 for an arm that a row's draw did not have; `is_kept`
    `(rows,)`, False for rows of other arms and without overlap; `adjustment` is None where every chance was logged."""

    arm: np.ndarray
    chances: np.ndarray
    is_kept: np.ndarray
    adjustment: Adjustment | None = None

    def __getitem__(self, rows: np.ndarray) -> Chances:
        return Chances(self.arm[rows], self.chances[rows], self.is_kept[rows], self.adjustment)


def chances_of(frame: pd.DataFrame, arms: list[str], covariates: np.ndarray, adjust: bool, seed: int) -> Chances:
    """Of `frame` with `treatment`, `propensity` (of the arm taken, NaN where not randomised) and, of several campaigns, `campaign_id`, or
    `draw` where arms were drawn within parts of a campaign (`randomised.draws`).

    Chances are those among `arms`, control first: each row's add up to 1. `covariates` `(rows, columns)` are finite numbers known at
    assignment. Raises NotRandomised where a propensity is missing and `adjust` is False.
    """
    arm = pd.Index(arms).get_indexer(pd.Index(frame["treatment"].to_numpy(object)))
    is_kept = arm >= 0
    logged = frame["propensity"].to_numpy(float) if "propensity" in frame else np.full(len(frame), np.nan)
    draw = next((frame[name].to_numpy(object) for name in ("draw", "campaign_id") if name in frame), np.zeros(len(frame), int))
    is_logged = _is_drawn(draw, frame["treatment"].to_numpy(object), logged)
    if not adjust and (missing := int((is_kept & ~is_logged).sum())):
        raise NotRandomised(
            f"Effects are claimed from randomised campaigns, whose `propensity` is known. {missing} of {int(is_kept.sum())} rows have "
            "none that a draw would have: who got what may have been decided by what people are like. Deliver the propensities, or say "
            "`--adjust` (PORTRAIT_UPLIFT_ADJUST=true) to estimate them from what is known, which can be wrong."
        )
    found = np.zeros((len(frame), len(arms)))
    for one in pd.unique(draw):
        rows = np.flatnonzero((draw == one) & is_kept)
        if (own := rows[is_logged[rows]]).size:
            found[own] = _logged(arm[own], logged[own], len(arms))
        if (own := rows[~is_logged[rows]]).size:
            found[own] = _estimated(arm[own], covariates[own], len(arms), seed)
    if (is_kept & ~is_logged).any():
        is_guessed = is_kept & ~is_logged
        has_overlap = np.where(found > 0, found, 1.0).min(axis=1) >= LEAST_CHANCE
        is_kept = is_kept & (is_logged | has_overlap)
        return Chances(arm, found, is_kept, _adjustment(arm, found, covariates, is_guessed, is_guessed & is_kept))
    return Chances(arm, found, is_kept)


def _is_drawn(draw: np.ndarray, treatment: np.ndarray, logged: np.ndarray) -> np.ndarray:
    """Where a logged chance is that of a draw, `(rows,)`: of draws of which not all arms need be here."""
    found = is_chance(logged)
    for one in pd.unique(draw[found]):
        own = np.flatnonzero((draw == one) & found)
        found[own] = (misfit(treatment[own], logged[own]) >= 0).all()
    return found


def _logged(arm: np.ndarray, logged: np.ndarray, arms: int) -> np.ndarray:
    """Of one draw's rows: the arm taken as logged, the others as they were logged on average, all made to add up to 1."""
    mean = np.array([logged[arm == one].mean() if (arm == one).any() else 0.0 for one in range(arms)])
    found = np.tile(mean, (len(arm), 1))
    rows = np.arange(len(arm))
    is_constant = np.allclose(logged, mean[arm])
    if is_constant:
        return found / found.sum(axis=1, keepdims=True)
    total = min(1.0, float(mean.sum()))  # less than 1 where the draw had other arms too
    found[rows, arm] = 0.0
    others = found.sum(axis=1, keepdims=True)
    found *= np.divide(np.maximum(total - logged, 1e-6)[:, None], others, out=np.zeros_like(others), where=others > 0)
    found[rows, arm] = logged
    return found / found.sum(axis=1, keepdims=True)


def _estimated(arm: np.ndarray, covariates: np.ndarray, arms: int, seed: int) -> np.ndarray:
    """Of one draw's rows, by models that never saw the row."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = np.zeros((len(arm), arms))
    fold = np.random.default_rng(seed).permutation(len(arm)) % FOLDS
    for one in range(FOLDS):
        learn, own = fold != one, fold == one
        if len(np.unique(arm[learn])) < 2:
            found[own, arm[learn][0]] = 1.0
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000)).fit(covariates[learn], arm[learn])
        found[np.ix_(own, model[-1].classes_)] = model.predict_proba(covariates[own])
    return found


def _adjustment(arm: np.ndarray, chances: np.ndarray, covariates: np.ndarray, guessed: np.ndarray, kept: np.ndarray) -> Adjustment:
    weight = 1.0 / np.maximum(chances[np.arange(len(arm)), np.maximum(arm, 0)], 1e-9)

    def difference(weights: np.ndarray) -> float:
        whole = covariates[kept]
        spread = whole.std(axis=0)
        gaps = [
            np.abs(np.average(covariates[own], axis=0, weights=weights[own]) - whole.mean(axis=0))[spread > 0] / spread[spread > 0]
            for one in np.unique(arm[kept])
            if (own := kept & (arm == one)).any()
        ]
        return float(np.max(gaps)) if gaps and gaps[0].size else 0.0

    inside = chances[kept][chances[kept] > 0]
    return Adjustment(
        rows=int(guessed.sum()),
        left_out=int((guessed & ~kept).sum()),
        least_chance=float(inside.min()) if len(inside) else float("nan"),
        greatest_chance=float(inside.max()) if len(inside) else float("nan"),
        difference_before=difference(np.ones(len(arm))),
        difference_after=difference(weight),
        effective_rows=float(weight[kept].sum() ** 2 / np.square(weight[kept]).sum()) if kept.any() else 0.0,
    )
