"""How fast the encoder learns beside RecTools' SASRec: `python -m benchmarks.peers [--minutes N]`; writes its part of `docs/benchmarks.md`.

Amazon Beauty, leave-one-out: all trainings learn from the same events, and after each epoch the same code (`benchmarks/turns.py`) asks
every user's validation question; that time is not counted. Each is a process of its own, and only one works at a time: the one that has
trained least, for one epoch. Everything between the events in memory and the end of an epoch counts: preparing rows, item content and
compiling for the encoder; data set and model for the peer. RecTools is installed with its pins (`requirements/peers.txt`, 5.5 GB with the
CUDA libraries that torch brings) into `var/benchmarks/peers/env` at first use.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.page import circumstances, write_part
from benchmarks.turns import Rows
from settings import ROOT
from training.evaluate_recommender import PATIENCE

DATA = ROOT.parent / "shared" / "data" / "amazon_beauty"
FOLDER = ROOT / "var" / "benchmarks" / "peers"
PINS = ROOT / "requirements" / "peers.txt"
SEED = 7
THREADS = 2
LEVELS = (0.8, 0.95, 1.0)  # of the best NDCG@10 of a peer

OURS: dict[str, dict[str, Any]] = {
    "Portrait": {},
    "Portrait, ids alone, full softmax": {"content": False, "loss": "full_softmax"},
}
_LIGR = {"transformer_layers_type": "rectools.models.nn.transformers.ligr.LiGRLayers", "use_key_padding_mask": True, "session_max_len": 50}
_SMALL = {**_LIGR, "n_factors": 64, "n_blocks": 1, "n_heads": 1, "dropout_rate": 0.2}
PEERS: dict[str, dict[str, Any]] = {
    # What its authors chose for this data set: the README of github.com/blondered/transformer_benchmark, "Hyperparameters".
    "RecTools eSASRec as published": {**_SMALL, "loss": "sampled_softmax", "n_negatives": 256},
    "RecTools eSASRec with gBCE, 16 negatives": {**_SMALL, "loss": "gBCE", "gbce_t": 0.75, "n_negatives": 16},
    "RecTools eSASRec at the encoder's size": {**_LIGR, "n_factors": 128, "n_blocks": 1, "n_heads": 4, "loss": "softmax"},
}
SAME_SIZE = ("Portrait, ids alone, full softmax", "RecTools eSASRec at the encoder's size")


@dataclass
class Run:
    """One training: a point an epoch of `seconds`, `cpu_seconds` (both from the start) and `ndcg`."""

    name: str
    points: list[dict[str, float]] = field(default_factory=list)
    busy: float = 0.0  # seconds of all cores while it was this run's turn, its own left out
    turns: float = 0.0  # seconds of its turns, questions included

    @property
    def seconds(self) -> float:
        return self.points[-1]["seconds"] if self.points else 0.0

    @property
    def best(self) -> float:
        return max((point["ndcg"] for point in self.points), default=0.0)

    def is_over(self, budget: float) -> bool:
        """Whether it has had its seconds, or its last epochs were no better."""
        curve = [point["ndcg"] for point in self.points]
        return self.seconds >= budget or (len(curve) > PATIENCE and max(curve[-PATIENCE:]) <= max(curve[:-PATIENCE]))

    def reached(self, level: float) -> dict[str, float] | None:
        """The first epoch with an NDCG@10 of `level` or more; None where there was none."""
        return next((point for point in self.points if point["ndcg"] >= level), None)

    def epoch(self, clock: str) -> float:
        """Median time of an epoch after the first, which also prepares; the first where there is no other."""
        ends = [point[clock] for point in self.points]
        return statistics.median(np.diff(ends)) if len(ends) > 1 else ends[0]


def beauty(content: bool = True) -> tuple[Any, Any]:
    """The training histories of Amazon Beauty, leave-one-out, and the catalogue."""
    split, catalogue = _split(content)
    return split.train, catalogue


def _split(content: bool) -> tuple[Any, Any]:
    from training.evaluation import histories_and_catalogue, landing_tables
    from training.splits import leave_one_out

    tables = landing_tables("amazon_sequences", DATA, SEED, ("events", "items", *(["item_attributes"] if content else [])))
    histories, catalogue = histories_and_catalogue(tables)
    return leave_one_out(histories), catalogue


def write_rows(path: Path) -> dict[str, Any]:
    """Writes what every training is given; returns its counts and the checksum of the questions."""
    from training.splits import targets_sha256

    split, catalogue = _split(content=False)
    train, asked = split.train, split.validation
    assert (train.user_ids == asked.histories.user_ids).all(), "every user of Amazon Beauty has three events or more"
    users = np.repeat(np.arange(len(train)), train.lengths)
    items = catalogue.index_of(train.all_item_ids)
    Rows(users, items, catalogue.index_of(asked.targets), np.array(len(catalogue))).save(path)
    counts = {"users": len(train), "items": len(catalogue), "events": len(users)}
    return {**counts, "targets_sha256": targets_sha256(asked.histories.user_ids, asked.targets)}


def environment() -> Path:
    """The Python of the peer's own environment, installed first where its pins are not those of `requirements/peers.txt`."""
    home, uv = FOLDER / "env", Path(sys.executable).with_name("uv")
    stamp = home / "installed.txt"
    if not stamp.exists() or stamp.read_text() != PINS.read_text():
        print("installing the peer, 5.5 GB", flush=True)
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, home], check=True)
        subprocess.run([uv, "pip", "sync", "--quiet", "--python", home / "bin" / "python", "--require-hashes", PINS], check=True)
        stamp.write_text(PINS.read_text())
    return home / "bin" / "python"


