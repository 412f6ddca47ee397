"""The part of `docs/benchmarks.md` of `benchmarks.uplift`, from what it has measured."""

from typing import Any

from training.metrics import Interval, over_splits
from training.uplift_config import UpliftConfig

FIGURES = ("uplift@30%", "qini", "auuc")
OWN = "Portrait"


def text(found: dict[str, Any]) -> str:
    """The part of the page, of the splits that were measured."""
    splits = found["splits"]
    names = list(splits[0]["rows"])
    lines = [
        "## Uplift",
        "",
        f"`KERAS_BACKEND={found['backend']} python -m benchmarks.uplift --data ../shared/data/hillstrom --splits {len(splits)}`, "
        f"{found['date']}, {found['machine']}: {found['seconds']:.0f} s. Targets `{found['targets_sha256'][:16]}`.",
        "",
        f"Hillstrom's e-mails, mean of {len(splits)} stratified 50/50 splits with corrected 95 % intervals (Nadeau and Bengio), "
        "scikit-uplift's functions. The learners are scikit-learn's histogram gradient boosting, by its defaults (untuned) and as chosen; "
        "Portrait is as it ships. "
        "*Difference* is Portrait less the learner, split by split. *Effect error* is the mean gap between predicted and measured effects "
        f"over tenths of the users; the noise of measuring makes {_mean(splits, names[0], OWN, 'effect_error_by_chance'):.4f} of it.",
        "",
        f"Portrait's defaults when this was measured: {', '.join(f'{name} {value}' for name, value in found['config'].items())}."
        f"{_since(found['config'])}",
        "",
    ]
    lines += _chosen(found["chosen"])
    for name in names:
        email, outcome = name.split()
        lines += [
            f"### {email.replace('_', ' ')} against none, {outcome}",
            "",
            "| | uplift@30% | difference | qini | auuc | effect error | CPU s |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        learners = sorted(splits[0]["rows"][name], key=lambda who: (who != OWN, -_mean(splits, name, who, "uplift@30%")))
        for who in learners:
            own = [over_splits(_values(splits, name, who, figure), 0.5) for figure in FIGURES]
            apart = "" if who == OWN else _shown(_difference(splits, name, who), True)
            cells = [_shown(own[0]), apart, _shown(own[1]), _shown(own[2])]
            cells += [f"{_mean(splits, name, who, 'effect_error'):.4f}", f"{_mean(splits, name, who, 'cpu_seconds'):.1f}"]
            lines.append(f"| {who} | " + " | ".join(cells) + " |")
        best = learners[1]
        lines += ["", _verdict(_difference(splits, name, best), best), ""]
    lines += [
        "### One of two e-mails, or none, for everybody",
        "",
        "What share of the held-out half would visit, by inverse propensities (normalised) and doubly robust.",
        "",
        "| | visits | doubly robust |",
        "| --- | --- | --- |",
    ]
    for who in splits[0]["choice"]:
        own = [over_splits([split["choice"][who][figure] for split in splits], 0.5) for figure in splits[0]["choice"][who]]
        lines.append(f"| {who} | {_shown(own[0])} | {_shown(own[1])} |")
    return "\n".join(lines + (_shop(found["shop"]) if "shop" in found else []))


def _since(measured: dict[str, Any]) -> str:
    """What has changed of the defaults since then, in words."""
    changed = {name: value for name, value in UpliftConfig().to_dict().items() if measured.get(name) != value}
    named = ", ".join(f"{name} {value}" for name, value in changed.items())
    return f" **Since then** they were changed and not measured here again: {named}." if changed else ""


def _shop(shop: dict[str, Any]) -> list[str]:
    lines = [
        "",
        "### The simulated shop's offers, beside the true effects",
        "",
        f"`python -m benchmarks.uplift ... --shop`, {shop['date']}, {shop['machine']}, seed {shop['seed']}. {shop['learned from']:,} "
        f"assignments taught, {shop['users']:,} were asked; three offers against control, figures averaged over them. The informed ceiling "
        "knows what the shop draws its effects from, and learns their sizes from the same rows: what it misses is noise. The PEHE of the "
        "true average effect for everybody stands in brackets. *Held* is the share of true effects within their 95 % intervals, of all and "
        "of those of .1 and more.",
        "",
        "| | rank correlation | PEHE | held | held of the moved | uplift@30% | qini |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for outcome, models in shop["outcomes"].items():
        for who, own in models.items():
            held = [f"{own[name]:.0%}" if name in own else "" for name in ("within the interval", "of the moved")]
            cells = [f"{own['rank correlation']:.3f}", f"{own['pehe']:.4f} ({own['pehe_of_average']:.4f})", *held]
            lines.append(f"| {who}, {outcome} | " + " | ".join([*cells, f"{own['uplift@30%']:.4f}", f"{own['qini']:.4f}"]) + " |")
    shares = list(next(iter(shop["earned"].values())))
    lines += [
        "",
        "What plans by these effects on purchases truly earn of the best possible, by share of the budget that could be spent, for those "
        "asked of the newest campaign's customers:",
        "",
        "| | " + " | ".join(shares) + " |",
        "| --- |" + " --- |" * len(shares),
        *(f"| {who} | " + " | ".join(f"{own[share]:.0%}" for share in shares) + " |" for who, own in shop["earned"].items()),
    ]
    return lines


def _chosen(chosen: dict[str, dict[str, list[float]]]) -> list[str]:
    lines = [
        "What validation chose from for the learners, by mean Qini over five folds inside the training halves of four other splits:",
        "",
        "| | setting | uplift@30% | qini | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for who, settings in chosen.items():
        best = max(qini for _, qini in settings.values())
        for setting, (first, qini) in settings.items():
            lines.append(f"| {who} | {setting} | {first:.4f} | {qini:.4f} | {'chosen' if qini == best else ''} |")
    return [*lines, ""]


def _values(splits: list[dict[str, Any]], name: str, who: str, figure: str) -> list[float]:
    return [split["rows"][name][who][figure] for split in splits]


def _mean(splits: list[dict[str, Any]], name: str, who: str, figure: str) -> float:
    values = _values(splits, name, who, figure)
    return sum(values) / len(values)


def _difference(splits: list[dict[str, Any]], name: str, who: str) -> Interval:
    own, other = (_values(splits, name, one, "uplift@30%") for one in (OWN, who))
    return over_splits([a - b for a, b in zip(own, other, strict=True)], 0.5)


def _verdict(difference: Interval, best: str) -> str:
    """In a sentence, whether Portrait is above the best learner, which was picked on these very halves."""
    if difference["low"] > 0:
        return f"Portrait is above the best learner ({best}) by more than the splits explain."
    if difference["high"] < 0:
        return f"Portrait is below the best learner ({best}) by more than the splits explain."
    return (
        f"Between Portrait and the best learner ({best}, picked on these very halves) the splits cannot tell: the interval includes zero."
    )


def _shown(value: Interval, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{value['mean']:{sign}.4f} ({value['low']:{sign}.4f} to {value['high']:{sign}.4f})"
