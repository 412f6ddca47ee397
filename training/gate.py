"""Whether a freshly trained model may be served: `judge` compares it with the baseline and the served model on the same holdout.

The rules stand in `gate.toml`, a file for people; here is what each of them reads. A rule that reads a figure nobody could measure decides
nothing, except that a main metric which cannot be computed promotes nobody (`not_measurable`).
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from settings import get_settings
from training.metrics import Interval, Statistic, interval, resample

RULES_FILE = Path(__file__).with_name("gate.toml")
MODEL_KEYS = {"metric", "baseline", "rules"}


class BadRules(ValueError):
    """The file of rules says what no gate can do; the message says where."""


@dataclass(frozen=True)
class Gate:
    """A model's rules: its main metric, its baseline, and `(name, parameters)` in the order in which they are asked."""

    metric: str
    baseline: str
    rules: list[tuple[str, dict[str, float]]]


@dataclass(frozen=True)
class Verdict:
    """Promoted or not, the rule that decided, one sentence for a person, and the figures it rests on."""

    promoted: bool
    rule: str
    reason: str
    figures: dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What the gate may read besides the main metric; `champion_*` are None where nothing is served.

    `slices` maps a slice's name to whether a holdout row belongs to it, `(rows,)`; `ece` is the worst of the model's probabilities;
    `coverage` the share of items in anybody's list; `latency_ms` medians by batch size.
    """

    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    ece: float | None = None
    coverage: float | None = None
    champion_coverage: float | None = None
    latency_ms: Mapping[int, float] = field(default_factory=dict)
    champion_latency_ms: Mapping[int, float] | None = None
    unfair: Mapping[str, tuple[str, float]] = field(
        default_factory=dict
    )  # by kind of gap: the worst group, and what its gap surely exceeds


def gate_of(model: str, path: Path | None = None) -> Gate:
    """The rules of `model` from `path`, `settings.gate_rules` or this folder's file; raises BadRules where they cannot be followed."""
    path = path or Path(get_settings().gate_rules or RULES_FILE)
    try:
        rules = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as problem:
        raise BadRules(f"The gate's rules are a TOML file. {path}: {problem}. Start from {RULES_FILE.name}.") from problem
    if set(rules.get(model, {})) != MODEL_KEYS:
        raise BadRules(f"`[{model}]` must have {sorted(MODEL_KEYS)}. {path} has {sorted(rules.get(model, {}))}. See {RULES_FILE.name}.")
    found = []
    for rule in rules[model]["rules"]:
        name, parameters = rule.get("name"), {key: value for key, value in rule.items() if key != "name"}
        if name not in RULES or set(parameters) != set(RULES[name][1]):
            known = {known: list(wanted) for known, (_, wanted) in RULES.items()}
            raise BadRules(f"A rule must be one of {known}, with those parameters. {path}, `[{model}]`, has {rule}. Correct or delete it.")
        found.append((name, parameters))
    return Gate(rules[model]["metric"], rules[model]["baseline"], found)


@dataclass(frozen=True)
class Case:
    """One challenger before the gate: what the rules look at."""

    gate: Gate
    rows: int
    values: dict[str, float]  # main metric of challenger, baseline and, where one is served, champion
    drawn: dict[str, np.ndarray]  # the same on resampled rows, `(samples,)`
    by_slice: dict[str, tuple[int, float, Interval]]  # rows, the champion's value, challenger minus champion
    measured: Measured

    @property
    def has_champion(self) -> bool:
        return "champion" in self.values

    def step(self, other: str) -> Interval:
        return interval(self.values["challenger"] - self.values[other], self.drawn["challenger"] - self.drawn[other])


#: What a rule says of a case: promoted or not, and why; None lets the next rule speak.
Decision = tuple[bool, str] | None


def judge(
    model: str,
    rows: int,
    challenger: Statistic,
    baseline: Statistic,
    champion: Statistic | None = None,
    *,
    seed: int,
    samples: int = 1000,
    measured: Measured | None = None,
    gate: Gate | None = None,
) -> Verdict:
    """The verdict on `challenger`, measured on the same `rows` holdout rows as the baseline and, where a model is served, the champion.

    Each `Statistic` takes row indices `(n,)` and gives the model's main metric on them, greater is better: for a mean over users,
    `lambda rows: ndcg[rows].mean()`.
    """
    gate, measured = gate or gate_of(model), measured or Measured()
    statistics = {"challenger": challenger, "baseline": baseline, **({"champion": champion} if champion else {})}
    case = Case(gate, rows, *_resampled(statistics, rows, seed, samples), _by_slice(statistics, measured.slices, seed, samples), measured)
    figures: dict[str, Any] = {"metric": gate.metric, "rows": rows}
    if rows:
        figures |= {name: interval(value, case.drawn[name]) for name, value in case.values.items()}
        figures |= {f"difference_to_{name}": case.step(name) for name in case.values if name != "challenger"}
    if case.by_slice:
        figures["slices"] = {name: {"rows": count, "champion": value, **step} for name, (count, value, step) in case.by_slice.items()}
    figures |= {
        name: value
        for name in ("ece", "coverage", "champion_coverage", "latency_ms", "champion_latency_ms")
        if (value := getattr(measured, name))
    }
    for name, parameters in gate.rules:
        if decision := RULES[name][0](case, **parameters):
            return Verdict(decision[0], name, f"{decision[1]} (rule {name}).", figures)
        if name == "holdout_too_small" and not np.isfinite(list(case.values.values())).all():
            reason = f"{gate.metric} cannot be computed on {rows} holdout rows: not promoted (rule not_measurable)."
            return Verdict(False, "not_measurable", reason, figures)
    if not case.has_champion:
        return Verdict(
            False, "nobody_promoted", f"No rule promotes a first model on {rows} rows: not promoted (rule nobody_promoted).", figures
        )
    served, span = case.values["champion"], _span(case.step("champion"))
    reason = f"{gate.metric} {case.values['challenger']:.4f} is not surely above the served model's {served:.4f} on {rows} rows ({span})"
    return Verdict(False, "not_better", f"{reason}: not promoted (rule not_better).", figures)


