"""Credit default on ten stratified thirds of the Taiwan file, beside tuned boosting: `python -m benchmarks.credit --data FILE --json OUT`.

First every model is tuned on the learning part of a split of another seed, by rows kept out of it; then each third is asked once. The
network runs in this process, on whatever KERAS_BACKEND gives; the peers run in processes of their own, with `--peers PYTHON` and
`--scorecard PYTHON` in environments of their own (`requirements/risk_peers.in`). What is done is kept in OUT after every third, and a run
that was stopped goes on from there. `--page OUT` writes the kept result to docs/benchmarks.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

from benchmarks.page import circumstances, write_part
from sources.credit_default import read
from training import credit_baselines
from training.baselines import logistic_regression
from training.credit_baselines import BOOSTERS, SCORECARD, best_of
from training.credit_columns import CreditColumns
from training.credit_config import CreditConfig
from training.credit_evidence import calibrated_ece, fairness, figures, reason_stability, traits_of
from training.credit_policy import POLICY_FILE, credit_policy
from training.metrics import over_splits
from training.splits import folds_of

SEED, TUNING_SEED = 7, 101
TRIALS, TRIALS_A_JOB = 24, 3
#: The network before tuning, and the changes that are tried one after another; each stays if it lowers the log-loss on rows kept out.
START = CreditConfig(members=32, number_dim=12, projected=192, hidden=192, patience=8, learning_rate=1e-3)
CHANGES: list[dict[str, Any]] = [
    {"derives": False},
    {"dropout": 0.35},
    {"projected": 96, "hidden": 96},
    {"layers": 3},
    {"learning_rate": 2e-3},
    {"weight_decay": 0.03},
    {"bins": 16},
    {"number_dim": 24},
    {"parts": 10},
    {"number_dim": 48},
    {"bins": 8},
    {"weight_decay": 0.1},
    {"dropout": 0.1},
    {"batch": 512},
    {"learning_rate": 5e-4},
]
REPEATS = 3  # divisions into parts in the thirds: more of them only average more
DERIVED = "lightgbm, derived columns"
ASKED_REASONS = 200


class Benchmark:
    """One run and what is kept of it."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.kept = given, json.loads(given.json.read_text()) if given.json.exists() else {"thirds": {}, "tuning": {}}
        rows = read(given.data, SEED, {})["credit_applications"].to_pandas()
        if given.rows:
            rows = rows.sample(given.rows, random_state=SEED).reset_index(drop=True)
        self.frame = rows.assign(defaulted=rows["defaulted"].astype(float))
        self.truth = self.frame["defaulted"].to_numpy()
        self.names = ["amount", *(name for name in rows if name.startswith("x_"))]
        self.policy = credit_policy(POLICY_FILE)
        columns = CreditColumns.of(self.frame, self.names, 30)
        self.column_names = list(columns.names)
        inputs = columns.inputs(self.frame)
        self.x = np.column_stack([inputs["numbers"], inputs["words"]])
        self.one_hot = np.column_stack(
            [inputs["numbers"], *(np.eye(size)[inputs["words"][:, place]] for place, size in enumerate(columns.sizes))]
        )
        self.derived = np.column_stack([derived_columns(columns, inputs["numbers"]), inputs["words"]])
        self.folder = Path(tempfile.mkdtemp(prefix="portrait-credit-"))
        self.pool = ThreadPoolExecutor(given.processes)

    def keep(self) -> None:
        beside = self.given.json.with_suffix(".tmp")
        beside.write_text(json.dumps(self.kept, indent=1))
        beside.replace(self.given.json)

    def ask(self, job: dict[str, Any], learn: np.ndarray, asked: np.ndarray, *, is_derived: bool = False) -> "Future[Any]":
        """A peer's answer, from a process of its own; None where its library is not there."""
        python = self.given.scorecard if job["model"] == SCORECARD else self.given.peers

        def run() -> Any:
            handle, path = tempfile.mkstemp(".npz", dir=self.folder)
            os.close(handle)
            x = self.derived if is_derived else self.x
            np.savez(path, x=x, labels=self.truth, learn=learn, asked=asked, job=json.dumps(job))
            environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
            command = [python, "-P", credit_baselines.__file__, path]  # not beside training/numbers.py
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            Path(path).unlink()
            if done.returncode:
                print(f"{job['model']}: {done.stderr.strip().splitlines()[-1]}", flush=True)
                return None
            return json.loads(done.stdout)

        return self.pool.submit(run)

    def tune(self) -> None:
        """Settings of every model, chosen by rows kept out of the learning part of a split of another seed."""
        learn = np.flatnonzero(folds_of(self.truth, 3, TUNING_SEED) != 0)
        peers: dict[str, list[Future[Any]]] = {}
        for name in (*BOOSTERS, DERIVED):
            if name not in self.kept["tuning"]:
                model = "lightgbm" if name == DERIVED else name
                jobs = [
                    {
                        "do": "tune",
                        "model": model,
                        "numbers": list(range(at, min(at + TRIALS_A_JOB, self.given.trials))),
                        "seed": TUNING_SEED,
                    }
                    for at in range(0, self.given.trials, TRIALS_A_JOB)
                ]
                peers[name] = [self.ask(job, learn, learn, is_derived=name == DERIVED) for job in jobs]
        self.tune_network(learn)
        for name, found in peers.items():
            answers = [one.result() for one in found]
            if all(answer is not None for answer in answers):
                self.kept["tuning"][name] = [setting for answer in answers for setting in answer]
                self.keep()

    def tune_network(self, learn: np.ndarray) -> None:
        tried: list[dict[str, Any]] = self.kept["tuning"].setdefault("network", [])
        rows, began = self.frame.iloc[learn].reset_index(drop=True), time.monotonic()
        configs: list[dict[str, Any]] = [{}, *CHANGES]
        for number in range(len(tried), len(configs)):
            if time.monotonic() - began > self.given.tune_seconds:
                break
            config = self.network(tried) | configs[number]
            started = time.monotonic()
            model = fit(rows, self.names, CreditConfig(**config), TUNING_SEED)
            found = figures(rows["defaulted"].to_numpy(), model.unseen)
            tried.append({"change": configs[number], "config": config, **found, "seconds": round(time.monotonic() - started, 1)})
            print(
                f"network {configs[number]}: log-loss {found['logloss']:.5f}, AUC {found['auc']:.5f}, {tried[-1]['seconds']} s", flush=True
            )
            self.keep()

    def network(self, tried: list[dict[str, Any]]) -> dict[str, Any]:
        """The best config tried so far."""
        start = START.to_dict() | json.loads(self.given.start)
        return dict(min(tried, key=lambda one: one["logloss"])["config"]) if tried else start

    def thirds(self) -> None:
        """Every third is asked once, with the settings that were chosen before."""
        config = CreditConfig(**self.network(self.kept["tuning"]["network"]) | {"repeats": self.given.repeats})
        self.kept["config"] = config.to_dict()
        splits = [folds_of(self.truth, 3, SEED + third) == 0 for third in range(self.given.thirds)]
        jobs = [self.peers_of(third, is_asked) for third, is_asked in enumerate(splits)]
        for third, is_asked in enumerate(splits):
            self.third(third, is_asked, config, jobs[third])
            self.keep()

    def peers_of(self, third: int, is_asked: np.ndarray) -> dict[str, "Future[Any]"]:
        done = self.kept["thirds"].get(str(third), {}).get("models", {})
        learn, asked, found = np.flatnonzero(~is_asked), np.flatnonzero(is_asked), {}
        for name in (*BOOSTERS, DERIVED):
            if name not in done and name in self.kept["tuning"]:
                best = best_of(self.kept["tuning"][name])
                model = "lightgbm" if name == DERIVED else name
                job = {"do": "fit", "model": model, "params": best["params"], "rounds": best["rounds"], "seed": SEED + third}
                found[name] = self.ask(job, learn, asked, is_derived=name == DERIVED)
        if SCORECARD not in done and self.given.scorecard:
            found[SCORECARD] = self.ask({"do": "fit", "model": SCORECARD, "names": self.column_names}, learn, asked)
        return found

    def third(self, third: int, is_asked: np.ndarray, config: CreditConfig, peers: dict[str, "Future[Any]"]) -> None:
        kept = self.kept["thirds"].setdefault(str(third), {"models": {}})
        models, truth = kept["models"], self.truth[is_asked]
        learn, asked = (self.frame[part].reset_index(drop=True) for part in (~is_asked, is_asked))
        chances: dict[str, np.ndarray] = {}
        if "logistic_regression" not in models:
            spread = np.nan_to_num(self.one_hot)
            chances["logistic_regression"] = logistic_regression(spread[~is_asked], self.truth[~is_asked], spread[is_asked])[:, 1]
        if "portrait" not in models and not self.given.no_network:
            started = time.monotonic()
            model = fit(learn, self.names, config, SEED + third)
            chances["portrait"] = model.predict(asked)
            kept["seconds"] = round(time.monotonic() - started, 1)
            kept["calibrated_ece"] = calibrated_ece(chances["portrait"], SEED)
            kept["fairness"] = fairness(
                traits_of(asked, list(self.policy.protected)), truth, chances["portrait"], self.policy.approve_below
            )
            inputs = {name: values[:ASKED_REASONS] for name, values in model.columns.inputs(asked).items()}
            least = self.policy.least_points / self.policy.points_per_log_odds
            kept["reasons"] = reason_stability(inputs, model.reference, model.columns, model.log_odds, least, SEED)
        for name, answer in peers.items():
            if (answered := answer.result()) is not None:
                chances[name] = np.array(answered)
        models |= {name: figures(truth, one) for name, one in chances.items()}
        if {"portrait", DERIVED} <= set(chances):
            models["blend of portrait and " + DERIVED] = figures(truth, (chances["portrait"] + chances[DERIVED]) / 2)
        print(f"third {third + 1}: " + ", ".join(f"{name} {one['auc']:.4f}" for name, one in models.items()), flush=True)

    def without_protected(self) -> None:
        """The same network on the columns that may decide, on the same thirds: what the house would serve."""
        names = [name for name in self.names if name not in self.policy.protected]
        config = CreditConfig(**self.kept["config"])
        for third in range(self.given.thirds):
            models = self.kept["thirds"][str(third)]["models"]
            if "portrait, without protected columns" not in models:
                is_asked = folds_of(self.truth, 3, SEED + third) == 0
                learn, asked = (self.frame[part].reset_index(drop=True) for part in (~is_asked, is_asked))
                chances = fit(learn, names, config, SEED + third).predict(asked)
                models["portrait, without protected columns"] = figures(self.truth[is_asked], chances)
                self.kept["thirds"][str(third)]["fairness without protected"] = fairness(
                    traits_of(asked, list(self.policy.protected)), self.truth[is_asked], chances, self.policy.approve_below
                )
                self.keep()


