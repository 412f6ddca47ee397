"""Whether a freshly trained model may be served: `judge` compares it with the baseline and the served model on the same holdout.

The rules, in the order in which they decide:

`holdout_too_small`  fewer than 30 rows prove nothing. A first model passes, since there is nothing better; a challenger does not replace a
                     champion.
`not_measurable`     the main metric cannot be computed (one class, one arm): not promoted.
`below_baseline`     the model's value is not above the baseline's: not promoted.
`first_model`        above the baseline, and nothing is served yet: promoted. The paired interval against the baseline is reported.
`better`             the paired bootstrap's 95 % interval of challenger minus champion lies above zero: promoted.
`not_better`         it does not: the champion stays.
"""

from dataclasses import dataclass

import numpy as np

from training.metrics import Interval, Statistic, interval, resample

ENOUGH_ROWS = 30

#: The metric each model is judged by, and its baseline. All are read as greater is better, so logloss enters negated.
MAIN_METRICS = {
    "recommender": ("NDCG@10", "popularity"),
    "portrait": ("negative logloss", "base rate"),
    "uplift": ("qini", "random"),
}


@dataclass(frozen=True)
class Verdict:
    """Promoted or not, the rule that decided, one sentence for a person, and the figures it rests on."""

    promoted: bool
    rule: str
    reason: str
    figures: dict[str, str | int | Interval]


def judge(
    model: str, rows: int, challenger: Statistic, baseline: Statistic, champion: Statistic | None = None, *, seed: int, samples: int = 1000
) -> Verdict:
    """The verdict on `challenger`, measured on the same `rows` holdout rows as the baseline and, where a model is served, the champion.

    Each `Statistic` takes row indices `(n,)` and gives the model's main metric on them, greater is better: for a mean over users,
    `lambda rows: ndcg[rows].mean()`.
    """
    metric, against = MAIN_METRICS[model]
    values = {"challenger": challenger, "baseline": baseline, **({"champion": champion} if champion else {})}
    figures: dict[str, str | int | Interval] = {"metric": metric, "rows": rows}

    def verdict(promoted: bool, rule: str, reason: str) -> Verdict:
        return Verdict(promoted, rule, f"{reason} (rule {rule}).", figures)

    if rows:
        found, drawn = resample(lambda chosen: np.array([value(chosen) for value in values.values()]), rows, seed, samples)
        figures |= {name: interval(found[place], drawn[:, place]) for place, name in enumerate(values)}
        for place, name in list(enumerate(values))[1:]:
            figures[f"difference_to_{name}"] = interval(found[0] - found[place], drawn[:, 0] - drawn[:, place])
    if rows < ENOUGH_ROWS:
        outcome = "the served model stays" if champion else "promoted as the first model, unproven"
        return verdict(champion is None, "holdout_too_small", f"Only {rows} holdout rows, fewer than {ENOUGH_ROWS}: {outcome}")
    own, base = found[0], found[1]
    if not np.isfinite(found).all():
        return verdict(False, "not_measurable", f"{metric} cannot be computed on {rows} holdout rows: not promoted")
    if own <= base:
        return verdict(False, "below_baseline", f"{metric} {own:.4f} is not above {against} {base:.4f} on {rows} rows: not promoted")
    if champion is None:
        gain = _span(interval(own - base, drawn[:, 0] - drawn[:, 1]))
        text = f"{metric} {own:.4f} is above {against} {base:.4f} on {rows} rows ({gain}) and nothing is served yet: promoted"
        return verdict(True, "first_model", text)
    step = interval(own - found[2], drawn[:, 0] - drawn[:, 2])
    if step["low"] > 0:
        text = f"{metric} {own:.4f} beats the served model's {found[2]:.4f} on {rows} rows ({_span(step)}): promoted"
        return verdict(True, "better", text)
    text = f"{metric} {own:.4f} is not surely above the served model's {found[2]:.4f} on {rows} rows ({_span(step)}): not promoted"
    return verdict(False, "not_better", text)


def _span(interval: Interval) -> str:
    return f"difference {interval['mean']:+.4f}, 95 % interval {interval['low']:+.4f} to {interval['high']:+.4f}"
