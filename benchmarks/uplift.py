"""Uplift beside S-, T-, X- and DR-learners, written to `docs/benchmarks.md`: `python -m benchmarks.uplift --data shared/data/hillstrom`.

Hillstrom's e-mails: stratified 50/50 splits, every learner fitted on one half and asked about the other, by scikit-uplift's functions
(`strategy='by_group'`). Women's e-mail and visit is the main table; the other e-mail and conversion stand beside it, and what choosing an
arm for everybody is worth. Every setting was fixed beforehand on training halves of other splits (docs/marketing-uplift.md). A split's
figures are written when they are there, and a run that was cut off goes on where it stopped; `--page` writes the page from them.

Needs no TensorFlow: `KERAS_BACKEND=jax`.
"""

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

from benchmarks.page import circumstances

SEED = 7
MAIN = "womens_email visited"
ROWS = (MAIN, "mens_email visited", "womens_email converted", "mens_email converted")
OWN = "Portrait"
CHOICES = ("Portrait's choice", "T-learner's choice", "the men's e-mail for all", "the women's e-mail for all", "nothing for all")


def campaign(data: Path) -> Any:
    """The rows of Hillstrom's file, outcomes as numbers."""
    from sources import hillstrom

    rows = hillstrom.read(data, SEED, {})["campaign_exposures"].to_pandas()
    return rows.astype({"visited": float, "converted": float, "spend": float})


def strata(rows: Any, outcome: str) -> Any:
    import numpy as np

    return np.char.add(rows["treatment"].to_numpy(str), rows[outcome].to_numpy(str))


def one_row(rows: Any, name: str, seed: int) -> dict[str, dict[str, float]]:
    """Figures of every learner on one split's held-out half: uplift@30%, qini, auuc, and of Portrait how right its effects are."""
    import numpy as np
    import pandas as pd

    from training import metrics
    from training.effect_measures import effect_error, tenths_of
    from training.splits import folds_of
    from training.uplift import fit_uplift
    from training.uplift_config import UpliftConfig
    from training.uplift_learners import HELD_BACK, LEARNERS, UNTUNED

    treatment, outcome = name.split()
    rows = rows[rows["treatment"].isin([treatment, "control"])].reset_index(drop=True)
    covariates = [column for column in rows.columns if column.startswith("x_")]
    is_asked = folds_of(strata(rows, outcome), 2, seed) == 0
    learn, asked = rows[~is_asked].reset_index(drop=True), rows[is_asked].reset_index(drop=True)
    matrix = pd.get_dummies(rows[covariates], dtype=float).to_numpy(float)
    is_treated, target = (rows["treatment"] == treatment).to_numpy(), rows[outcome].to_numpy()

    started = time.process_time()
    fitted = fit_uplift(learn, [treatment], [outcome], covariates, UpliftConfig(), seed)
    predicted = {OWN: fitted.predict(asked)[outcome].mean[:, 0]}
    seconds = {OWN: time.process_time() - started}
    for form, boosting in (("untuned", UNTUNED), ("held back", HELD_BACK)):
        for learner, effect in LEARNERS.items():
            started = time.process_time()
            own = matrix[~is_asked], target[~is_asked], is_treated[~is_asked], np.full(len(learn), 0.5)
            predicted[f"{learner}, {form}"] = effect(*own, matrix[is_asked], boosting, seed)
            seconds[f"{learner}, {form}"] = time.process_time() - started
    found = {
        who: metrics.uplift(target[is_asked], effect, is_treated[is_asked]) | {"cpu_seconds": seconds[who]}
        for who, effect in predicted.items()
    }
    weight = np.where(is_treated[is_asked], 2.0, -2.0)
    middle = (target[is_asked & is_treated].mean() + target[is_asked & ~is_treated].mean()) / 2
    for effect in found:
        found[effect] |= effect_error(tenths_of(predicted[effect], weight * (target[is_asked] - middle)))
    return found


def choice(rows: Any, seed: int) -> dict[str, dict[str, float]]:
    """Share of visits in the held-out half if everybody got the arm that a model prefers: inverse propensities, and doubly robust."""
    import numpy as np
    import pandas as pd

    from training.effect_measures import policy_value
    from training.splits import folds_of
    from training.uplift import CONTROL, fit_uplift
    from training.uplift_config import UpliftConfig
    from training.uplift_learners import HELD_BACK, expected_outcome

    covariates = [column for column in rows.columns if column.startswith("x_")]
    arms = [CONTROL, "mens_email", "womens_email"]
    arm = pd.Index(arms).get_indexer(pd.Index(rows["treatment"].to_numpy(object)))
    is_asked = folds_of(strata(rows, "visited"), 2, seed) == 0
    learn, asked = rows[~is_asked].reset_index(drop=True), rows[is_asked].reset_index(drop=True)
    matrix, visited = pd.get_dummies(rows[covariates], dtype=float).to_numpy(float), rows["visited"].to_numpy()
    effects = fit_uplift(learn, arms[1:], ["visited"], covariates, UpliftConfig(), seed).predict(asked)["visited"].mean
    expected = np.column_stack(
        [
            expected_outcome(matrix[rows_of], visited[rows_of], matrix[is_asked], HELD_BACK, seed)
            for rows_of in ((~is_asked) & (arm == one) for one in range(len(arms)))
        ]
    )
    chances = np.full((len(asked), 3), 1 / 3)
    fixed = {name: np.full(len(asked), at) for name, at in zip(CHOICES[2:], (1, 2, 0), strict=True)}
    chosen = {CHOICES[0]: np.where(effects.max(axis=1) > 0, effects.argmax(axis=1) + 1, 0), CHOICES[1]: expected.argmax(axis=1)} | fixed
    return {
        who: {
            "visits": policy_value(own, arm[is_asked], chances, visited[is_asked])["mean"],
            "visits, doubly robust": policy_value(own, arm[is_asked], chances, visited[is_asked], expected)["mean"],
        }
        for who, own in chosen.items()
    }


def one_split(data: Path, seed: int, names: tuple[str, ...]) -> dict[str, Any]:
    rows = campaign(data)
    return {"seed": seed, "rows": {name: one_row(rows, name, seed) for name in names}, "choice": choice(rows, seed)}


def measure(data: Path, splits: int, out: Path, processes: int, names: tuple[str, ...]) -> dict[str, Any]:
    """Every split that `out` does not have yet, written as soon as it is there."""
    from training.splits import targets_sha256

    rows = campaign(data)
    pair = rows[rows["treatment"].isin(["womens_email", "control"])]
    result: dict[str, Any] = {
        **circumstances(),
        "backend": os.environ["KERAS_BACKEND"],
        "targets_sha256": targets_sha256(pair["user_id"], pair["visited"].astype(int)),
        "splits": [],
    }
    if out.exists():
        result["splits"] = json.loads(out.read_text())["splits"]
    done = {split["seed"] for split in result["splits"]}
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=None) as pool:
        waiting = [pool.apply_async(one_split, (data, seed, names)) for seed in range(SEED, SEED + splits) if seed not in done]
        for job in waiting:
            result["splits"].append(job.get())
            result["seconds"] = round(time.monotonic() - started, 1)
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(result, indent=1))
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
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md")
    asked = parser.parse_args()
    result = measure(asked.data, asked.splits, asked.json, asked.processes, tuple(asked.rows))
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
