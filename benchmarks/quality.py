"""Quality on public data sets by `portrait evaluate`, written to `docs/benchmarks.md`: `python -m benchmarks.quality [NAME ...]`.

Each named run trains from scratch in a process of its own and leaves its JSON in `var/benchmarks/`; the page is written from all that are
there. Nothing is chosen on a test set: these are the defaults that a user would run. Seeds after the first of recommenders leave the
baselines out, which do not depend on it.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.page import circumstances, read_part, write_part
from settings import ROOT

DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "var" / "benchmarks"
SHOWN_DIFFERENCES = ("mae", "rmse", "gini")  # of other evaluations the last figure
LIFETIMES = RESULTS / "lifetimes" / "bin" / "python"

RUNS: dict[str, tuple[str, list[str]]] = {
    "shop-next-item": ("Simulated shop, next item, time split", ["recommender", "--source", "shop", "--protocol", "time-split"]),
    "beauty-leave-one-out": (
        "Amazon Beauty, next item, leave-one-out",
        ["recommender", "--source", "amazon_sequences", "--data", str(DATA / "amazon_beauty"), "--protocol", "leave-one-out"],
    ),
    "beauty-cnn": (
        "Amazon Beauty, next item, leave-one-out, convolutions",
        ["recommender", "--source", "amazon_sequences", "--data", str(DATA / "amazon_beauty"), "--backbone", "cnn"],
    ),
    "beauty-lstm": (
        "Amazon Beauty, next item, leave-one-out, recurrent interest evolution",
        ["recommender", "--source", "amazon_sequences", "--data", str(DATA / "amazon_beauty"), "--backbone", "lstm"],
    ),
    "online-retail-next-purchase": (
        "Online Retail, next purchase with repeats, time split",
        ["recommender", "--source", "online_retail", "--data", str(DATA / "online_retail"), "--protocol", "next-purchase"],
    ),
    "ml-1m-gender": (
        "MovieLens-1M, gender from ratings, 5 folds",
        ["traits", "--source", "movielens", "--data", str(DATA / "ml-1m"), "--trait", "gender", "--folds", "5"],
    ),
    "online-shoppers-intent": (
        "Online Shoppers, purchase intention, 5 folds",
        ["intent", "--csv", str(DATA / "online_shoppers" / "online_shoppers_intention.csv"), "--target", "Revenue", "--folds", "5"],
    ),
    "hillstrom-visit": (
        "Hillstrom, women's e-mail against none, visit, mean of 20 50/50 splits",
        ["uplift", "--source", "hillstrom", "--data", str(DATA / "hillstrom"), "--treatment", "womens_email", "--outcome", "visited"],
    ),
    "online-retail-spend": (
        "Online Retail, money of the last 90 days",
        ["spend", "--source", "online_retail", "--data", str(DATA / "online_retail"), "--lifetimes", str(LIFETIMES)],
    ),
    "complete-journey-spend": (
        "The Complete Journey, money of the last 90 days",
        ["spend", "--source", "complete_journey", "--data", str(DATA / "complete_journey"), "--lifetimes", str(LIFETIMES)],
    ),
}


SEED = 7


def path_of(name: str, seed: int) -> Path:
    return RESULTS / (f"{name}.json" if seed == SEED else f"{name}.seed{seed}.json")


def install_lifetimes() -> None:
    """An environment of its own for the peer of expected spend, pinned and hashed as our own is."""
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(LIFETIMES.parent.parent)], check=True)
    pinned = str(ROOT / "requirements" / "lifetimes.txt")
    subprocess.run([uv, "pip", "sync", "--quiet", "--python", str(LIFETIMES), "--require-hashes", pinned], check=True)


def run(name: str, seed: int) -> dict[str, Any]:
    """One evaluation in a process of its own, by the command that a user would type."""
    out = path_of(name, seed)
    if str(LIFETIMES) in RUNS[name][1]:
        install_lifetimes()
    command = [sys.executable, str(ROOT / "cli.py"), "evaluate", *RUNS[name][1], "--seed", str(seed), "--json", str(out)]
    if seed != SEED and RUNS[name][1][0] == "recommender":
        command.append("--no-baselines")
    subprocess.run(command, cwd=ROOT, check=True)
    result = json.loads(out.read_text())
    result |= circumstances()
    out.write_text(json.dumps(result, indent=1))
    return result


def figure(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['mean']:.4f} ({value['low']:.4f} to {value['high']:.4f})"
    return "" if value is None else f"{value:.4f}"


def section(name: str, result: dict[str, Any]) -> str:
    """One run as Markdown: what was asked, the figures beside the baselines', and how to repeat it."""
    title, arguments = RUNS[name]
    oracle = {"oracle (knows the true chances)": result["oracle"]} if "oracle" in result else {}
    rows = {"Portrait": result["metrics"], **result["baselines"], **oracle}
    keys = [key for key in result["metrics"] if any(row.get(key) is not None for row in rows.values())]
    lines = ["| | " + " | ".join(keys) + " |", "| --- |" + " --- |" * len(keys)]
    lines += [f"| {who} | " + " | ".join(figure(row.get(key)) for key in keys) + " |" for who, row in rows.items()]
    counts = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in result["counts"].items() if isinstance(value, int))
    shown = " ".join(argument.replace(f"{DATA}", "../shared/data").replace(f"{ROOT}/", "") for argument in arguments)
    targets = result.get("targets_sha256")
    return "\n".join(
        [
            f"### {title}",
            "",
            f"`portrait evaluate {shown} --seed {result['seeds'][0]}`, {result['date']}, {result['machine']}: "
            f"{result['seconds']:.0f} s, {result['peak_memory_mb'] / 1024:.1f} GB. {counts}."
            + (f" Targets `{targets[:16]}`." if targets else ""),
            "",
            *lines,
            "",
            *over_seeds(name, keys),
            *more(result, keys),
        ]
    )


