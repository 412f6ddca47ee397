"""What daily looks cost and spare: `python -m benchmarks.sequential`; writes its part of `docs/benchmarks.md`.

Campaigns are simulated and looked at on 60 days through the ledger's own functions. Users either come one after another or are all in
from the first day; some buy often and others hardly ever (a gamma-Poisson shop), and what they paid is lognormal. Without an effect every
stop is an error; with an effect for which a fixed test on the last day has 80 % power, the price of looking is what that power becomes, and
how many more users restore it, while the gain is the day on which a campaign that works is stopped.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from benchmarks.page import circumstances, write_part
from serving.roi_effect import Effect, effect_of, is_measurable
from serving.sequential import always_valid, next_information

SEED, LOOKS, ALPHA, USERS, CAMPAIGNS = 7, 60, 0.05, 2000, 1000
#: How users come, what is measured, and which share of them is held out.
CASES = (
    ("one after another", "spend", 0.5),
    ("one after another", "spend", 0.2),
    ("all at once", "spend", 0.5),
    ("all at once", "spend", 0.1),
    ("all at once", "conversion", 0.5),
    ("all at once", "conversion", 0.1),
)


@dataclass(frozen=True)
class Found:
    """Shares of campaigns in which a rule ever said that there is an effect, the mean day on which it said so (the last where it never
    did), and the mean z of the last day."""

    always_valid: float
    peeked: float
    fixed: float
    day: float
    z: float
    reach: float


def simulate(how: str, what: str, held_out: float, effect: float, users: int, campaigns: int, seed: int) -> Found:
    """`effect` is the share by which an offer raises what users buy."""
    generator, told = np.random.default_rng(seed), []
    joined = np.arange(users) * LOOKS // users if how == "one after another" else np.zeros(users, int)
    for _ in range(campaigns):
        is_treated = generator.random(users) >= held_out
        rate = generator.gamma(0.5, 0.04, users)
        before = generator.poisson(60 * rate).astype(float)[:, None]
        outcome, last, information = np.zeros(users), None, 1.0
        is_said, is_peeked, day, z, reach = False, False, LOOKS, 0.0, np.nan
        for look in range(LOOKS):
            if how == "one after another":
                bought = (joined == look) * generator.poisson(14 * rate * (1 + effect * is_treated))
            else:
                bought = generator.poisson(rate * (1 + effect * is_treated))
            paid = bought * generator.lognormal(3.0, 1.0, users)
            outcome = np.maximum(outcome, bought > 0) if what == "conversion" else outcome + paid
            is_in = joined <= look
            if not is_measurable(outcome[is_in], is_treated[is_in]):
                continue
            own = effect_of(outcome[is_in], is_treated[is_in], np.zeros(int(is_in.sum()), int), before[is_in])
            parts = np.zeros(users)
            parts[is_in] = own.parts
            now = Effect(own.estimate, own.standard_error, own.plain_error, parts)
            information = next_information(information, now.correlation(last)) if last else 1.0
            last, z = now, now.estimate / now.standard_error
            interval = always_valid(now.estimate, now.standard_error, information, ALPHA)
            reach = (interval.high - interval.mean) / now.standard_error
            if not is_said and (interval.low > 0 or interval.high < 0):
                is_said, day = True, look + 1
            is_peeked |= abs(z) > 1.96
        told.append((is_said, is_peeked, abs(z) > 1.96, day, z, reach))
    return Found(*np.nanmean(np.array(told, float), axis=0).tolist())


def powered(how: str, what: str, held_out: float, campaigns: int) -> float:
    """The effect for which the fixed test on the last day has 80 % power: from the z of a trial effect, which grows with it."""
    trial = 0.3
    return trial * 2.8 / simulate(how, what, held_out, trial, USERS, campaigns, SEED + 1).z


def measure(campaigns: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for how, what, held_out in CASES:
        nothing = simulate(how, what, held_out, 0.0, USERS, campaigns, SEED)
        effect = powered(how, what, held_out, campaigns // 5)
        real = simulate(how, what, held_out, effect, USERS, campaigns // 5, SEED + 2)
        more = ((real.reach + 0.84) / 2.8) ** 2
        again = simulate(how, what, held_out, effect, round(USERS * more), campaigns // 5, SEED + 3)
        rows.append(
            {
                "users come": how,
                "measured": what,
                "held out": f"{held_out:.0%}",
                "wrong, always valid": f"{nothing.always_valid:.3f}",
                "wrong, fixed test looked at daily": f"{nothing.peeked:.3f}",
                "wrong, fixed test on the last day": f"{nothing.fixed:.3f}",
                "power, fixed test on the last day": f"{real.fixed:.2f}",
                "power, always valid": f"{real.always_valid:.2f}",
                "times the users": f"{more:.2f}",
                "power with these": f"{again.always_valid:.2f}",
                "mean day of stopping with these": f"{again.day:.0f}",
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=CAMPAIGNS, help="simulated campaigns of each case; a fifth of them with an effect")
    campaigns = parser.parse_args().campaigns
    rows, where = measure(campaigns), circumstances()
    head = (
        f"`python -m benchmarks.sequential`, {where['date']}, {where['machine']}, seed {SEED}: {campaigns:,} campaigns of {USERS:,} users "
        f"a row without an effect, {campaigns // 5:,} with one, {LOOKS} daily looks, alpha {ALPHA}. With {campaigns:,} campaigns a share "
        f"of .05 is known to {1.96 * np.sqrt(0.05 * 0.95 / campaigns):.3f}."
    )
    meaning = (
        "*Wrong*: share of the campaigns without an effect in which a rule ever said that there is one. *Always valid*: the ledger's "
        "intervals, looked at daily. The effect is one that a fixed test on the last day finds in four of five campaigns; *times the "
        "users* is how many more the always valid rule needs for that, by where its interval ends on the last day."
    )
    table = ["| " + " | ".join(rows[0]) + " |", "| " + " | ".join("---" for _ in rows[0]) + " |"]
    table += ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows]
    write_part("sequential", "\n".join(["## Experiments that may be looked at daily", "", head, "", meaning, "", *table, ""]))


if __name__ == "__main__":
    main()
