"""What the credit model must beat: boosted trees tuned by random search, and a public scorecard library.

Imports nothing of Portrait, so that an environment that has only a peer's library can run it as a file:
`python training/credit_baselines.py JOB.npz`, with `x`, `labels`, `learn`, `asked` and a JSON `job` inside, prints one JSON object.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

MOST_ROUNDS, STOP_ROUNDS = 1500, 60
BOOSTERS = ("hist_gradient_boosting", "lightgbm", "xgboost")
SCORECARD = "optbinning_scorecard"

Params = dict[str, Any]


def trial(model: str, number: int, seed: int) -> Params:
    """The `number`th setting of the random search, the same for every run of a seed; number 0 is a customary one."""
    draw = np.random.default_rng([seed, number, BOOSTERS.index(model)])

    def among(low: float, high: float) -> float:
        return round(float(np.exp(draw.uniform(np.log(low), np.log(high)))), 4)

    rate, leaves, least, l2 = among(0.01, 0.07), int(among(6, 48)), int(among(8, 200)), among(0.1, 30)
    columns, rows, depth = round(draw.uniform(0.3, 1), 3), round(draw.uniform(0.6, 1), 3), int(draw.integers(3, 8))
    if number == 0:
        rate, leaves, least, l2, columns, rows, depth = 0.05, 15, 20, 1.0, 0.8, 0.8, 4
    if model == "hist_gradient_boosting":
        return {
            "learning_rate": rate,
            "max_leaf_nodes": leaves,
            "min_samples_leaf": least,
            "l2_regularization": l2,
            "max_features": columns,
        }
    if model == "lightgbm":
        tree = {"learning_rate": rate, "num_leaves": leaves, "min_child_samples": least, "lambda_l2": l2}
        return tree | {"feature_fraction": columns, "bagging_fraction": rows, "bagging_freq": 1}
    tree = {"eta": rate, "max_depth": depth, "min_child_weight": round(least / 4, 2), "reg_lambda": l2}
    return tree | {"colsample_bytree": columns, "subsample": rows, "max_bin": 256}


def tune(
    model: str, x: np.ndarray, truth: np.ndarray, numbers: list[int], seed: int, folds: int = 5, threads: int = 1
) -> list[dict[str, Any]]:
    """For each of the settings `numbers`: its `params`, the mean `rounds` that were best, and mean `logloss` over the folds."""
    from sklearn.model_selection import StratifiedKFold

    parts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, truth))
    found = []
    for number in numbers:
        params = trial(model, number, seed)
        tried = [_stopped(model, params, x[learn], truth[learn], x[held], truth[held], seed, threads) for learn, held in parts]
        rounds, losses = zip(*tried, strict=True)
        found.append({"params": params, "rounds": int(np.mean(rounds)), "logloss": float(np.mean(losses))})
    return found


def best_of(tried: list[dict[str, Any]]) -> dict[str, Any]:
    """The setting of least log-loss on rows kept out."""
    return min(tried, key=lambda one: one["logloss"])


def boosted(
    model: str, params: Params, rounds: int, x: np.ndarray, truth: np.ndarray, asked: np.ndarray, seed: int, threads: int = 1
) -> np.ndarray:
    """Probability of default `(asked rows,)`."""
    if model == "hist_gradient_boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier

        forest = HistGradientBoostingClassifier(**params, max_iter=rounds, early_stopping=False, random_state=seed)
        with threadpool_limits(threads, user_api="openmp"):
            return forest.fit(x, truth).predict_proba(asked)[:, 1]
    if model == "lightgbm":
        import lightgbm

        fixed = {"objective": "binary", "verbose": -1, "num_threads": threads, "seed": seed}
        return np.asarray(lightgbm.train(params | fixed, lightgbm.Dataset(x, truth), rounds).predict(asked))
    import xgboost

    fixed = {"objective": "binary:logistic", "nthread": threads, "seed": seed, "tree_method": "hist"}
    trees = xgboost.train(params | fixed, xgboost.DMatrix(x, truth), rounds)
    return np.asarray(trees.predict(xgboost.DMatrix(asked)))


def scorecard(x: np.ndarray, truth: np.ndarray, asked: np.ndarray, names: list[str]) -> np.ndarray:
    """Probability of default by optbinning: optimal bins, weights of evidence, logistic regression."""
    import pandas as pd
    from optbinning import BinningProcess, Scorecard
    from sklearn.linear_model import LogisticRegression

    bins = BinningProcess(names, selection_criteria={"iv": {"min": 0.01}})
    card = Scorecard(binning_process=bins, estimator=LogisticRegression(max_iter=1000))
    card.fit(pd.DataFrame(x, columns=names), truth)
    return np.asarray(card.predict_proba(pd.DataFrame(asked, columns=names))[:, 1])


def _stopped(
    model: str, params: Params, x: np.ndarray, truth: np.ndarray, held: np.ndarray, wanted: np.ndarray, seed: int, threads: int
) -> tuple[int, float]:
    """The best number of rounds and the log-loss there."""
    losses: list[float]
    if model == "hist_gradient_boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier

        forest = HistGradientBoostingClassifier(
            **params, max_iter=MOST_ROUNDS, early_stopping=True, n_iter_no_change=STOP_ROUNDS, scoring="loss", random_state=seed
        )
        with threadpool_limits(threads, user_api="openmp"):
            forest.fit(x, truth, X_val=held, y_val=wanted)
        losses = list(-forest.validation_score_[1:])  # the first is before any round
    elif model == "lightgbm":
        import lightgbm

        fixed = {"objective": "binary", "metric": "binary_logloss", "verbose": -1, "num_threads": threads, "seed": seed}
        learn = lightgbm.Dataset(x, truth)
        kept: dict[str, Any] = {}
        calls: list[Callable[..., Any]] = [lightgbm.early_stopping(STOP_ROUNDS, verbose=False), lightgbm.record_evaluation(kept)]
        lightgbm.train(params | fixed, learn, MOST_ROUNDS, valid_sets=[lightgbm.Dataset(held, wanted, reference=learn)], callbacks=calls)
        losses = kept["valid_0"]["binary_logloss"]
    else:
        import xgboost

        fixed = {"objective": "binary:logistic", "nthread": threads, "seed": seed, "tree_method": "hist", "eval_metric": "logloss"}
        kept = {}
        asked = xgboost.DMatrix(held, wanted)
        xgboost.train(
            params | fixed,
            xgboost.DMatrix(x, truth),
            MOST_ROUNDS,
            evals=[(asked, "held")],
            early_stopping_rounds=STOP_ROUNDS,
            evals_result=kept,
            verbose_eval=False,
        )
        losses = kept["held"]["logloss"]
    return int(np.argmin(losses)) + 1, float(np.min(losses))


def main(path: str) -> None:
    with np.load(path) as given:
        x, truth, learn, asked, job = given["x"], given["labels"], given["learn"], given["asked"], json.loads(str(given["job"]))
    if job["do"] == "tune":
        answer: Any = tune(job["model"], x[learn], truth[learn], job["numbers"], job["seed"])
    elif job["model"] == SCORECARD:
        answer = scorecard(x[learn], truth[learn], x[asked], job["names"]).tolist()
    else:
        answer = boosted(job["model"], job["params"], job["rounds"], x[learn], truth[learn], x[asked], job["seed"]).tolist()
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