def _resampled(statistics: Mapping[str, Statistic], rows: int, seed: int, samples: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    if not rows:
        return {name: float("nan") for name in statistics}, {name: np.empty(0) for name in statistics}
    found, drawn = resample(lambda chosen: np.array([value(chosen) for value in statistics.values()]), rows, seed, samples)
    return dict(zip(statistics, found.tolist(), strict=True)), dict(zip(statistics, drawn.T, strict=True))


def _by_slice(
    statistics: Mapping[str, Statistic], slices: Mapping[str, np.ndarray], seed: int, samples: int
) -> dict[str, tuple[int, float, Interval]]:
    found = {}
    for name, is_member in slices.items() if "champion" in statistics else ():
        members = np.flatnonzero(is_member)
        own = {key: (lambda chosen, value=value: value(members[chosen])) for key, value in statistics.items()}  # noqa: B023
        values, drawn = _resampled(own, len(members), seed, samples)
        step = interval(values["challenger"] - values["champion"], drawn["challenger"] - drawn["champion"])
        found[name] = (len(members), values["champion"], step)
    return found


def _holdout_too_small(case: Case, rows: float) -> Decision:
    if case.rows >= rows:
        return None
    outcome = "the served model stays" if case.has_champion else "promoted as the first model, unproven"
    return not case.has_champion, f"Only {case.rows} holdout rows, fewer than {rows:g}: {outcome}"


def _below_baseline(case: Case, margin: float) -> Decision:
    own, base = case.values["challenger"], case.values["baseline"]
    if own > base + margin:
        return None
    by = f" by more than {margin:g}" if margin else ""
    return False, f"{case.gate.metric} {own:.4f} is not above {case.gate.baseline} {base:.4f}{by} on {case.rows} rows: not promoted"


def _miscalibrated(case: Case, ece: float) -> Decision:
    if case.measured.ece is None or not case.measured.ece > ece:
        return None
    return False, f"Probabilities are off by {case.measured.ece:.3f} on average, more than {ece:g}: not promoted"


def _narrow(case: Case, coverage: float, of_champion: float) -> Decision:
    own, served = case.measured.coverage, case.measured.champion_coverage
    least = max(coverage, of_champion * (served or 0.0))
    if own is None or own >= least:
        return None
    return False, f"Lists cover {own:.1%} of the items, less than {least:.1%}: not promoted"


def _slow(case: Case, times_champion: float, ms: float) -> Decision:
    for batch, own in case.measured.latency_ms.items():
        served = (case.measured.champion_latency_ms or {}).get(batch)
        if served is not None and own > max(ms, times_champion * served):
            return False, f"A batch of {batch} takes {own:.1f} ms, the served model {served:.1f} ms: not promoted"
    return None


def _unfair(case: Case, approved_gap: float, calibration_gap: float) -> Decision:
    for kind, most in (("approved_gap", approved_gap), ("calibration_gap", calibration_gap)):
        group, gap = case.measured.unfair.get(kind, ("", 0.0))
        if gap > most:
            what = "approvals among those who pay back" if kind == "approved_gap" else "probabilities"
            return False, f"{group}: {what} are surely off by more than {gap:.3f}, where {most:g} is allowed: not promoted"
    return None


def _first_model(case: Case) -> Decision:
    if case.has_champion:
        return None
    own, base = case.values["challenger"], case.values["baseline"]
    gain = _span(case.step("baseline"))
    text = f"{case.gate.metric} {own:.4f} is above {case.gate.baseline} {base:.4f} on {case.rows} rows ({gain}) and nothing is served yet"
    return True, f"{text}: promoted"


def _slice_worse(case: Case, rows: float, loss: float) -> Decision:
    for name, (count, served, step) in case.by_slice.items():
        if count >= rows and step["high"] < -loss * abs(served):
            return False, f"{case.gate.metric} of {name} ({count} rows) falls from {served:.4f} ({_span(step)}): not promoted"
    return None


def _better(case: Case) -> Decision:
    own, served, step = case.values["challenger"], case.values["champion"], case.step("champion")
    if step["low"] <= 0:
        return None
    return True, f"{case.gate.metric} {own:.4f} beats the served model's {served:.4f} on {case.rows} rows ({_span(step)}): promoted"


#: What each rule does, and the parameters it needs.
RULES: dict[str, tuple[Callable[..., Decision], tuple[str, ...]]] = {
    "holdout_too_small": (_holdout_too_small, ("rows",)),
    "below_baseline": (_below_baseline, ("margin",)),
    "miscalibrated": (_miscalibrated, ("ece",)),
    "narrow": (_narrow, ("coverage", "of_champion")),
    "slow": (_slow, ("times_champion", "ms")),
    "unfair": (_unfair, ("approved_gap", "calibration_gap")),
    "first_model": (_first_model, ()),
    "slice_worse": (_slice_worse, ("rows", "loss")),
    "better": (_better, ()),
}


def _span(interval: Interval) -> str:
    return f"difference {interval['mean']:+.4f}, 95 % interval {interval['low']:+.4f} to {interval['high']:+.4f}"