def over_seeds(name: str, keys: list[str]) -> list[str]:
    """Each metric of every seed that was run, where there are several, and where the others were run elsewhere."""
    others = sorted((int(path.stem.rpartition("seed")[2]), path) for path in RESULTS.glob(f"{name}.seed*.json"))
    if not others:
        return []
    results = [json.loads(path.read_text()) for path in (path_of(name, SEED), *(path for _, path in others))]
    found, told = [result["metrics"] for result in results], []
    for key in keys:
        values = [row[key]["mean"] for row in found]
        told.append(f"{key} {np.mean(values):.4f} (" + ", ".join(f"{value:.4f}" for value in values) + ")")
    elsewhere = sorted({result["machine"] for result in results[1:]} - {results[0]["machine"]})
    where = f" The others ran on: {'; '.join(elsewhere)}." if elsewhere else ""
    return [f"Mean of seeds {', '.join(str(seed) for seed in (SEED, *(seed for seed, _ in others)))}: {'; '.join(told)}.{where}", ""]


def more(result: dict[str, Any], keys: list[str]) -> list[str]:
    """What else a run measured: paired differences to the baselines, how far from the oracle, and slices."""
    lines = []
    if differences := result.get("differences"):
        for key in [key for key in keys if key in SHOWN_DIFFERENCES] or keys[-1:]:
            told = [f"{name} {signed(row[key])}" for name, row in differences.items()]
            lines += [f"Portrait less baseline on the same users, {key}: {'; '.join(told)}.", ""]
    if ways := result.get("ways"):
        told = [f"{'Portrait' if name == 'portrait' else name} {100 * row[keys[-1]]:.0f} %" for name, row in ways.items()]
        lines += [f"Of the way from popularity to the oracle, {keys[-1]}: {'; '.join(told)}.", ""]
    if deciles := result.get("deciles"):
        lines += [
            "Predicted over true total of each tenth of the users, lowest prediction first:",
            "",
            "| | " + " | ".join(str(place) for place in range(1, len(deciles["portrait"]) + 1)) + " |",
            "| --- |" + " --- |" * len(deciles["portrait"]),
            *(f"| {name} | " + " | ".join("" if part is None else f"{part:.2f}" for part in row) + " |" for name, row in deciles.items()),
            "",
        ]
    if slices := result.get("slices"):
        names = ["portrait", *result["baselines"]]
        lines += [
            "| slice | users | " + " | ".join(f"{name}, {keys[-1]}" for name in names) + " |",
            "| --- | --- |" + " --- |" * len(names),
        ]
        lines += [
            f"| {name} | {part['users']:,} | " + " | ".join(f"{part[who][keys[-1]]['mean']:.4f}" for who in names) + " |"
            for name, part in slices.items()
        ]
        lines += [""]
    return lines


def signed(value: dict[str, float]) -> str:
    return f"{value['mean']:+.4f} ({value['low']:+.4f} to {value['high']:+.4f})"


def write_page() -> None:
    """Every run whose result is there, in order; of the others, what the page said before."""
    before = {part.split("\n")[0]: f"### {part.strip()}\n" for part in read_part("quality").split("### ")[1:]}
    sections = []
    for name, (title, _) in RUNS.items():
        if (RESULTS / f"{name}.json").exists():
            sections.append(section(name, json.loads((RESULTS / f"{name}.json").read_text())))
        elif title in before:
            sections.append(before[title])
    write_part("quality", "\n".join(["## Models on public data sets", "", *sections]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}; all where none is named")
    parser.add_argument("--seeds", type=int, default=1, help=f"how many, from {SEED} on")
    given = parser.parse_args()
    if unknown := set(given.names) - set(RUNS):
        parser.error(f"A run must be one of {', '.join(RUNS)}. Received {', '.join(sorted(unknown))}.")
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in given.names or RUNS:
        for seed in range(SEED, SEED + given.seeds):
            print(f"{name}, seed {seed} ...", flush=True)
            result = run(name, seed)
            print(f"{name}: " + ", ".join(f"{key} {figure(value)}" for key, value in result["metrics"].items()), flush=True)
            write_page()


if __name__ == "__main__":
    main()
