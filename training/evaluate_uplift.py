"""How well the users whom an offer moves would be found, on a randomised campaign."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.evaluation import CannotEvaluate, encoder_config, evaluation, histories_and_catalogue, landing_tables, over_splits, required

if TYPE_CHECKING:
    import pyarrow as pa

OUTCOMES = ("visited", "converted")
ERRORS = ("effect_error", "effect_error_by_chance")


def evaluate_uplift(
    *,
    source: str,
    data: Path | str | None,
    treatment: str,
    outcome: str = "visited",
    adjust: bool = False,
    seed: int = 7,
    epochs: int | None = None,
    splits: int = 20,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """`uplift@30%`, `qini`, `auuc` on held-out halves: means over `splits` stratified 50/50 splits, with corrected t intervals; and
    `effect_error`, the mean gap between predicted and measured effects over tenths of the users.

    Rows of `treatment` and of `control` only; other offers of the campaign are left out. `outcome` is a 0/1 landing column. Where the
    source has events, the portrait vector at assignment joins the `x_*` covariates; its encoder learns from events before the first
    assignment. Seeds are `seed`, `seed + 1`, ..., one a split. Campaigns that were not randomised are refused unless told to `adjust`;
    then chances are estimated, held-out rows are drawn anew by them, and `adjusted` says so.
    """
    started = time.monotonic()
    if outcome not in OUTCOMES:
        raise CannotEvaluate(f"`outcome` must be one of {list(OUTCOMES)}: Qini and uplift curves rank 0/1 outcomes. Received '{outcome}'.")
    import numpy as np

    from training.effect_chances import Adjustment
    from training.effect_measures import effect_error, tenths_of
    from training.randomised import CONTROL, randomised
    from training.splits import folds_of, targets_sha256, undivided
    from training.uplift import fit_uplift
    from training.uplift_config import UpliftConfig
    from training.uplift_evidence import Trial, learned_by_boosting
    from training.uplift_learners import LEARNERS

    tables = landing_tables(source, data, seed, ("campaign_exposures", "events", "items", "item_attributes"))
    rows = required(tables, "campaign_exposures", source).to_pandas()
    offers = sorted(set(rows["treatment"].dropna()) - {CONTROL})
    if treatment not in offers:
        raise CannotEvaluate(f"`treatment` must be one of {offers} for this source. Received '{treatment}'.")
    rows["propensity"] = rows["propensity"].where(randomised(rows, rows["campaign_id"].to_numpy(object)))
    rows = rows[rows["treatment"].isin([treatment, CONTROL]) & rows[outcome].notna()].reset_index(drop=True)
    if not adjust and rows["propensity"].isna().any():
        raise CannotEvaluate(
            f"Effects are claimed from randomised campaigns, whose `propensity` is known. {int(rows['propensity'].isna().sum())} of "
            f"{len(rows)} rows of '{treatment}' and control have none that a draw would have. Say `--adjust` to estimate who was likely to "
            "get what from what is known of them, which can be wrong."
        )
    is_treated, target = (rows["treatment"] == treatment).to_numpy(), rows[outcome].astype(float).to_numpy()
    rows[outcome] = target
    users = rows["user_id"].to_numpy(str)
    strata = np.char.add(is_treated.astype(str), target.astype(str))
    if len(np.unique(strata)) < 4 or np.unique(strata, return_counts=True)[1].min() < 2:
        raise CannotEvaluate(f"Both arms need rows with and without `{outcome}`. Received {sorted(np.unique(strata).tolist())}.")
    covariates = [name for name in rows.columns if name.startswith("x_")]
    vectors = _vectors_at_assignment(tables, rows, seed, log)
    config = UpliftConfig(adjust=adjust, **({} if epochs is None else {"epochs": epochs}))
    numbers = _as_numbers(rows, covariates, vectors)

    seeds = [seed + split for split in range(splits)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ("uplift", "random", *LEARNERS)}
    adjustment: Adjustment | None = None
    for number, split_seed in enumerate(seeds):
        is_asked = undivided(folds_of(strata, 2, split_seed), users) == 0  # who was in two campaigns teaches or is asked, not both
        learn, asked = rows[~is_asked].reset_index(drop=True), rows[is_asked].reset_index(drop=True)
        parts = (None, None) if vectors is None else (vectors[~is_asked], vectors[is_asked])
        model = fit_uplift(learn, [treatment], [outcome], covariates, config, split_seed, parts[0])
        taught, trial = (
            Trial.of(part, [treatment], outcome, own, adjust, split_seed)
            for part, own in ((learn, numbers[~is_asked]), (asked, numbers[is_asked]))
        )
        adjustment = model.adjustment
        predicted = {"uplift": model.predict(asked, parts[1])[outcome].mean}
        predicted["random"] = np.random.default_rng(split_seed).random((len(asked), 1))
        predicted |= learned_by_boosting(taught, numbers[~is_asked], numbers[is_asked], split_seed)
        measured = trial.effects()[:, 0]
        known = np.isfinite(measured)
        for name, effect in predicted.items():
            figures = trial.figures(effect, split_seed, np.arange(len(asked)))
            error = effect_error(tenths_of(effect[known, 0], measured[known])) if name != "random" else {}
            found[name].append(figures | {key: error.get(key, float("nan")) for key in ERRORS})
        if log:
            log(f"split {number + 1} of {splits}: " + ", ".join(f"{key} {value:.4f}" for key, value in found["uplift"][-1].items()))
    averaged = {name: over_splits(part, 0.5) for name, part in found.items()}
    return evaluation(
        started,
        metrics=averaged.pop("uplift"),
        baselines=averaged,
        adjusted=adjustment.as_text() if adjustment else None,
        seeds=seeds,
        counts={
            "treated": int(is_treated.sum()),
            "control": int((~is_treated).sum()),
            "treated_outcomes": int(target[is_treated].sum()),
            "control_outcomes": int(target[~is_treated].sum()),
            "covariates": len(covariates),
            "splits": splits,
        },
        targets_sha256=targets_sha256(rows["user_id"], target.astype(int)),
    )


def _vectors_at_assignment(tables: "dict[str, pa.Table]", rows: Any, seed: int, log: Callable[[str], None] | None) -> Any:
    """Portrait vectors `(rows, dim)` from each user's events before assignment; None where the source has no events before any."""
    import numpy as np

    if "events" not in tables:
        return None
    from training.encoder import train_encoder_network
    from training.histories import Histories

    histories, catalogue = histories_and_catalogue(tables)
    at_us = rows["assigned_at"].to_numpy("datetime64[us]").astype(np.int64)
    before = histories.before(int(at_us.min()))
    if before.lengths.max(initial=0) < 2:
        return None
    encoder = train_encoder_network(before, catalogue, encoder_config(), seed, log)
    place = {user: number for number, user in enumerate(histories.user_ids)}
    nothing = Histories(np.array([""], object), [np.empty(0, object)], [np.empty(0, object)], [np.empty(0, np.int64)])
    known = [histories[[place[user]]] if user in place else nothing for user in rows["user_id"]]
    joined = Histories(
        rows["user_id"].to_numpy(object),
        [part.item_ids[0] for part in known],
        [part.event_types[0] for part in known],
        [part.times_us[0] for part in known],
    )
    return encoder.vectors(joined, at_us)


def _as_numbers(rows: Any, covariates: list[str], vectors: Any) -> Any:
    """Covariates for the boosted learners, finite, `(rows, columns)`: strings one-hot, then the vectors where there are any."""
    import numpy as np
    import pandas as pd

    columns = pd.get_dummies(rows[covariates], dtype=float) if covariates else pd.DataFrame({"none": np.zeros(len(rows))})
    numbers = columns.fillna(columns.mean()).fillna(0.0).to_numpy(float)
    return numbers if vectors is None else np.concatenate([numbers, vectors], axis=1)
