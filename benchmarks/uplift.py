"""Uplift beside S-, T-, X- and DR-learners, written to `docs/benchmarks.md`: `python -m benchmarks.uplift --data shared/data/hillstrom`.

Hillstrom's e-mails: stratified 50/50 splits, every learner fitted on one half and asked about the other, by scikit-uplift's functions
(`strategy='by_group'`). Women's e-mail and visit is the main table; the other e-mail and conversion stand beside it, and what choosing an
arm for everybody is worth. Settings of the learners are chosen beforehand by five folds inside the training halves of other splits
(`CHOOSING`), by mean Qini; Portrait is as it ships, and test halves choose nothing. A split's figures are written when they are there, and
a run that was cut off goes on where it stopped, learner by learner; `--page` writes the page from them.

Needs no TensorFlow: `KERAS_BACKEND=jax`.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.page import circumstances

SEED = 7
MAIN = "womens_email visited"
ROWS = (MAIN, "mens_email visited", "womens_email converted", "mens_email converted")
OWN = "Portrait"
CHOOSING, FOLDS = (1001, 1002, 1003, 1004), 5  # splits on whose training halves settings are chosen
#: What is chosen from, settings of Boosting.
BOOSTINGS: dict[str, dict[str, Any]] = {
    "scikit-learn's defaults": {},
    "slower": {"learning_rate": 0.05, "max_leaf_nodes": 15},
    "small trees": {"learning_rate": 0.05, "max_leaf_nodes": 4, "min_samples_leaf": 200},
    "fewer small trees": {"max_iter": 50, "learning_rate": 0.05, "max_leaf_nodes": 4, "min_samples_leaf": 200},
    "fewer trees": {"max_iter": 50, "learning_rate": 0.05, "max_leaf_nodes": 8, "min_samples_leaf": 100},
}
CHOICES = ("Portrait's choice", "T-learner's choice", "the men's e-mail for all", "the women's e-mail for all", "nothing for all")


def campaign(data: Path) -> Any:
    """The rows of Hillstrom's file, outcomes as numbers."""
    from sources import hillstrom

    rows = hillstrom.read(data, SEED, {})["campaign_exposures"].to_pandas()
    return rows.astype({"visited": float, "converted": float, "spend": float})


def strata(rows: Any, outcome: str) -> Any:
    import numpy as np

    return np.char.add(rows["treatment"].to_numpy(str), rows[outcome].to_numpy(str))


def pair_of(rows: Any, name: str) -> tuple[Any, Any, Any, Any, str]:
    """Rows of one e-mail and of none, their covariates as a matrix, whether they got it, the outcome, and its name."""
    import pandas as pd

    treatment, outcome = name.split()
    rows = rows[rows["treatment"].isin([treatment, "control"])].reset_index(drop=True)
    matrix = pd.get_dummies(rows[covariates_of(rows)], dtype=float).to_numpy(float)
    return rows, matrix, (rows["treatment"] == treatment).to_numpy(), rows[outcome].to_numpy(), outcome


def covariates_of(rows: Any) -> list[str]:
    return [column for column in rows.columns if column.startswith("x_")]


def own_effects(learn: Any, asked: Any, name: str, seed: int) -> Any:
    """Portrait's effects on the rows `asked`, `(rows,)`."""
    from training.uplift import fit_uplift
    from training.uplift_config import UpliftConfig

    treatment, outcome = name.split()
    learn, asked = learn.reset_index(drop=True), asked.reset_index(drop=True)
    return fit_uplift(learn, [treatment], [outcome], covariates_of(learn), UpliftConfig(), seed).predict(asked)[outcome].mean[:, 0]


def learner_effects(learner: str, boosting: dict[str, Any], matrix: Any, target: Any, is_treated: Any, asked: Any, seed: int) -> Any:
    """A learner's effects on the rows `asked`, fitted on the others, `(rows,)`; an e-mail and none were equally likely."""
    import numpy as np

    from training.uplift_learners import LEARNERS, Boosting, Taught

    learn = Taught(matrix[~asked], target[~asked], is_treated[~asked], np.full(int((~asked).sum()), 0.5))
    return LEARNERS[learner](learn, matrix[asked], Boosting(**boosting), seed)


