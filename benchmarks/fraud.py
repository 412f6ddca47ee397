"""How soon and how surely fraud is found on the simulated shop: `python -m benchmarks.fraud`; writes its part of `docs/benchmarks.md`.

Shops of 5,000 customers over 180 days. Model and baselines are taught as of one day with what banks had reported by then, and asked about
the orders of the 30 days that follow; what these turned out to be is the shop's truth, so that nothing is lost to banks that never report.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.page import circumstances, write_part

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SEEDS, USERS = (7, 8, 9), 5_000
RANKED = ("average precision", "precision at capacity", "recall at capacity", "best precision")
KINDS = ("ring", "stolen", "denial")


def measure(seed: int) -> dict[str, Any]:
    """What `portrait evaluate fraud` gives on one shop, with the truth in the place of the reports when orders are asked."""
    from sources.registry import deliver
    from training.evaluate_fraud import SHOP_DAYS, TABLES, evaluate_fraud

    with tempfile.TemporaryDirectory(prefix="portrait-fraud-") as folder:
        made, given = Path(folder) / "made", Path(folder) / "given"
        deliver("shop", None, made / "landing", seed=seed, options={"users": USERS, "dirt": 0, "days": SHOP_DAYS})
        for table in TABLES:
            shutil.copytree(made / "landing" / table, given / table)
        truth = pq.read_table(made / "truth" / "fraud.parquet").to_pandas()
        return evaluate_fraud(source="landing", data=given, seed=seed, truth=truth, log=print)


def main() -> None:
    started = time.process_time()
    results = [measure(seed) for seed in SEEDS]
    models = {"Portrait `fraud`": [one["metrics"] for one in results]}
    models |= {name: [one["baselines"][name] for one in results] for name in results[0]["baselines"]}
    where, counts = circumstances(), results[0]["counts"]
    taught = "/".join(str(one["counts"]["frauds_taught"]) for one in results)
    asked = "/".join(f"{one['counts']['frauds_asked']} of {one['counts']['orders_asked']:,}" for one in results)
    head = (
        f"`python -m benchmarks.fraud`, {where['date']}, {where['machine']}. Simulated shops of {USERS:,} customers, seeds "
        f"{', '.join(map(str, SEEDS))}: {taught} reported frauds taught, {asked} orders asked are frauds. Means, each shop's "
        f"own figure in brackets; a team of {counts['reviews_a_day']} reviews a day. Denials are ordinary orders by construction: nobody "
        f"can find them. {time.process_time() - started:.0f} CPU seconds in all."
    )
    ranked = [
        f"| {name} | " + " | ".join(_mean([one[key]["mean"] for one in found], 3) for key in RANKED) + " |"
        for name, found in models.items()
    ]
    kinds = [
        f"| {name} | "
        + " | ".join(_mean([one.get(f"recall at capacity, {kind}", np.nan) for one in found], 2) for kind in KINDS)
        + " | "
        + " | ".join(
            _mean([one["detection"][key] for one in found], 2)
            for key in ("groups found", "median hours to the first flag", "frauds before it")
        )
        + " |"
        for name, found in models.items()
    ]
    own = models["Portrait `fraud`"]
    money = [
        f"| {name} | {_mean([one[key]['mean'] if isinstance(one[key], dict) else one[key] for one in own], digits)} |"
        for name, key, digits in (
            ("cost of 100 orders, everything approved", "cost with no check", 0),
            ("cost of 100 orders by the model's verdicts", "cost a hundred orders", 0),
            ("share of orders left to a person", "share review", 4),
            ("share of orders refused", "share refuse", 4),
            ("expected calibration error", "ece", 4),
        )
    ]
    delays = [
        "| share of reports that have come | " + " | ".join(results[0]["delay_days"]) + " |",
        "| --- |" + " --- |" * len(results[0]["delay_days"]),
        "| days, as estimated from what was reported | "
        + " | ".join(_mean([one["delay_days"][share] for one in results], 1) for share in results[0]["delay_days"])
        + " |",
    ]
    text = [
        *("## Fraud on the simulated shop", "", head, ""),
        *(
            "| ranking | average precision | precision at capacity | recall at capacity | best possible precision |",
            "| --- |" + " --- |" * 4,
        ),
        *(*ranked, ""),
        "| found by the day's reviews | rings | stolen accounts | denials | groups found | hours to the first | frauds before |",
        *("| --- |" + " --- |" * 6, *kinds, ""),
        *("| money (training/fraud.toml) | |", "| --- | --- |", *money, "", *delays, ""),
    ]
    write_part("fraud", "\n".join(text))
    print("\n".join(text))


def _mean(values: list[float], digits: int) -> str:
    """`mean (one, two, three)`; what a shop cannot give is left out of the mean."""
    known = np.array(values, float)
    told = ", ".join("–" if np.isnan(value) else f"{value:.{digits}f}" for value in known)
    return f"{np.nanmean(known):.{digits}f} ({told})" if np.isfinite(known).any() else "–"


if __name__ == "__main__":
    main()
