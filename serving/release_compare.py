"""A version on trial beside the stable one: the same recorded requests to both, in turns, and what their answers say.

No user is needed for it and none sees it. What live traffic adds (`release_live.py`, `outcomes.py`) stands in the same `Comparison`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving.model_client import ModelClient, ModelError, Prediction

#: Requests are asked until this time is over; the slower a version is, the fewer it gets.
BUDGET_SECONDS = 30.0
#: A request that takes longer has failed.
TIMEOUT_SECONDS = 5.0
TOP = 10
#: Distributions of fewer numbers are not compared: their PSI is mostly chance.
MIN_NUMBERS = 30

#: Where the signatures say that NaN means something, and where minus infinity does.
MAY_BE_NAN = frozenset({"expected_spend_90d", "interest_shares_30d_ago", "interest_changes", "interest_break_evidence"})
MAY_BE_MINUS_INFINITY = frozenset({"scores"})

Request = Mapping[str, Any]
#: A value, and a 95 % range: `{"mean", "low", "high"}`.
Interval = dict[str, float]


@dataclass(frozen=True)
class Side:
    """What one version did with the requests; `constant` are its outputs that were the same in every answer."""

    version: int
    requests: int
    errors: int
    first_error: str
    not_finite: int
    p50_ms: float
    p99_ms: float
    constant: tuple[str, ...]


@dataclass(frozen=True)
class Live:
    """What one label did with users' requests since the trial began; an error of the canary was answered by the stable version."""

    requests: int
    errors: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Online:
    """The online metric by arm and canary minus stable, with a 95 % interval over users; `decisions` of the smaller arm."""

    metric: str
    decisions: int
    canary: float
    stable: float
    difference: Interval


@dataclass(frozen=True)
class Comparison:
    """The version on trial, and beside it the stable one; None where there is none yet.

    `psi` and `ks` by output compare the distributions of its numbers, `overlap` is the mean share of the first TOP items that both name.
    """

    model: str
    canary: Side
    stable: Side | None
    psi: Mapping[str, float] = field(default_factory=dict)
    ks: Mapping[str, float] = field(default_factory=dict)
    overlap: float | None = None
    live: Mapping[str, Live] = field(default_factory=dict)
    online: Online | None = None

    def as_text(self) -> str:
        """A table in Markdown, and a line for each further figure."""
        sides = [("on trial", self.canary), *([("stable", self.stable)] if self.stable else [])]
        lines = [
            f"**{self.model}**: recorded requests, the same to each version",
            "",
            "| | version | requests | failed | not finite | p50 ms | p99 ms |",
        ]
        lines += ["|---|---|---|---|---|---|---|"]
        for name, side in sides:
            lines.append(
                f"| {name} | {side.version} | {side.requests} | {side.errors} | {side.not_finite} | {side.p50_ms:.1f} | {side.p99_ms:.1f} |"
            )
        lines.append("")
        if self.canary.first_error:
            lines.append(f"- first failure: {self.canary.first_error}")
        if self.canary.constant:
            lines.append(f"- the same in every answer: {', '.join(self.canary.constant)}")
        if self.psi:
            worst = max(self.psi, key=lambda name: self.psi[name])
            lines.append(f"- drift is largest in `{worst}`: PSI {self.psi[worst]:.3f}, KS {self.ks[worst]:.3f}")
        if self.overlap is not None:
            lines.append(f"- of the first {TOP} items {self.overlap:.0%} are the same")
        for label, live in self.live.items():
            lines.append(
                f"- users, {label}: {live.requests} requests, {live.errors} failed, p50 {live.p50_ms:.1f} ms, p99 {live.p99_ms:.1f} ms"
            )
        if self.online:
            step = self.online.difference
            lines.append(
                f"- {self.online.metric}: canary {self.online.canary:.4f}, stable {self.online.stable:.4f}, difference {step['mean']:+.4f} "
                f"({step['low']:+.4f} to {step['high']:+.4f}) on {self.online.decisions} decisions"
            )
        return "\n".join(lines)