def validated(data: Path, seed: int, who: str, setting: str) -> list[float]:
    """Mean uplift@30% and Qini over the folds of one split's training half, of a learner with one of the settings."""
    import numpy as np

    from training import metrics
    from training.splits import folds_of

    rows, matrix, is_treated, target, outcome = pair_of(campaign(data), MAIN)
    half = np.flatnonzero(folds_of(strata(rows, outcome), 2, seed) != 0)
    rows, matrix, is_treated, target = rows.iloc[half].reset_index(drop=True), matrix[half], is_treated[half], target[half]
    fold, found = folds_of(strata(rows, outcome), FOLDS, seed), []
    for one in range(FOLDS):
        asked = fold == one
        effect = learner_effects(who, BOOSTINGS[setting], matrix, target, is_treated, asked, seed)
        figures = metrics.uplift(target[asked].astype(int), effect, is_treated[asked])
        found.append([figures["uplift@30%"], figures["qini"]])
    return [float(value) for value in np.mean(found, axis=0)]


def choose(data: Path, pool: Any) -> dict[str, dict[str, list[float]]]:
    """Of each learner, what every setting reached by validation: mean uplift@30% and Qini over CHOOSING."""
    import numpy as np

    from training.uplift_learners import LEARNERS

    waiting = {
        (who, setting): [pool.apply_async(validated, (data, seed, who, setting)) for seed in CHOOSING]
        for who in LEARNERS
        for setting in BOOSTINGS
    }
    found: dict[str, dict[str, list[float]]] = {who: {} for who in LEARNERS}
    for (who, setting), jobs in waiting.items():
        found[who][setting] = [float(value) for value in np.mean([job.get() for job in jobs], axis=0)]
        print(f"{who}, {setting}: uplift@30% {found[who][setting][0]:.4f}, qini {found[who][setting][1]:.4f}", flush=True)
    return found


def best(chosen: dict[str, dict[str, list[float]]], who: str) -> str:
    """The setting of the greatest Qini."""
    return max(chosen[who], key=lambda setting: chosen[who][setting][1])


