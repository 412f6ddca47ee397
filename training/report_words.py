"""What a run's figures say, in words for somebody who decides on marketing and has never seen a model: the top of the run report."""

from collections.abc import Mapping, Sequence

import numpy as np

from training.metrics import Interval

PURPOSE = {
    "recommender": "This model suggests to every customer the items they are likely to want next.",
    "portrait": "This model says of every customer who they probably are, what interests them, and how likely they are to buy or leave.",
    "risk": "This model says how likely an application for credit is not to be paid back, and why.",
    "fraud": "This model says of every order how likely it is to be charged back as fraud, so that people look at those that are worth it.",
    "uplift": "This model finds the customers whom an offer would move, and those whom it would leave cold or put off.",
}

#: The rule that decided, as a reason that follows "because".
RULES = {
    "holdout_too_small": "too few customers could be asked to prove anything: a first model goes in, and one in use stays",
    "not_measurable": "its quality could not be measured on these customers",
    "below_baseline": "it is no better than the simple method that it must beat",
    "miscalibrated": "its probabilities are too far from what then happened",
    "narrow": "it would show too small a part of the range",
    "slow": "it answers too slowly",
    "unfair": "one group of people would be treated worse than the others, by more than chance explains",
    "first_model": "it is better than the simple method and no model is in use yet",
    "slice_worse": "one group of customers would be served worse than today",
    "better": "it is better than the model in use, by more than chance explains",
    "not_better": "it is not better than the model in use by more than chance explains",
    "asked_not_to": "this run was asked not to, though the rules would let it in",
    "nobody_promoted": "no rule lets a first model in",
}

BASELINES = {
    "popularity": "showing everybody the best sellers",
    "base rate": "giving everybody the average chance",
    "random": "drawing lots",
    "amount alone": "the larger the amount, the likelier the default",
    "velocity rules": "counting how many of a dozen hand-made rules an order breaks",
}

#: What a metric means; the longest name that a metric ends with counts.
MEANINGS = {
    "HR@10": "share of customers whose next item was among the ten suggested",
    "NDCG@10": "the same, and it counts more the higher the item stood; 1 is always first",
    "coverage@10": "share of the items that stand in anybody's ten",
    "negative logloss": "how well the probabilities fit what happened; nearer 0 is better",
    "auc": "of two customers, one of whom is or does it, how often the right one has the higher probability; .5 is guessing, 1 is always",
    "accuracy": "share of customers of whom the most probable value is right",
    "brier": "mean squared gap between probability and outcome; lower is better",
    "logloss": "how far the probabilities are from what is true; lower is better",
    "ece": "how far probabilities are from frequencies on average; lower is better",
    "uplift@30%": "what an offer adds to the chance of the outcome, among the 30 % ranked first",
    "qini": "how well those whom an offer moves stand first; 0 is chance",
    "average precision": "how many of those ranked first are frauds, averaged over all places at which one is found; 1 is a perfect order",
    "precision at capacity": "share of frauds among the orders that the review team can look at in a day, those ranked first",
    "recall at capacity": "share of all frauds that the team would see so",
    "best precision": "the share of frauds that the team would see if it knew every fraud: days with few frauds have no more",
    "cost a hundred orders": "what a hundred orders cost by the verdicts, frauds missed, customers refused and reviews together",
    "auuc": "much the same from another curve; 0 is chance",
    "effect error": "how far predicted effects are from measured ones, on average over tenths of the customers; lower is better",
}


def figure_of(metric: str) -> str:
    """The figure of MEANINGS that `metric` is, `auc` for `gender auc`; '' where nobody said what it means."""
    return next((name for name in sorted(MEANINGS, key=len, reverse=True) if metric.endswith(name)), "")


def summary(
    model: str,
    promoted: bool,
    rule: str,
    rows: int,
    metrics: Mapping[str, Mapping[str, float]],
    baseline: str,
    metric: str,
    step_to_champion: Interval | None = None,
    confusions: Mapping[str, tuple[Sequence[str], np.ndarray]] | None = None,
    ways: Mapping[str, Mapping[str, float]] | None = None,
) -> list[str]:
    """Sentences: what the model is for, what it does, how it stands to the simple method, to the truth and to the model in use, verdict.

    `metrics` maps a model's name to its figures, the run's own first, and `metric` is the main one; `confusions` holds values and
    `metrics.confusion` by trait.
    """
    own, base = next(iter(metrics.values()), {}), metrics.get(baseline, {})
    tell = {"recommender": _recommended, "portrait": _portrayed, "uplift": _moved, "risk": _lent, "fraud": _flagged}[model]
    told = tell(own, base, rows, confusions or {})
    return [
        PURPOSE[model],
        *told,
        *_of_the_way(metric, baseline, ways or {}),
        _beside_champion(step_to_champion),
        _verdict(promoted, rule),
    ]