def fit(frame: pd.DataFrame, names: list[str], config: CreditConfig, seed: int) -> Any:
    from training.credit import fit_credit

    return fit_credit(frame, names, config, seed)


def derived_columns(columns: CreditColumns, numbers: np.ndarray) -> np.ndarray:
    """The columns that the network derives from series, as numbers for a peer."""
    from keras import ops

    from training.credit_series import Series, series_features

    return np.asarray(ops.convert_to_numpy(series_features(ops.convert_to_tensor(numbers), Series.of(columns.numbers, numbers))))


def summed(kept: dict[str, Any]) -> dict[str, Any]:
    """Means over the thirds that are done, and Portrait less each peer on the same thirds."""
    thirds = [third["models"] for third in kept["thirds"].values() if "portrait" in third["models"]]
    names = [name for name in thirds[0] if all(name in third for third in thirds)]
    found: dict[str, Any] = {"models": {}, "differences": {}}
    for name in names:
        found["models"][name] = {key: over_splits([third[name][key] for third in thirds], 1 / 3) for key in thirds[0][name]}
        found["differences"][name] = over_splits([third["portrait"]["auc"] - third[name]["auc"] for third in thirds], 1 / 3)
    return found


def page(kept: dict[str, Any]) -> str:
    """The part of docs/benchmarks.md."""
    told, thirds = summed(kept), list(kept["thirds"].values())
    rows = [
        f"| {name} | {one['auc']['mean']:.4f} | {told['differences'][name]['mean']:+.4f} "
        f"({told['differences'][name]['low']:+.4f} to {told['differences'][name]['high']:+.4f}) | {one['ece']['mean']:.4f} | "
        f"{one['brier']['mean']:.4f} | {one['logloss']['mean']:.4f} |"
        for name, one in sorted(told["models"].items(), key=lambda pair: -pair[1]["auc"]["mean"])
    ]
    inside = sum(third["models"]["portrait"]["ece"] <= third["calibrated_ece"]["high"] for third in thirds)
    perfect = np.mean([third["calibrated_ece"]["mean"] for third in thirds])
    reasons = {key: np.mean([third["reasons"][key] for third in thirds]) for key in thirds[0]["reasons"]}
    worst: dict[str, list[float]] = {}
    for third in thirds:
        for one in third.get("fairness without protected", third["fairness"]):
            gap = (one["approved_gap"]["mean"], one["calibration_gap"]["mean"])
            worst.setdefault(f"{one['trait']} {one['value']}", []).append(gap)  # type: ignore[arg-type]
    slices = [f"| {name} | {np.mean(gaps, axis=0)[0]:+.3f} | {np.mean(gaps, axis=0)[1]:+.3f} |" for name, gaps in sorted(worst.items())]
    where = f"{kept['date']}, {kept['machine']}" + (f"; network on {kept['device']}" if kept.get("device") else "")
    return "\n".join(
        [
            "## Credit default",
            "",
            f"`python -m benchmarks.credit --thirds {len(thirds)}`, {where}. Default of credit card clients (Taiwan, 30,000 clients, "
            f"22 % defaults), mean of {len(thirds)} stratified thirds held out, seeds {SEED} to {SEED + len(thirds) - 1}. Every model was "
            f"tuned on rows kept out of the learning part of a split of seed {TUNING_SEED}: the boosters by {kept['trials']} settings of a "
            f"random search, the network by {len(kept['tuning']['network'])} settings; no third was used to choose anything. Differences "
            "have a 95 % interval over splits (Nadeau and Bengio).",
            "",
            "| | AUC | Portrait less this | ECE | Brier | log-loss |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"Portrait's ECE lies within the 95 % range of a perfectly calibrated model on {inside} of {len(thirds)} thirds (such a "
            f"model's own mean is {perfect:.4f}). Reasons, each applicant asked again after every amount moved by 1 %: the first is the "
            f"same for {reasons['first']:.1%}, all for {reasons['set']:.1%}; for the same input {reasons['same_input']:.0%}. A third took "
            f"the network {np.mean([third['seconds'] for third in thirds]):.0f} s.",
            "",
            "Fairness of the network that does not read the protected columns, mean over the thirds: share approved among those who paid "
            "back, less that of everybody else; and predicted less seen defaults.",
            "",
            "| value | approved gap | calibration gap |",
            "| --- | --- | --- |",
            *slices,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="the publisher's CSV, or the folder that holds it")
    parser.add_argument("--json", type=Path, help="where results are kept")
    parser.add_argument("--page", type=Path, help="a kept result to write to docs/benchmarks.md")
    parser.add_argument("--thirds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2, help="peers at once")
    parser.add_argument("--trials", type=int, default=TRIALS, help="settings of each booster")
    parser.add_argument("--tune-seconds", type=float, default=1e9, help="no other network is tried after so long")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--start", default="{}", help="what the network starts from, as JSON, where it is not START")
    parser.add_argument("--peers", default=sys.executable, help="a Python that has lightgbm and xgboost")
    parser.add_argument("--scorecard", help="a Python that has optbinning")
    parser.add_argument("--no-network", action="store_true", help="only what peers lack in a result that is kept")
    parser.add_argument("--rows", type=int, default=0, help="so many rows alone, to try it out")
    given = parser.parse_args()
    if given.page:
        write_part("credit", page(json.loads(given.page.read_text())))
        return
    if not given.data or not given.json:
        parser.error("`--data` and `--json` must both be given, or `--page`.")
    benchmark = Benchmark(given)
    benchmark.tune()
    if "date" not in benchmark.kept:
        benchmark.kept |= {**circumstances(), "trials": given.trials, "device": device()}
    benchmark.thirds()
    if not given.no_network:
        benchmark.without_protected()
    for name, one in summed(benchmark.kept)["models"].items():
        print(f"{name}: AUC {one['auc']['mean']:.4f}, ECE {one['ece']['mean']:.4f}, Brier {one['brier']['mean']:.4f}", flush=True)


def device() -> str:
    """What the network ran on, where it is no CPU."""
    import keras

    if keras.backend.backend() != "jax":
        return ""
    import jax

    return "" if jax.default_backend() == "cpu" else str(jax.devices()[0].device_kind)


if __name__ == "__main__":
    main()
