"""Adult by the GAN, by CTGAN and TVAE, and by SMOTE: train on synthetic, test on real; nearest rows; membership.

`python -m benchmarks.gan --data DIR [--seeds N] [--peers PYTHON] [--search SECONDS] [--minutes M] [--json FILE]`

The training file is cut into four parts to learn from and one to choose by, once. Boosting is tuned on real rows; `--search` also chooses
the GAN's settings there. The test file is read at the end and chooses nothing. The peers work beside; the result is written after every
table, so that a run that is cut is a result. `--page FILE [FILE ...]` writes kept results, of one machine each, to `docs/benchmarks.md`.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from benchmarks.gan_page import MEANING, section
from benchmarks.gan_tables import adult
from benchmarks.page import circumstances, write_part
from training.gan.config import GanConfig
from training.gan.fidelity import fidelity
from training.gan.fit import TrainedGan, fit_gan
from training.gan.privacy import privacy
from training.gan.smote import smote
from training.gan.synthesis import fit_head, synthesis_of
from training.gan.utility import predicted, scores, tune, utility
from training.gan.verdict import sharing
from training.splits import folds_of, targets_sha256

TARGET = "income"
SEED = 7
PEERS = ("CTGAN", "TVAE")
#: What `--search` tries, by a GAN of the first seed and its table on the validation part; each is what it changes of the defaults.
SEARCHED: tuple[dict[str, Any], ...] = (
    {},
    {"learning_rate": 2e-4},
    {"pack": 1},
    {"hidden": 512, "steps": 20000, "learning_rate": 3e-4},
    {"pack": 10},
    {"layers": 3},
)


class Run:
    """One run: the three parts of Adult, what was chosen, and the result so far, written after every step."""

    def __init__(self, data: Path, rows: int | None, out: Path | None, config: GanConfig) -> None:
        whole, self.test = adult(data / "adult-train.csv"), adult(data / "adult-test.csv")
        part = folds_of(whole[TARGET].to_numpy(), 5, SEED)
        self.learn, self.held = (whole[chosen].reset_index(drop=True) for chosen in (part != 0, part == 0))
        if rows:
            self.learn = self.learn.sample(rows, random_state=SEED).reset_index(drop=True)
        self.out, self.started, self.config = out, time.monotonic(), config
        self.choice = tune(self.learn, self.held, TARGET, SEED)
        self.head = fit_head(self.learn, TARGET, SEED)
        self.result: dict[str, Any] = {
            **circumstances(),
            "device": _device(),
            "backend": keras.backend.backend(),
            "keras": keras.__version__,
            "counts": {"learn": len(self.learn), "validation": len(self.held), "test": len(self.test)},
            "targets_sha256": targets_sha256([f"{row:08d}" for row in range(len(self.test))], self.test[TARGET]),
            "boosting": self.choice,
            "search": [],
            "tables": [],
        }

    def log(self, line: str) -> None:
        print(f"{time.monotonic() - self.started:6.1f} s  {line}", flush=True)

    def write(self) -> None:
        self.result["seconds"] = round(time.monotonic() - self.started, 1)
        if self.out:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self.out.write_text(json.dumps(self.result, indent=1))

    def measure(self, name: str, seed: int, made: pd.DataFrame, **more: Any) -> None:
        """One table's figures, on the test file."""
        kept = privacy(self.learn, self.test, made, seed) if name != "real" else {}
        found: dict[str, Any] = {
            "name": name,
            "seed": seed,
            "rows": len(made),
            "utility": utility(made, self.test, TARGET, self.choice, seed),
            "fidelity": fidelity(self.test, made),
            "privacy": kept,
            "sharing": sharing(kept).allowed if kept else None,
            **more,
        }
        self.result["tables"].append(found)
        self.write()
        useful = found["utility"]
        near = f", membership {kept['membership_auc']['mean']:.3f}, closer {kept['closer_to_learned']['mean']:.3f}" if kept else ""
        self.log(
            f"{name} seed {seed}: macro-F1 {useful['macro_f1']['mean']:.4f}, AUC {useful['auc']['mean']:.4f}, "
            f"pairs {found['fidelity']['pairs_tv']:.4f}{near}"
        )

    def search(self, seconds: float) -> GanConfig:
        """The settings with the best AUC and macro-F1 on the validation part, of what fits into so many seconds."""
        best, chosen = -np.inf, self.config
        until = time.monotonic() + seconds
        for change in SEARCHED:
            if self.result["search"] and time.monotonic() > until:
                self.log("no time to try more settings")
                break
            began = time.monotonic()
            config = replace(self.config, **change)
            gan = fit_gan(self.learn, config, SEED, keep=[TARGET])
            truth = self.held[TARGET].to_numpy()
            made = gan.sample_table(len(self.learn), SEED)
            found = scores(truth, *predicted(made, self.held, TARGET, self.choice, SEED))
            value = found["auc"] + found["macro_f1"]
            pairs = fidelity(self.held, made)["pairs_tv"]
            took = round(time.monotonic() - began, 1)
            self.result["search"].append({"change": change, "validation": found, "pairs_tv": pairs, "seconds": took, "curves": gan.curves})
            self.write()
            self.log(
                f"validation of {change or 'defaults'}: AUC {found['auc']:.4f}, macro-F1 {found['macro_f1']:.4f}, "
                f"pairs {pairs:.4f}, {took} s"
            )
            if value > best:
                best, chosen = value, config
        return chosen

    def own(self, seed: int) -> None:
        """The GAN of one seed: by itself, with the judge behind it, and with the head behind both."""
        began, worked = time.monotonic(), time.process_time()
        gan: TrainedGan = fit_gan(self.learn, self.config, seed, keep=[TARGET], log=self.log)
        trained = {"seconds": round(time.monotonic() - began, 1), "cpu_seconds": round(time.process_time() - worked, 1)}
        for name, judged, headed in (("GAN alone", False, False), ("GAN + judge", True, False), ("GAN + judge + head", True, True)):
            began = time.monotonic()
            drawn = synthesis_of(gan, self.learn, seed, TARGET, judged=judged, headed=headed).draw(len(self.learn), seed)
            took = round(time.monotonic() - began, 1)
            self.measure(
                name, seed, drawn.table, **trained, drawing_seconds=took, counts=drawn.counts, curves=gan.curves, restarts=gan.restarts
            )

    def peer(self, name: str, seed: int, made: pd.DataFrame, told: dict[str, Any]) -> None:
        """A peer's table as it is, and with the same head behind it: what the head alone is worth."""
        for column in made.columns:
            if pd.api.types.is_numeric_dtype(self.learn[column]):
                made[column] = pd.to_numeric(made[column], errors="coerce")
            else:
                made[column] = made[column].astype(object).where(made[column].notna() & (made[column] != "None"), None)
        self.measure(name, seed, made, **told)
        drawn = self.head.drawn(made, np.random.default_rng(seed))
        self.measure(f"{name} + head", seed, made.assign(**{TARGET: drawn}), **told)