class Training:
    """The process of one run; it waits until it is given a turn."""

    def __init__(self, run: Run, command: list[Any]) -> None:
        self.run = run
        self._log = FOLDER / f"{re.sub(r'[^a-z0-9]+', '-', run.name.lower())}.log"
        limits = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
        env = {**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(limits, str(THREADS))}
        pipe = subprocess.PIPE
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, stderr=log, text=True)
        self._report()

    def turn(self) -> None:
        """Lets it train for one epoch and notes the point, and what else ran meanwhile."""
        before = _busy(self._process.pid)
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self.run.points.append(self._report())
        wall, others = (after - start for after, start in zip(_busy(self._process.pid), before, strict=True))
        self.run.turns, self.run.busy = self.run.turns + wall, self.run.busy + others

    def end(self) -> None:
        self._process.kill()  # PyTorch Lightning waits for the end of a batch when it is asked to terminate
        self._process.wait()

    def _report(self) -> dict[str, float]:
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        code, log = self._process.wait(), self._log.relative_to(ROOT)
        raise RuntimeError(f"A training ends when it is told to. {self.run.name} ended by itself with code {code}. Read {log}.")


def _busy(pid: int) -> tuple[float, float]:
    """Now, and the seconds that the cores have worked for other processes than `pid`."""
    times, own = psutil.cpu_times(), psutil.Process(pid).cpu_times()
    return time.time(), sum(times[:3]) + times.irq + times.softirq + times.steal - own.user - own.system


def duels(runs: list[Run]) -> list[dict[str, Any]]:
    """For each peer, each level of its best NDCG@10 and each run of ours: when both reached it, and how many times longer the peer took."""
    found = []
    for peer in (run for run in runs if run.name in PEERS and run.points):
        for share in LEVELS if len(peer.points) > 1 else LEVELS[-1:]:
            theirs = peer.reached(share * peer.best)
            for own in (run for run in runs if run.name in OURS):
                ours = own.reached(share * peer.best)
                ratios = {key: theirs[key] / ours[key] if ours else None for key in ("seconds", "cpu_seconds")}
                found.append(
                    {"peer": peer.name, "share": share, "ndcg": share * peer.best, "own": own.name, "theirs": theirs, "ours": ours} | ratios
                )
    return found


