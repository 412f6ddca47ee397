"""The rules of a release (`release.toml`, a file for people) and what each of them reads. Light to import: DAG files read the times.

Each rule is asked of a `Comparison`; the first that is broken rolls the version back, and where none is, it goes on.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from settings import get_settings

if TYPE_CHECKING:
    from serving.release_compare import Comparison

RULES_FILE = Path(__file__).with_name("release.toml")
MODEL_KEYS = {"share", "metric", "rules"}
TIMES = ("watch_minutes", "answer_minutes")
NONE_BROKEN = "none_broken"


class BadReleaseRules(ValueError):
    """The file says what no release can do; the message says where."""


@dataclass(frozen=True)
class ReleaseRules:
    """Rules of one model: the share of users it is tried on, its online metric, and `(name, parameters)` in order."""

    share: float
    metric: str
    rules: list[tuple[str, dict[str, float]]]


@dataclass(frozen=True)
class ReleaseVerdict:
    """Whether the version goes on, the rule that decided, and one sentence for a person."""

    passed: bool
    rule: str
    reason: str


def times(path: Path | None = None) -> dict[str, float]:
    """`watch_minutes` and `answer_minutes`."""
    path, content = _content(path)
    given = {name: content.get(name) for name in TIMES}
    if not all(isinstance(minutes, (int, float)) and minutes > 0 for minutes in given.values()):
        raise BadReleaseRules(f"{' and '.join(TIMES)} must be minutes, more than none. {path} has {given}. See {RULES_FILE.name}.")
    return {name: float(content[name]) for name in TIMES}


def rules_of(model: str, path: Path | None = None) -> ReleaseRules:
    """The rules of `model` from `path`, `settings.release_rules` or this folder's file; raises BadReleaseRules."""
    path, content = _content(path)
    own = content.get(model, {})
    if not isinstance(own, dict) or set(own) != MODEL_KEYS:
        raise BadReleaseRules(f"`[{model}]` must have {sorted(MODEL_KEYS)}. {path} has {sorted(own)}. See {RULES_FILE.name}.")
    if not 0 < own["share"] <= 1:
        raise BadReleaseRules(f"`share` of `[{model}]` must be above 0 and at most 1. {path} has {own['share']}.")
    found = []
    for rule in own["rules"]:
        name, parameters = rule.get("name"), {key: value for key, value in rule.items() if key != "name"}
        if name not in RULES or set(parameters) != set(RULES[name][1]):
            known = {known: list(wanted) for known, (_, wanted) in RULES.items()}
            raise BadReleaseRules(
                f"A rule must be one of {known}, with those parameters. {path}, `[{model}]`, has {rule}. Correct or delete it."
            )
        found.append((name, parameters))
    return ReleaseRules(float(own["share"]), str(own["metric"]), found)


def decide(comparison: "Comparison", rules: ReleaseRules) -> ReleaseVerdict:
    """The verdict of the rules on a comparison."""
    for name, parameters in rules.rules:
        if reason := RULES[name][0](comparison, **parameters):
            return ReleaseVerdict(False, name, f"{reason} (rule {name})")
    beside = "of a first version" if comparison.stable is None else f"beside version {comparison.stable.version}"
    return ReleaseVerdict(True, NONE_BROKEN, f"no rule was broken on {comparison.canary.requests} recorded requests {beside}")


def _content(path: Path | None) -> tuple[Path, dict[str, Any]]:
    path = path or Path(get_settings().release_rules or RULES_FILE)
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as problem:
        raise BadReleaseRules(f"The rules of a release are a TOML file. {path}: {problem}. Start from {RULES_FILE.name}.") from problem


def _errors(comparison: "Comparison", share: float) -> str | None:
    own, other = comparison.canary, comparison.stable
    limit = max(share, other.errors / other.requests if other else 0.0)
    if own.errors / own.requests > limit:
        return f"{own.errors} of {own.requests} recorded requests failed, the first with: {own.first_error}"
    live, beside = comparison.live.get("canary"), comparison.live.get("stable")
    limit = max(share, beside.errors / beside.requests if beside else 0.0)
    if live and live.errors / live.requests > limit:
        return f"{live.errors} of {live.requests} users' requests failed and were answered by the stable version"
    return None


def _not_finite(comparison: "Comparison", share: float) -> str | None:
    own = comparison.canary
    if own.not_finite / own.requests <= share:
        return None
    return f"{own.not_finite} of {own.requests} answers hold NaN or infinity where the signature allows none"


def _constant(comparison: "Comparison", requests: float) -> str | None:
    if comparison.canary.requests < requests:
        return None
    lost = [name for name in comparison.canary.constant if comparison.stable is None or name not in comparison.stable.constant]
    return f"{', '.join(lost)} is the same in all {comparison.canary.requests} answers" if lost else None


def _slow(comparison: "Comparison", times_stable: float, ms: float, alone_ms: float) -> str | None:
    own, other = comparison.canary, comparison.stable
    if other is None:
        return f"its median is {own.p50_ms:.0f} ms, above {alone_ms:g} ms" if own.p50_ms > alone_ms else None
    for name, took, beside in (("median", own.p50_ms, other.p50_ms), ("99 % point", own.p99_ms, other.p99_ms)):
        if took > max(ms, times_stable * beside):
            return f"its {name} is {took:.0f} ms, the stable version's {beside:.0f} ms"
    return None


def _drift(comparison: "Comparison", psi: float) -> str | None:
    beyond = {name: value for name, value in comparison.psi.items() if value > psi}
    if not beyond:
        return None
    worst = max(beyond, key=lambda name: beyond[name])
    return f"`{worst}` is distributed unlike the stable version's: PSI {beyond[worst]:.2f}, KS {comparison.ks[worst]:.2f}"


def _overlap(comparison: "Comparison", least: float) -> str | None:
    if comparison.overlap is None or comparison.overlap >= least:
        return None
    return f"of the first ten items only {comparison.overlap:.1%} are those of the stable version"


def _worse_online(comparison: "Comparison", decisions: float) -> str | None:
    online = comparison.online
    if online is None or online.decisions < decisions or not online.difference["high"] < 0:
        return None
    step = online.difference
    return (
        f"{online.metric} falls from {online.stable:.4f} by {-step['mean']:.4f} (95 % interval {step['low']:+.4f} to {step['high']:+.4f})"
    )


#: What each rule does, and the parameters it needs; it yields why it is broken, or None.
RULES: dict[str, tuple[Callable[..., str | None], tuple[str, ...]]] = {
    "errors": (_errors, ("share",)),
    "not_finite": (_not_finite, ("share",)),
    "constant": (_constant, ("requests",)),
    "slow": (_slow, ("times_stable", "ms", "alone_ms")),
    "drift": (_drift, ("psi",)),
    "overlap": (_overlap, ("least",)),
    "worse_online": (_worse_online, ("decisions",)),
}