def one_row(rows: Any, name: str, seed: int, chosen: dict[str, Any], known: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Figures of every learner on one split's held-out half, beside those `known`: uplift@30%, qini, auuc, how right the effects are."""
    import numpy as np

    from training import metrics
    from training.effect_measures import effect_error, tenths_of
    from training.splits import folds_of
    from training.uplift_learners import LEARNERS

    rows, matrix, is_treated, target, outcome = pair_of(rows, name)
    asked = folds_of(strata(rows, outcome), 2, seed) == 0
    learners = {f"{who}, chosen": (who, BOOSTINGS[best(chosen, who)]) for who in LEARNERS}
    if name == MAIN:
        learners |= {f"{who}, untuned": (who, BOOSTINGS["scikit-learn's defaults"]) for who in LEARNERS}
    jobs: dict[str, Callable[[], Any]] = {OWN: lambda: own_effects(rows[~asked], rows[asked], name, seed)}
    for label, (who, boosting) in learners.items():
        jobs[label] = partial(learner_effects, who, boosting, matrix, target, is_treated, asked, seed)
    middle = (target[asked & is_treated].mean() + target[asked & ~is_treated].mean()) / 2
    measured = np.where(is_treated[asked], 2.0, -2.0) * (target[asked] - middle)
    found = {}
    for who, job in jobs.items():
        if who in known:
            found[who] = known[who]
            continue
        started = time.process_time()
        effect = job()
        seconds = time.process_time() - started
        figures = metrics.uplift(target[asked].astype(int), effect, is_treated[asked])
        found[who] = figures | effect_error(tenths_of(effect, measured)) | {"cpu_seconds": seconds}
    return found


def choice(rows: Any, seed: int, chosen: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Share of visits in the held-out half if everybody got the arm that a model prefers: inverse propensities, and doubly robust."""
    import numpy as np
    import pandas as pd

    from training.effect_measures import policy_value
    from training.splits import folds_of
    from training.uplift import CONTROL, fit_uplift
    from training.uplift_config import UpliftConfig
    from training.uplift_learners import Boosting, expected_outcome

    covariates, boosting = covariates_of(rows), Boosting(**BOOSTINGS[best(chosen, "t_learner")])
    arms = [CONTROL, "mens_email", "womens_email"]
    arm = pd.Index(arms).get_indexer(pd.Index(rows["treatment"].to_numpy(object)))
    is_asked = folds_of(strata(rows, "visited"), 2, seed) == 0
    learn, asked = rows[~is_asked].reset_index(drop=True), rows[is_asked].reset_index(drop=True)
    matrix, visited = pd.get_dummies(rows[covariates], dtype=float).to_numpy(float), rows["visited"].to_numpy()
    effects = fit_uplift(learn, arms[1:], ["visited"], covariates, UpliftConfig(), seed).predict(asked)["visited"].mean
    expected = np.column_stack(
        [
            expected_outcome(matrix[rows_of], visited[rows_of], matrix[is_asked], boosting, seed)
            for rows_of in ((~is_asked) & (arm == one) for one in range(len(arms)))
        ]
    )
    chances = np.full((len(asked), 3), 1 / 3)
    fixed = {name: np.full(len(asked), at) for name, at in zip(CHOICES[2:], (1, 2, 0), strict=True)}
    policies = {CHOICES[0]: np.where(effects.max(axis=1) > 0, effects.argmax(axis=1) + 1, 0), CHOICES[1]: expected.argmax(axis=1)} | fixed
    return {
        who: {
            "visits": policy_value(own, arm[is_asked], chances, visited[is_asked])["mean"],
            "visits, doubly robust": policy_value(own, arm[is_asked], chances, visited[is_asked], expected)["mean"],
        }
        for who, own in policies.items()
    }


def one_split(data: Path, seed: int, names: tuple[str, ...], chosen: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    rows, figures = campaign(data), known.get("rows", {})
    found = {name: one_row(rows, name, seed, chosen, figures.get(name, {})) for name in names}
    return {"seed": seed, "rows": figures | found, "choice": known.get("choice") or choice(rows, seed, chosen)}


def is_whole(split: dict[str, Any], names: tuple[str, ...]) -> bool:
    """Whether a split of the file has all that is asked."""
    return "choice" in split and all(OWN in split["rows"].get(name, {}) for name in names)


def measure(data: Path, splits: int, out: Path, processes: int, names: tuple[str, ...]) -> dict[str, Any]:
    """Every split that `out` does not have yet, written as soon as it is there."""
    from training.splits import targets_sha256
    from training.uplift_config import UpliftConfig

    rows = campaign(data)
    pair = rows[rows["treatment"].isin(["womens_email", "control"])]
    result: dict[str, Any] = {
        **circumstances(),
        "backend": os.environ["KERAS_BACKEND"],
        "config": UpliftConfig().to_dict(),
        "targets_sha256": targets_sha256(pair["user_id"], pair["visited"].astype(int)),
        "splits": [],
    }
    if out.exists():
        result |= json.loads(out.read_text())
    known = {split["seed"]: split for split in result["splits"]}
    result["splits"] = [split for split in result["splits"] if is_whole(split, names)]
    waits = [seed for seed in range(SEED, SEED + splits) if seed not in known or not is_whole(known[seed], names)]
    started = time.monotonic() - result.get("seconds", 0.0)

    def write() -> None:
        result["seconds"] = round(time.monotonic() - started, 1)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1))

    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        if "chosen" not in result:
            result["chosen"] = choose(data, pool)
            write()
        waiting = [pool.apply_async(one_split, (data, seed, names, result["chosen"], known.get(seed, {}))) for seed in waits]
        for job in waiting:
            result["splits"].append(job.get())
            write()
            own = result["splits"][-1]["rows"][MAIN][OWN]
            print(f"split {len(result['splits'])} of {splits}: uplift@30% {own['uplift@30%']:.4f}, {result['seconds']:.0f} s", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Hillstrom's CSV file or its folder")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--json", type=Path, default=Path("var/benchmarks/uplift.json"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS, help="e-mails and outcomes; the first is the main one")
    parser.add_argument("--shop", action="store_true", help="measure the simulated shop's true effects too (benchmarks/uplift_shop.py)")
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md")
    asked = parser.parse_args()
    result = measure(asked.data, asked.splits, asked.json, asked.processes, tuple(asked.rows))
    if asked.shop:
        from benchmarks.uplift_shop import measure as measure_shop

        result["shop"] = circumstances() | measure_shop()
        asked.json.write_text(json.dumps(result, indent=1))
    from benchmarks.uplift_page import text

    print(text(result))
    if asked.page:
        from benchmarks.page import write_part

        write_part("uplift", text(result))


if __name__ == "__main__":
    # One thread a process: the splits are the parallel part, and the networks are small.
    os.environ |= {"OMP_NUM_THREADS": "1", "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "jax"), "JAX_PLATFORMS": "cpu"}
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    main()