@contextmanager
def peers(python: Path | None, run: Run, seeds: list[int]) -> Iterator[Callable[[bool], bool]]:
    """The peers at work beside us; the call measures what is new, and says whether more is to come (`wait`: until something is)."""
    with tempfile.TemporaryDirectory(prefix="portrait-gan-") as name:
        folder = Path(name)
        run.learn.to_csv(folder / "learn.csv", index=False)
        given = [str(folder / "learn.csv"), str(folder)]
        script = str(Path(__file__).with_name("gan_peers.py"))
        started = [subprocess.Popen([str(python), script, *given, peer, str(len(run.learn)), *map(str, seeds)]) for peer in PEERS if python]
        done: set[str] = set()

        def collect(wait: bool) -> bool:
            running = any(process.poll() is None for process in started)
            for told in sorted(folder.glob("*.json")):
                if told.stem not in done:
                    done.add(told.stem)
                    peer, seed = told.stem.split("-")
                    run.peer(peer, int(seed), pd.read_csv(told.with_suffix(".csv")), json.loads(told.read_text()))
            if wait and running:
                time.sleep(2)
            return running

        try:
            yield collect
        finally:
            for process in started:
                process.kill()
                process.wait()


def _device() -> str:
    if keras.backend.backend() != "jax":
        return "CPU"
    import jax

    return str(jax.devices()[0].device_kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with adult-train.csv and adult-test.csv")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peers", type=Path, help="a Python with requirements/gan_peers.in")
    parser.add_argument(
        "--search", type=float, default=0.0, metavar="SECONDS", help="seconds in which settings are tried on validation rows"
    )
    parser.add_argument(
        "--minutes", type=float, default=600.0, help="after these minutes no other seed is begun and no further peer is waited for"
    )
    parser.add_argument("--rows", type=int, help="learn from so many rows only, to try the benchmark itself")
    parser.add_argument("--steps", type=int, help="training steps")
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--page", type=Path, nargs="+", help="kept results to write to docs/benchmarks.md, without measuring")
    given = parser.parse_args()
    if given.page:
        write_part(
            "gan", "\n\n".join(["## Synthetic rows: Adult", MEANING, *(section(json.loads(path.read_text())) for path in given.page)])
        )
        return
    config = replace(GanConfig(), **({"steps": given.steps} if given.steps else {}))
    run = Run(given.data, given.rows, given.json, config)
    run.log(f"boosting {run.choice}")
    seeds = [SEED + number for number in range(given.seeds)]
    with peers(given.peers, run, seeds) as collect:
        run.measure("real", SEED, run.learn)
        if given.search:
            run.config = run.search(given.search)
        run.result["config"] = run.config.to_dict()
        run.measure("SMOTE", SEED, smote(run.learn, TARGET, len(run.learn), SEED))
        for seed in seeds:
            if time.monotonic() - run.started > 60 * given.minutes:
                run.log(f"no time for seed {seed}")
                break
            run.own(seed)
            collect(False)
        while collect(True) and time.monotonic() - run.started < 60 * given.minutes:
            pass
        collect(False)
    run.write()


if __name__ == "__main__":
    main()