def section(runs: list[Run], facts: dict[str, Any]) -> str:
    """The part of the page: who reached what, and when."""
    minutes, users = f"{facts['minutes']:g}", f"{facts['users']:,}"
    lines = [
        "## Training beside RecTools' SASRec",
        "",
        f"`python -m benchmarks.peers --minutes {minutes}`, {facts['date']}, {facts['machine']}, {THREADS} threads each, seed {SEED};",
        f"{facts['versions']}.",
        f"Amazon Beauty, leave-one-out: {users} users, {facts['items']:,} items, {facts['events']:,} training events. After each epoch",
        f"all {users} validation questions, all items ranked, seen ones removed, their time not counted.",
        f"Targets `{facts['targets_sha256'][:16]}`.",
        f"Each had up to {minutes} minutes of training, or {PATIENCE} epochs that were no better, one at a time by turns. *Others* is the",
        "share of all cores that other work took during its turns: seconds suffer from it most, CPU seconds (of all threads) less.",
        "",
        "| | epochs | first epoch, s | each after it, s | users/s | in all, s | CPU, s | best NDCG@10 | at epoch | others |",
        "| --- |" + " --- |" * 9,
    ]
    for run in (run for run in runs if run.points):
        last, curve = run.points[-1], [point["ndcg"] for point in run.points]
        cells = [
            f"{len(curve)}{'' if run.is_over(float('inf')) else ', unfinished'}",
            f"{run.points[0]['seconds']:.0f}",
            f"{run.epoch('seconds'):.1f}" if len(curve) > 1 else "",
            f"{facts['users'] / run.epoch('seconds'):,.0f}",
            f"{last['seconds']:.0f}",
            f"{last['cpu_seconds']:.0f}",
            f"{run.best:.4f}",
            f"{int(np.argmax(curve)) + 1}",
            f"{run.busy / run.turns / os.cpu_count():.0%}",
        ]
        lines.append(f"| {run.name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "The first epoch holds the preparation: rows, item content and XLA's compiling for Portrait, data set and model for the peer.",
        "",
        "| peer | its NDCG@10 | seconds, CPU | Portrait as | seconds, CPU | times faster | by CPU |",
        "| --- |" + " --- |" * 6,
    ]

    def spent(point: dict[str, float] | None) -> str:
        return f"{point['seconds']:.0f}, {point['cpu_seconds']:.0f}" if point else "not reached"

    for duel in duels(runs):
        label = "best" if duel["share"] == 1 else f"{duel['share']:.0%} of best"
        ratios = [f"{duel[key]:.1f}" if duel[key] else "" for key in ("seconds", "cpu_seconds")]
        cells = [duel["peer"], f"{duel['ndcg']:.4f} ({label})", spent(duel["theirs"]), duel["own"], spent(duel["ours"]), *ratios]
        lines.append("| " + " | ".join(cells) + " |")
    own, peer = (next(run for run in runs if run.name == name) for name in SAME_SIZE)
    lines += ["", *UNEQUAL]
    if own.points and peer.points:
        wall, cpu = (peer.epoch(clock) / own.epoch(clock) for clock in ("seconds", "cpu_seconds"))
        lines += [
            "",
            f"An epoch at the same width, blocks and heads, full softmax: the peer takes {wall:.1f} times as long, {cpu:.1f} by CPU.",
        ]
    return "\n".join(lines)


UNEQUAL = (
    "What was not equal:",
    "",
    "* Portrait reads items' attributes and the company they keep beside ids, the peer ids alone. *Ids alone* leaves out the attributes.",
    "* Portrait packs several users into a row of 50 steps; the peer gives each user a row, here seven eighths padding.",
    "* Portrait's temperature, dropout, rate and negatives were chosen on 6,000 of these validation users (`docs/models.md`), the peer's",
    "  by its authors on the same data set, with up to 200 epochs and a patience of 50. *As published* is 64 wide; gBCE is not",
    "  published for it, but makes an epoch cheaper.",
    "* The peer learns from the newest 51 events of a user (127 users have more), Portrait from all, in windows.",
    "* Portrait reads the gaps between events. The data set knows the order alone; its made-up times tell how long a history becomes.",
    "* An *unfinished* training had not come to its best: a ratio is about the NDCG@10 that the peer had reached by then.",
)


def main(minutes: float) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    python, rows = environment(), FOLDER / "rows.npz"
    pins = dict(re.findall(r"^([a-z-]+)==([^ ;]+)", PINS.read_text(), flags=re.M))
    versions = {name: version(name) for name in ("keras", "tensorflow")} | {name: pins[name] for name in ("rectools", "torch")}
    facts = {**circumstances(), **write_rows(rows), "minutes": minutes, "versions": ", ".join(" ".join(pair) for pair in versions.items())}
    commands = {
        name: [sys.executable, "-m", "benchmarks.peers_portrait", rows, json.dumps(config), str(SEED)] for name, config in OURS.items()
    }
    commands |= {name: [python, "-m", "benchmarks.peers_rectools", rows, json.dumps(config), str(SEED)] for name, config in PEERS.items()}
    trainings: list[Training] = []
    try:
        for name, command in commands.items():
            trainings.append(Training(Run(name), command))
        runs = [training.run for training in trainings]
        while waiting := [training for training in trainings if not training.run.is_over(60 * minutes)]:
            training = min(waiting, key=lambda one: one.run.seconds)
            training.turn()
            point = training.run.points[-1]
            print(f"{training.run.name}: " + ", ".join(f"{key} {value:.4g}" for key, value in point.items()), flush=True)
            (FOLDER / "result.json").write_text(json.dumps({**facts, "runs": [asdict(run) for run in runs]}, indent=1))
            write_part("peers", section(runs, facts))
    finally:
        for training in trainings:
            training.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="training time of each")
    main(parser.parse_args().minutes)
