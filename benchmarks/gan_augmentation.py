"""Whether drawn rows of a rare class help: `python -m benchmarks.gan_augmentation [--churn CSV] [--credit CSV] --json FILE`.

Each table goes through what a trainer calls (`training.gan_augmentation.augment`), which learns, chooses and measures on parts of its own.
`--churn` is a table by `python -m benchmarks.gan_tables`, `--credit` Taiwan's UCI_Credit_Card.csv. The result is written after every table;
`--page FILE [FILE ...]` writes kept results to `docs/benchmarks.md`.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from benchmarks.gan_tables import CHURN, credit
from benchmarks.page import circumstances, write_part
from training.gan.config import GanConfig
from training.gan_augmentation import augment

SEED, STEPS = 7, 8000


def measured(name: str, table: pd.DataFrame, target: str, steps: int) -> dict[str, Any]:
    """What drawn rows of the rarest class add on rows kept out, and whether a trainer would take them."""
    began, worked = time.monotonic(), time.process_time()
    found = augment(table, target, SEED, replace(GanConfig(), steps=steps), log=lambda line: print(f"{name}: {line}", flush=True))
    return {
        **circumstances(),
        "backend": keras.backend.backend(),
        "cores": len(os.sched_getaffinity(0)),
        "name": name,
        "rows": len(table),
        "rare": float(table[target].value_counts(normalize=True).min()),
        "steps": steps,
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "allowed": found.use.allowed,
        "reasons": list(found.use.reasons),
        "lift": found.lift,
        "added": found.added,
    }


def section(results: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    first = results[0]
    lines = [
        "## Synthetic rows: a rare class beside its own",
        "",
        f"`python -m benchmarks.gan_augmentation`, {first['date']}, {first['machine']}, {first['cores']} of them used, backend "
        f"{first['backend']}, seed {SEED}, {first['steps']:,} steps. Three fifths of the rows teach the GAN and boosting, one chooses "
        "boosting's settings without drawn rows, one is asked: average precision of the rare class, with as many drawn rows of it as real "
        "ones beside these (GAN, judge and head; mean of three draws), less without; 95 % interval over resampled rows, paired. A trainer "
        "takes the rows where the whole interval is above 0.",
        "",
        "| rows | rare | alone | augmented | difference | AUC, difference | taken | CPU minutes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for found in results:
        step = found["lift"]
        figures = ["–"] * 4
        if step:
            one, two, gap, area = (
                step[name] for name in (*(f"average_precision_{kind}" for kind in ("alone", "augmented", "lift")), "auc_lift")
            )
            figures = [
                f"{one['mean']:.4f}",
                f"{two['mean']:.4f}",
                *(f"{s['mean']:+.4f} [{s['low']:+.4f}, {s['high']:+.4f}]" for s in (gap, area)),
            ]
        taken = "yes" if found["allowed"] else "no, refused" if step else found["reasons"][0]
        cells = [f"{found['name']}, {found['rows']:,}", f"{found['rare']:.1%}", *figures, taken, f"{found['cpu_seconds'] / 60:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", CHURN])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--churn", type=Path, help="a table by benchmarks.gan_tables")
    parser.add_argument("--credit", type=Path, help="Taiwan's UCI_Credit_Card.csv")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps")
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--page", type=Path, nargs="+", help="kept results to write to docs/benchmarks.md, without measuring")
    given = parser.parse_args()
    if given.page:
        write_part("gan_augmentation", section([one for path in given.page for one in json.loads(path.read_text())]))
        return
    results = []
    for path, name, read, target in (
        (given.churn, "customers who stay away (simulated shop)", pd.read_csv, "stays_away"),
        (given.credit, "card holders who default (Taiwan)", credit, "default"),
    ):
        if path:
            results.append(measured(name, read(path), target, given.steps))
            given.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
