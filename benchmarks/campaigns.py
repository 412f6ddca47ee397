"""What planning a campaign costs, and how much of the oracle's profit a plan earns: `python -m benchmarks.campaigns [--house DIR]`; writes
its part of `docs/benchmarks.md`.

Time: users x 5 offers at three sizes a decade apart, in CPU seconds, for a budget alone, with segment quotas, and with channel budgets too.
Profit: on the simulated shop of a house with its truth, the customers of its newest campaign. Plans are made from the served model's
effects and from the true ones, both are valued by the true ones; a conversion is worth the margin of a mean basket, less the offer's cost.
"""

import argparse
import math
import os
import time
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.page import circumstances, write_part
from serving.budget import Limit, Problem, solve
from serving.budget_exact import linear_optimum

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SEED, OFFERS, MARGIN = 7, 5, 0.3
SIZES = (10_000, 100_000, 1_000_000)
SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)


def problem(users: int, *, quotas: bool, channels: bool) -> Problem:
    """Users whose offers cost and are worth different amounts; the budget is a fifth of what all of them would cost at most."""
    draw = np.random.default_rng(SEED)
    cost = np.array([0.2, 0.5, 1.0, 2.0, 3.0]) * (1 + 0.2 * draw.random((users, 1)))
    worth = draw.gamma(1, 1.5, (users, 1)) * np.array([0.3, 0.6, 1.2, 1.6, 2.0])
    value = worth * draw.normal(1, 0.5, (users, OFFERS)) - cost
    budget = 0.2 * float(cost[np.arange(users), value.argmax(axis=1)][value.max(axis=1) > 0].sum())
    segment = draw.integers(0, 8, users)
    sizes = np.bincount(segment, minlength=8)
    most = (sizes * np.array([1, 1, 0.2, 1, 0.3, 0.1, 1, 0.5])).astype(int) if quotas else sizes
    least = (sizes * np.array([0, 0.1, 0, 0, 0.05, 0, 0, 0])).astype(int) if quotas else np.zeros(8, int)
    is_mail = np.arange(OFFERS) < 2
    limits = (Limit("email", np.where(is_mail, cost, 0.0), 0.2 * budget), Limit("ad", np.where(is_mail, 0.0, cost), 0.9 * budget))
    return Problem(value, cost, budget, segment, least, most, limits if channels else ())


def timed() -> list[str]:
    """Lines of a table: CPU seconds by size, the exponent of their growth, and the value over its upper bound."""
    lines = ["| limits | " + " | ".join(f"{size:,} users" for size in SIZES) + " | exponent | value / upper bound |"]
    lines.append("| --- |" + " --- |" * (len(SIZES) + 2))
    for name, quotas, channels in (("budget", False, False), ("budget, quotas", True, False), ("budget, quotas, channels", True, True)):
        seconds, shares = [], []
        for size in SIZES:
            asked = problem(size, quotas=quotas, channels=channels)
            began = time.process_time()
            found = solve(asked)
            seconds.append(time.process_time() - began)
            shares.append(found.value / found.bound)
            assert asked.keeps(found.chosen)
            print(f"{name}, {size} users: {seconds[-1]:.2f} CPU s", flush=True)
        exponent = math.log(seconds[-1] / seconds[0]) / math.log(SIZES[-1] / SIZES[0])
        told = " | ".join(f"{one:.2f} s" for one in seconds)
        lines.append(f"| {name} | {told} | {exponent:.2f} | {min(shares):.4f} |")
    return lines


def most_spent(worth: np.ndarray, cost: np.ndarray) -> float:
    """What it would cost to give everybody the offer that is truly worth most, where one is, `(users, offers)` each."""
    return float(cost[np.arange(len(worth)), worth.argmax(axis=1)][worth.max(axis=1) > 0].sum())


def share_of_best(worth: np.ndarray, chosen: np.ndarray, cost: np.ndarray, budget: float) -> float:
    """The true `worth` of the offers `chosen` `(users,)` over that of the best plan of the budget, the linear optimum."""
    asked = Problem(worth, cost, budget)
    return float(asked.total(worth, chosen) / linear_optimum(asked))