def _recommended(own: Mapping[str, float], base: Mapping[str, float], rows: int, _: object) -> list[str]:
    if not rows:
        return []
    asked = f"{rows:,} customers were asked about, whose next new item is known but was kept from the model."
    own_share, base_share = _percent(own["HR@10"]), _percent(base["HR@10"])
    return [f"{asked} {own_share} of them chose one of its ten suggestions; of the ten best sellers it would be {base_share}."]


def _portrayed(
    own: Mapping[str, float], _base: object, _rows: int, confusions: Mapping[str, tuple[Sequence[str], np.ndarray]]
) -> list[str]:
    told = []
    for trait, (_, counts) in confusions.items():
        said, name = int(counts[:, :-1].sum()), trait.replace("_", " ")
        if not said:
            told.append(f"It names nobody's {name}: no answer is certain enough.")
        else:
            right = np.trace(counts[:, :-1]) / said
            named = f"It names the {name} of {_percent(said / counts.sum())} of customers and is right for {_percent(right)} of these"
            told.append(f"{named}; the others it calls unknown.")
    area = own.get("purchase_30d auc", float("nan"))
    if np.isfinite(area):
        pairs = "Of two customers, one of whom buys within 30 days, it gives the buyer the higher chance"
        told.append(f"{pairs} {_percent(area)} of the time; guessing would be 50 %.")
    return told


def _moved(own: Mapping[str, float], base: Mapping[str, float], rows: int, _: object) -> list[str]:
    found, average = own.get("uplift@30%", float("nan")), base.get("uplift@30%", float("nan"))
    if not np.isfinite([found, average]).all():
        return []
    of = f"Sent to the 30 % whom it ranks first, an offer brings {100 * found:.1f} more of 100 customers"
    return [f"{of}; sent to anybody, {100 * average:.1f} more of 100. {rows:,} customers of past campaigns were asked about."]


def _lent(own: Mapping[str, float], base: Mapping[str, float], rows: int, _: object) -> list[str]:
    if not np.isfinite(own.get("auc", float("nan"))):
        return []
    of = f"{rows:,} applications were asked about. Of two, one of which was not paid back, it gives that one the higher chance"
    return [f"{of} {_percent(own['auc'])} of the time; by the amount alone it would be {_percent(base['auc'])}."]


def _flagged(own: Mapping[str, float], base: Mapping[str, float], rows: int, _: object) -> list[str]:
    found, simple = own.get("recall at capacity", float("nan")), base.get("recall at capacity", float("nan"))
    if not np.isfinite([found, simple]).all():
        return []
    of = f"{rows:,} orders of accounts that the model never saw were asked about. A review team that looks at those it ranks first each day"
    return [f"{of} would see {_percent(found)} of the frauds; with the simple method {_percent(simple)}."]


def _of_the_way(metric: str, baseline: str, ways: Mapping[str, Mapping[str, float]]) -> list[str]:
    share = next(iter(ways.values()), {}).get(metric, float("nan"))
    if not np.isfinite(share):
        return []
    known = "This shop is simulated, so the best answers are known; they need every customer's true taste, which no model can see."
    simple = BASELINES.get(baseline, baseline)
    if share <= 0:
        return [f"{known} The model does not get nearer to them than {simple}."]
    return [f"{known} Between {simple} (0 %) and these answers (100 %) the model stands at {_percent(float(share))}."]


def _beside_champion(step: Interval | None) -> str:
    if step is None:
        return "No model is in use yet to compare it with."
    if not np.isfinite(step["mean"]):
        return "It could not be compared with the model in use."
    if step["low"] > 0:
        return "Asked the same questions, it does better than the model in use, by more than chance explains."
    if step["high"] < 0:
        return "Asked the same questions, it does worse than the model in use, by more than chance explains."
    return "Asked the same questions, it does about as well as the model in use: the difference is within what chance explains."


def _verdict(promoted: bool, rule: str) -> str:
    reason = RULES.get(rule, f"rule {rule} decided so")
    return f"It goes into use, because {reason}." if promoted else f"It does not go into use, because {reason}."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if abs(share) >= 0.1 else f"{100 * share:.1f} %"
