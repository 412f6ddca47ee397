"""Whether segments are steady, and lookalikes alike: `python -m benchmarks.segments`; writes its part of `docs/benchmarks.md`.

On the simulated shop's published features of two days a week apart: learned segments that go on from the earlier run against segments
learned anew with another seed, both judged on the same customers' same numbers; what the customers' own moves add; and the lift of
lookalikes of customers drawn by what they will do in the month after, which no feature says.
"""

import argparse
import os
import tempfile
import time
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks.page import circumstances, write_part

SEED, USERS = 7, 20_000
WEEK = timedelta(days=7)


def measure(now: datetime) -> dict[str, object]:
    """Figures of the house in use, whose records reach `now`."""
    from feature_repo.frames import read_mart, rows_as_of
    from serving.segment_churn import churn_between
    from serving.segment_lookalike import lookalikes
    from serving.segment_members import people
    from training.frames import numbers_at
    from training.segment_stability import churn
    from training.segments import Before, fit_segments

    users = {at: rows_as_of("user_features", at)["user_id"] for at in (now - WEEK, now)}
    numbers = {at: numbers_at(of, at) for at, of in users.items()}
    started = time.process_time()
    first = fit_segments(numbers[now - WEEK], SEED)
    assert first is not None
    seconds = time.process_time() - started
    told = first.facts()
    before = Before(told["names"], *(np.array(told[name], np.float32) for name in ("centres", "mean", "spread")))
    result: dict[str, object] = {
        "customers": f"{len(users[now]):,}",
        "segments": len(first.names),
        "CPU seconds to learn them": f"{seconds:.1f}",
    }
    for kind, earlier in (("goes on from the earlier run", before), ("learned anew", None)):
        again = fit_segments(numbers[now], SEED + 1, earlier)
        assert again is not None
        moved = churn(first.names_at(numbers[now]), again.names_at(numbers[now]))
        result[f"moved although nothing changed, {kind}"] = f"{moved.moved:.1%}"
        result[f"adjusted Rand index, {kind}"] = f"{moved.agreement:.3f}"
        kept = len(set(first.names) & set(again.names))
        result[f"names kept, {kind}"] = f"{kept} of {len(again.names)}"
    by_rfm = churn_between("rfm", people(now), now - WEEK)
    if by_rfm and by_rfm.unchanged_moved is not None:
        result["recency, frequency, money: moved within a week"] = f"{by_rfm.moved:.1%}"
        result["recency, frequency, money: moved although nothing changed"] = f"{by_rfm.unchanged_moved:.1%}"
    labels = read_mart("next_purchase_labels")
    newest = labels[labels["label_at"] == labels["label_at"].max()]
    buyers = newest.loc[newest["is_purchased_7d"], "user_id"]
    found = lookalikes(buyers, max(20, len(buyers) // 3), newest["label_at"].iloc[0].to_pydatetime())
    result["lookalikes of next week's buyers"] = (
        f"lift {found.lift:.1f} ({found.lift_low:.1f} to {found.lift_high:.1f}), {found.found} found"
    )
    drawn = np.random.default_rng(SEED).choice(newest["user_id"].to_numpy(object), len(buyers), replace=False)
    by_lot = lookalikes(drawn, max(20, len(buyers) // 3), newest["label_at"].iloc[0].to_pydatetime())
    result["lookalikes of as many drawn by lot"] = f"lift {by_lot.lift:.1f} ({by_lot.lift_low:.1f} to {by_lot.lift_high:.1f})"
    return result


def house(users: int) -> datetime:
    """Makes the house in use a simulated shop's, its marts published; the time up to which its records reach."""
    from feature_repo.export import export_marts
    from feature_repo.frames import horizon
    from quality.load import load_window
    from quality.transform import build
    from settings import get_settings
    from sources.registry import deliver

    delivery = deliver("shop", None, get_settings().landing_dir, seed=SEED, options={"users": users})
    window: tuple[date, date] = (delivery.start, delivery.end)
    load_window(get_settings().landing_dir, *window)
    build(*window)
    export_marts(*window)
    now = horizon()
    assert now is not None
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=USERS)
    users = parser.parse_args().users
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory(prefix="portrait-segments-") as folder:
        os.environ["PORTRAIT_HOME"] = str(Path(folder) / "house")
        result = measure(house(users))
    where = circumstances()
    head = f"`python -m benchmarks.segments`, {where['date']}, {where['machine']}, seed {SEED}, a simulated shop of {users:,} users."
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in result.items())]
    write_part("segments", "\n".join(["## Segments that stay, and lookalikes", "", head, "", *lines, ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