def share_earned(worth: np.ndarray, thought: np.ndarray, cost: np.ndarray, budget: float) -> float:
    """The same of the plan that is made from what is `thought` of the offers, `(users, offers)`."""
    return share_of_best(worth, solve(Problem(thought, cost, budget)).chosen, cost, budget)


def against_the_oracle(house: Path) -> list[str]:
    """Lines of a table: by budget, the true profit of the plans over the best possible (the linear optimum on true effects)."""
    os.environ["PORTRAIT_HOME"] = str(house)
    from serving.publish import published_versions
    from settings import get_settings
    from training.frames import ask_campaigns, campaign_rows
    from training.oracle import house_oracle, question
    from training.served import SavedPredictor, blocks, history_inputs, number_inputs
    from training.signatures import UPLIFT

    get_settings.cache_clear()
    settings, oracle = get_settings(), house_oracle()
    if oracle is None:
        raise SystemExit(f"The oracle needs the truth of a simulated shop. {house} has none. Make one with `portrait demo`.")
    version = max(published_versions(UPLIFT.name, models_dir=settings.models_dir))
    model = SavedPredictor(settings.models_dir / UPLIFT.name / str(version))
    rows, _ = campaign_rows(datetime(2200, 1, 1))  # noqa: DTZ001 - whatever is known
    newest = rows.loc[rows["assigned_at"].idxmax(), "campaign_id"]
    rows = rows[rows["campaign_id"] == newest].reset_index(drop=True)
    offers = sorted(set(rows["treatment"]) - {"control"})
    asked = ask_campaigns(rows)
    true = oracle.effects(question(asked.histories, asked.at_us), rows["campaign_id"].to_numpy(object), offers, "converted")
    guessed = np.zeros_like(true)
    known = {tensor.name for tensor in UPLIFT.inputs}
    for part in blocks(len(rows)):
        inputs = history_inputs(asked[part].histories, asked[part].at_us) | number_inputs(asked[part].numbers)
        size = len(asked[part].at_us)
        for name, spec in model.inputs.items():
            if name not in known:  # asked as unknown, as serving does
                inputs[name] = np.full(size, "", object) if spec.dtype.name == "string" else np.full(size, np.nan, np.float32)
        answer = model(inputs)
        told = list(answer["treatments"][0])
        for place, offer in enumerate(offers):
            guessed[part, place] = answer["conversion_uplift"][:, told.index(offer)]
    basket = float(rows.loc[rows["converted"] == 1, "spend"].mean())
    cost = np.broadcast_to([float(rows.loc[rows["treatment"] == offer, "cost"].mean()) for offer in offers], true.shape)
    worth, thought = MARGIN * basket * true - cost, MARGIN * basket * guessed - cost
    most = most_spent(worth, cost)
    lines = ["| budget | planner on true effects | plan by the served model | at random |", "| --- | --- | --- | --- |"]
    draw = np.random.default_rng(SEED)
    for share in SHARES:
        earned = [share_earned(worth, values, cost, share * most) for values in (worth, thought)]
        order, chosen, spent = draw.permutation(len(worth)), np.full(len(worth), -1), 0.0
        for user in order:
            arm = int(draw.integers(len(offers)))
            if spent + cost[user, arm] <= share * most:
                chosen[user], spent = arm, spent + cost[user, arm]
        earned.append(share_of_best(worth, chosen, cost, share * most))
        lines.append(f"| {share * most:,.0f} ({share:.0%}) | " + " | ".join(f"{one:.1%}" for one in earned) + " |")
    head = f"Campaign {newest}, {len(rows)} customers, offers {', '.join(offers)}, uplift version {version}; profit over the best possible."
    return [head, "", *lines]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--house", type=Path, help="a house with a simulated shop's truth and a served uplift model")
    chosen = parser.parse_args()
    where = circumstances()
    parts = [f"## Campaigns: planning\n\n`python -m benchmarks.campaigns`, {where['date']}, {where['machine']}, seed {SEED}."]
    parts += ["Users x 5 offers, CPU seconds.", "\n".join(timed())]
    parts += ["\n".join(against_the_oracle(chosen.house))] if chosen.house else []
    text = "\n\n".join(parts)
    print(text)
    write_part("campaigns", text)


if __name__ == "__main__":
    main()