def mirror(
    client: ModelClient, model: str, canary: int, stable: int | None, requests: Sequence[Request], budget_s: float = BUDGET_SECONDS
) -> Comparison:
    """Ask both versions every request, each first in turn, within `budget_s` seconds, and compare."""
    versions = [canary, *([stable] if stable is not None else [])]
    answers: dict[int, list[Prediction | None]] = {version: [] for version in versions}
    times: dict[int, list[float]] = {version: [] for version in versions}
    errors: dict[int, list[str]] = {version: [] for version in versions}
    for version in versions:
        _ask(client, model, version, requests[0])  # the first of a version is slower, whichever it is
    until = time.monotonic() + budget_s
    for number, request in enumerate(requests):
        if time.monotonic() > until:
            break
        for version in versions if number % 2 else versions[::-1]:
            answer, seconds, error = _ask(client, model, version, request)
            answers[version].append(answer)
            times[version].append(1000 * seconds)
            errors[version] += [error] if error else []
    sides = {version: _side(version, answers[version], times[version], errors[version]) for version in versions}
    if stable is None:
        return Comparison(model, sides[canary], None)
    both = [(own, other) for own, other in zip(answers[canary], answers[stable], strict=True) if own and other]
    psis, kss = {}, {}
    for name in _float_outputs([own for own, _ in both]):
        own, other = (_finite([pair[place][name] for pair in both if name in pair[place]]) for place in (0, 1))
        if min(len(own), len(other)) >= MIN_NUMBERS:
            psis[name], kss[name] = psi(other, own), ks(other, own)
    overlaps = [top_overlap(own["item_ids"], other["item_ids"]) for own, other in both if "item_ids" in own and "item_ids" in other]
    return Comparison(model, sides[canary], sides[stable], psis, kss, float(np.mean(overlaps)) if overlaps else None)


def is_sound(answer: Mapping[str, np.ndarray]) -> bool:
    """No number is NaN or infinite where the signature gives it no meaning."""
    for name, values in answer.items():
        if values.dtype.kind == "f":
            allowed = np.isfinite(values)
            allowed |= np.isnan(values) & (name in MAY_BE_NAN)
            allowed |= np.isneginf(values) & (name in MAY_BE_MINUS_INFINITY)
            if not allowed.all():
                return False
    return True


def psi(expected: np.ndarray, found: np.ndarray, bins: int = 10) -> float:
    """Population stability index of two samples over the tenths of the first: sum of (q - p) ln(q / p).

    A part that a sample lacks counts as half a value, so that the index is finite. Below 0.1 is the same, above 0.25 a major shift.
    """
    edges = np.unique(np.quantile(expected, np.linspace(0, 1, bins + 1)[1:-1]))
    p, q = (_shares(sample, edges) for sample in (expected, found))
    return float(np.sum((q - p) * np.log(q / p)))


def ks(one: np.ndarray, other: np.ndarray) -> float:
    """The largest distance of two samples' distribution functions (Kolmogorov and Smirnov)."""
    at = np.concatenate([one, other])
    below = [np.searchsorted(np.sort(sample), at, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def top_overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Mean share of the first TOP items of each row, `(batch, k)`, that both name; '' names nothing."""
    rows = [(set(a[:TOP].tolist()) - {""}, set(b[:TOP].tolist()) - {""}) for a, b in zip(one, other, strict=True)]
    return float(np.mean([len(a & b) / max(len(a), len(b), 1) for a, b in rows]))


def _ask(client: ModelClient, model: str, version: int, request: Request) -> tuple[Prediction | None, float, str]:
    begin = time.perf_counter()
    try:
        answer = client.predict(model, request, version=version, timeout_s=TIMEOUT_SECONDS)
    except ModelError as error:
        return None, time.perf_counter() - begin, " ".join(str(error).split())
    return answer, time.perf_counter() - begin, ""


def _side(version: int, answers: list[Prediction | None], times: list[float], errors: list[str]) -> Side:
    given = [answer for answer in answers if answer is not None]
    p50, p99 = np.percentile(times, [50, 99])
    constant = tuple(name for name in _float_outputs(given) if _is_constant([answer[name] for answer in given]))
    not_finite = sum(not is_sound(answer) for answer in given)
    return Side(version, len(answers), len(errors), errors[0] if errors else "", not_finite, float(p50), float(p99), constant)


def _float_outputs(answers: Sequence[Prediction]) -> list[str]:
    return [name for name, values in answers[0].items() if values.dtype.kind == "f"] if answers else []


def _is_constant(values: list[np.ndarray]) -> bool:
    first = values[0]
    return not np.isnan(first).all() and all(np.array_equal(first, other, equal_nan=True) for other in values[1:])


def _finite(values: list[np.ndarray]) -> np.ndarray:
    flat = np.concatenate([value.ravel() for value in values]) if values else np.empty(0)
    return flat[np.isfinite(flat)].astype(np.float64)


def _shares(sample: np.ndarray, edges: np.ndarray) -> np.ndarray:
    counts = np.bincount(np.searchsorted(edges, sample, side="left"), minlength=len(edges) + 1).astype(np.float64)
    return np.maximum(counts, 0.5) / np.maximum(counts, 0.5).sum()
