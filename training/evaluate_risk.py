"""How well it would be known who does not pay back, on any shop's applications for credit."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.evaluation import CannotEvaluate, evaluation, landing_tables, over_splits, required

if TYPE_CHECKING:
    import numpy as np

#: Settings of the boosted trees that are tried inside each learning part.
TRIALS = 6
LEAST_OF_EACH = 30
ASKED_REASONS = 100
#: The simulated shop asked about: of the usual one 31 defaults would be known, since an outcome takes 60 days.
SHOP: dict[str, Any] = {"users": 20_000, "days": 180}
#: The parts of the result in words; `{"mean", "low", "high"}` is a mean over the thirds with its 95 % interval.
MEANING = {
    "metrics": "Portrait's network on applicants it never saw: auc and brier of the order and the probabilities; ece, the gap between "
    "probability and share of defaults over 10 bins of equal count; logloss. More is better for auc, less for the others.",
    "baselines": "The same of boosted trees, tuned inside each learning part, of logistic regression and, on the simulated shop, of the "
    "oracle, who knows every true probability: nobody can do better.",
    "differences": "Portrait's auc less the baseline's, third by third.",
    "true_risk": "On the simulated shop alone, each model's probabilities against the true ones: rank_correlation (Spearman), "
    "calibration_error (gap of the means over 10 bins of equal count), absolute_error and mean_error (predicted less true).",
    "calibration": "On how many thirds the ece lies within what 95 of 100 perfectly calibrated models would show, and their mean ece.",
    "reasons": "Shares of applicants whose reasons stay: asked twice (same_input), and after every amount moved by 1 %: the strongest "
    "(first), all of them (set), the side of the good payer's on which they lie (direction).",
    "fairness": "Groups by the protected columns, of 30 or more, a third each: approved_gap is the share approved of those who paid back "
    "less that of everybody else, calibration_gap predicted less seen defaults; surely_largest is what the largest gap is at least.",
    "protected": "Columns that the source has and no model read.",
    "counts": "applications delivered, known: those with an outcome, defaults among these, columns read, thirds asked.",
}


def evaluate_risk(
    *,
    source: str,
    data: Path | str | None,
    seed: int = 7,
    thirds: int = 3,
    epochs: int | None = None,
    protected: bool = False,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """`auc`, `ece`, `brier`, `logloss` of the probability of default: means over `thirds` stratified thirds, with corrected t intervals.

    Boosted trees, tuned inside each learning part, and a logistic regression are fitted on the same rows and columns. The columns that the
    credit policy protects are not read, unless `protected`; fairness is measured by them all the same. Seeds are `seed`, `seed + 1`, ...
    On the simulated shop the probabilities are also held against the true ones, after the last model was fitted. `meaning` says what each
    part of the object is.
    """
    started = time.monotonic()
    import numpy as np

    from training import metrics, splits
    from training.baselines import logistic_regression
    from training.credit import fit_credit
    from training.credit_baselines import best_of, boosted, tune
    from training.credit_columns import CreditColumns
    from training.credit_config import CreditConfig
    from training.credit_evidence import calibrated_ece, fairness, figures, reason_stability, surely, traits_of
    from training.credit_policy import credit_policy

    rows = required(landing_tables(source, data, seed, ("credit_applications",), SHOP), "credit_applications", source).to_pandas()
    rows = rows.sort_values("ds", kind="stable").drop_duplicates("application_id", keep="last")
    told = len(rows)
    rows = rows[rows["defaulted"].notna()].reset_index(drop=True)
    rows["defaulted"] = rows["defaulted"].astype(float)
    truth = rows["defaulted"].to_numpy()
    if min(truth.sum(), len(truth) - truth.sum()) < LEAST_OF_EACH:
        raise CannotEvaluate(
            f"Both outcomes need {LEAST_OF_EACH} applications. Source {source} gave {int(truth.sum())} defaults among {len(truth)}."
        )
    policy = credit_policy()
    offered = [name for name in ("amount", *(name for name in rows if name.startswith("x_"))) if rows[name].notna().any()]
    names = [name for name in offered if protected or name not in policy.protected]
    config = CreditConfig(epochs=epochs) if epochs else CreditConfig()
    columns = CreditColumns.of(rows, names, config.max_values)
    inputs = columns.inputs(rows)
    x = np.column_stack([inputs["numbers"], inputs["words"]])
    one_hot = [np.eye(size)[inputs["words"][:, place]] for place, size in enumerate(columns.sizes)]
    spread = np.column_stack([np.nan_to_num(inputs["numbers"]), *one_hot])

    booster = "hist_gradient_boosting"
    found: dict[str, list[dict[str, float]]] = {"risk": [], "tuned_boosted_trees": [], "logistic_regression": []}
    perfect, stability, gaps, inside = [], [], [], 0
    answers: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []  # the rows of each third and what each model said of them
    seeds = [seed + third for third in range(thirds)]
    for third, third_seed in enumerate(seeds):
        is_asked = splits.folds_of(truth, 3, third_seed) == 0
        learn, asked = (rows[part].reset_index(drop=True) for part in (~is_asked, is_asked))
        credit = fit_credit(learn, names, config, third_seed, log)
        best = best_of(tune(booster, x[~is_asked], truth[~is_asked], list(range(TRIALS)), third_seed, folds=3))
        chances = {
            "risk": credit.predict(asked),
            "tuned_boosted_trees": boosted(
                booster, best["params"], best["rounds"], x[~is_asked], truth[~is_asked], x[is_asked], third_seed
            ),
            "logistic_regression": logistic_regression(spread[~is_asked], truth[~is_asked], spread[is_asked])[:, 1],
        }
        answers.append((is_asked, chances))
        for name, one in chances.items():
            found[name].append(figures(truth[is_asked], one))
        calibrated = calibrated_ece(chances["risk"], third_seed)
        perfect.append(calibrated["mean"])
        inside += found["risk"][-1]["ece"] <= calibrated["high"]
        own = {name: values[:ASKED_REASONS] for name, values in credit.columns.inputs(asked).items()}
        least = policy.least_points / policy.points_per_log_odds
        stability.append(reason_stability(own, credit.reference, credit.columns, credit.log_odds, least, third_seed))
        traits = traits_of(asked, [name for name in policy.protected if name in asked])
        gaps += [{"third": third + 1, **row} for row in fairness(traits, truth[is_asked], chances["risk"], policy.approve_below)]
        if log:
            log(f"third {third + 1} of {thirds}: " + ", ".join(f"{name} AUC {one[-1]['auc']:.4f}" for name, one in found.items()))
    differences = {
        name: over_splits([{"auc": own["auc"] - other["auc"]} for own, other in zip(found["risk"], part, strict=True)], 1 / 3)
        for name, part in found.items()
        if name != "risk"
    }
    averaged = {name: over_splits(part, 1 / 3) for name, part in found.items()}
    beside_truth: dict[str, Any] = {}
    if source == "shop":
        from training.oracle import ORACLE, shop_credit_risk

        known = shop_credit_risk(seed, SHOP).set_index("application_id")["default_probability"]
        risk = rows["application_id"].map(known).to_numpy(float)
        averaged[ORACLE] = over_splits([figures(truth[is_asked], risk[is_asked]) for is_asked, _ in answers], 1 / 3)
        beside_truth = {
            name: over_splits([_against(risk[is_asked], chances[name], metrics.ece) for is_asked, chances in answers], 1 / 3)
            for name in found
        }
    return evaluation(
        started,
        source=source,
        is_simulated=source == "shop",
        meaning=MEANING,
        metrics=averaged.pop("risk"),
        baselines=averaged,
        true_risk=beside_truth,
        differences=differences,
        calibration={"thirds_within_95%_of_a_calibrated_model": int(inside), "ece_of_a_calibrated_model": float(np.mean(perfect))},
        reasons={key: float(np.mean([one[key] for one in stability])) for key in stability[0]},
        fairness={
            "surely_largest": {kind: max((surely(row[kind]) for row in gaps), default=0.0) for kind in ("approved_gap", "calibration_gap")},
            "groups": gaps,
        },
        seeds=seeds,
        counts={"applications": told, "known": len(truth), "defaults": int(truth.sum()), "columns": len(names), "thirds": thirds},
        protected=[name for name in offered if name not in names],
        targets_sha256=splits.targets_sha256(rows["application_id"], truth.astype(int)),
    )


def _against(risk: "np.ndarray", chances: "np.ndarray", gap: "Callable[[np.ndarray, np.ndarray], float]") -> dict[str, float]:
    """How probabilities of default lie to the true ones, `(rows,)` both."""
    from scipy.stats import spearmanr

    return {
        "rank_correlation": float(spearmanr(chances, risk).statistic),
        "calibration_error": gap(risk, chances),
        "absolute_error": float(abs(chances - risk).mean()),
        "mean_error": float((chances - risk).mean()),
    }
