"""What a training run leaves: a folder `candidates/<model>/<run>/`, whole or not there at all, and its line in MLflow."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from settings import get_settings

if TYPE_CHECKING:
    from training.effect_measures import Tenth
    from training.examples import Example
    from training.metrics import Interval


class TrainingSkipped(Exception):
    """The shop's tables do not carry this model; the message names the table and what it lacks."""


@dataclass(frozen=True)
class TrainingWindow:
    """Days `[start, end)` of landing data that a run may know."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(f"A window's start must lie before its end. Received {self.start} to {self.end}. Give at least one day.")

    @property
    def end_at(self) -> datetime:
        return datetime.combine(self.end, time())

    @property
    def start_at(self) -> datetime:
        return datetime.combine(self.start, time())

    @property
    def holdout_at(self) -> datetime:
        """Known before: learned from; after: asked. The last 7 days, or the last tenth of a window under 70 days."""
        days = (self.end - self.start).days
        return self.end_at - timedelta(days=max(1, min(7, days // 10)))


@dataclass(frozen=True)
class TrainingOptions:
    """A person's choices; None is the default of settings or of the model's config."""

    epochs: int | None = None
    seed: int | None = None
    promote: bool = True

    @property
    def chosen_seed(self) -> int:
        return get_settings().seed if self.seed is None else self.seed


@dataclass(frozen=True)
class Run:
    """One finished run and its verdict."""

    model: str
    path: Path
    metrics: dict[str, Any]
    promoted: bool
    reason: str


@dataclass(frozen=True)
class Evidence:
    """How a trained model did on the holdout, beside its baseline and the served model.

    `rows` holdout rows; each statistic takes row numbers and gives the main metric, greater is better. `metrics` maps a model's name to its
    figures, the trained model first; where the shop is simulated, its oracle is one of them. The rest is for the report.
    """

    rows: int
    challenger: Callable[[np.ndarray], float]
    baseline: Callable[[np.ndarray], float]
    champion: Callable[[np.ndarray], float] | None
    metrics: dict[str, dict[str, float]]
    note: str = ""
    curves: dict[str, list[float]] = field(default_factory=dict)
    calibration: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    popularity: tuple[np.ndarray, np.ndarray] | None = None
    tables: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    intervals: dict[str, dict[str, Interval]] = field(default_factory=dict)  # of the figures in `metrics` that rows can be resampled for
    confusions: dict[str, tuple[list[str], np.ndarray]] = field(default_factory=dict)  # values and `metrics.confusion` by trait
    gains: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)  # Qini curves by offer and model
    tenths: dict[str, list[Tenth]] = field(default_factory=dict)  # effects by offer
    examples: list[Example] = field(default_factory=list)
    samples: int = 1000
    slices: dict[str, np.ndarray] = field(default_factory=dict)  # whether each holdout row belongs, `(rows,)`
    champion_path: Path | None = None  # the served model's SavedModel
    coverage: tuple[float | None, float | None] = (None, None)  # of the lists, the trained model's and the served one's
    unfair: dict[str, tuple[str, float]] = field(default_factory=dict)  # see `gate.Measured`
    unjudged: str = ""  # what the gate could not look at, in a sentence that its verdict ends with
    facts: dict[str, object] = field(default_factory=dict)  # what metrics.json says beside the figures


def content_hash(*parts: Any) -> str:
    """Eight hex digits that change when any part does: arrays, lists of arrays, or what JSON can hold."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, list) and part and isinstance(part[0], np.ndarray):
            part = np.concatenate(part)
        if isinstance(part, np.ndarray) and part.dtype != object:
            digest.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(part, np.ndarray):
            digest.update("\x1f".join(map(str, part)).encode())
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
        digest.update(b"\x1e")
    return digest.hexdigest()[:8]


def run_path(model: str, window: TrainingWindow, seed: int, content: str) -> Path:
    """The same window, seed and content are the same run."""
    return get_settings().candidates_dir / model / f"{window.start}_{window.end}_s{seed}_{content}"


@contextmanager
def run_folder(model: str, window: TrainingWindow, seed: int, content: str) -> Iterator[tuple[Path, Path]]:
    """The folder to write into, and the one that takes its place when the block ends well; an equal run from before is replaced."""
    final = run_path(model, window, seed, content)
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = final.parent / f".{final.name}.tmp-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft, final
        old = final.parent / f".{final.name}.old-{os.getpid()}"
        if final.exists():
            final.rename(old)
        draft.rename(final)
        shutil.rmtree(old, ignore_errors=True)
        (final.parent / "skipped.json").unlink(missing_ok=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def skip(model: str, window: TrainingWindow, reason: str) -> TrainingSkipped:
    """The exception to raise; its reason is also kept in `candidates/<model>/skipped.json`."""
    folder = get_settings().candidates_dir / model
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"model": model, "start": str(window.start), "end": str(window.end), "reason": reason}
    (folder / "skipped.json").write_text(json.dumps(kept, indent=1))
    return TrainingSkipped(f"{model}: {reason}")


def conclude(
    model: str,
    draft: Path,
    final: Path,
    evidence: Evidence,
    options: TrainingOptions,
    params: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> Run:
    """Judges the evidence, writes `verdict.json`, `metrics.json` and `report.html` into `draft`, and logs the run in MLflow."""
    from training.gate import Measured, gate_of, judge
    from training.metrics import ece
    from training.oracle import ways
    from training.registry import register
    from training.report import Report, write_report
    from training.report_words import summary
    from training.served import latency_ms
    from training.tracking import log_run

    measured = Measured(
        slices=evidence.slices,
        ece=max((ece(is_true, chances) for is_true, chances in evidence.calibration.values()), default=None),
        coverage=evidence.coverage[0],
        unfair=evidence.unfair,
        champion_coverage=evidence.coverage[1],
        latency_ms=latency_ms(draft / "saved_model"),
        champion_latency_ms=latency_ms(evidence.champion_path) if evidence.champion_path else None,
    )
    verdict = judge(
        model,
        evidence.rows,
        evidence.challenger,
        evidence.baseline,
        evidence.champion,
        seed=options.chosen_seed,
        samples=evidence.samples,
        measured=measured,
    )
    promoted = verdict.promoted and options.promote
    reason = verdict.reason if promoted or not verdict.promoted else f"{verdict.reason} The run was asked not to promote."
    reason = f"{reason} {evidence.unjudged}".rstrip()
    figures = asdict(verdict) | {"promoted": promoted, "reason": reason}
    (draft / "verdict.json").write_text(json.dumps(_finite(figures), indent=1, default=str))
    (draft / "metrics.json").write_text(json.dumps(_finite({**evidence.metrics, **evidence.facts}), indent=1))
    baseline, metric = gate_of(model).baseline, gate_of(model).metric
    of_the_way = ways(evidence.metrics, baseline)
    step = verdict.figures.get("difference_to_champion")
    rule = verdict.rule if promoted or not verdict.promoted else "asked_not_to"
    report = Report(
        title=f"{model.capitalize()} of {provenance['window'].replace('/', ' to ')}",
        subtitle=f"Run {final.name}, {evidence.rows:,} holdout rows",
        promoted=promoted,
        reason=reason,
        metrics=_with_intervals(evidence),
        provenance={**provenance, **params},
        summary=summary(model, promoted, rule, evidence.rows, evidence.metrics, baseline, metric, step, evidence.confusions, of_the_way),
        baseline=baseline,
        ways=of_the_way,
        champion=_beside_champion(verdict.figures),
        note=evidence.note,
        curves=evidence.curves,
        calibration=evidence.calibration,
        popularity=evidence.popularity,
        confusions=evidence.confusions,
        tables=evidence.tables,
        gains=evidence.gains,
        tenths=evidence.tenths,
        examples=evidence.examples,
    )
    write_report(draft / "report.html", report)
    own = next(iter(evidence.metrics.values()), {})
    run_id = log_run(
        model,
        final.name,
        params={**params, "window": provenance["window"]},
        curves=evidence.curves,
        metrics=own,
        files=[draft / "report.html"],
        tags={"promoted": str(promoted), "reason": reason[:400]},
    )
    register(model, run_id, final, draft / "saved_model")
    return Run(model, final, evidence.metrics, promoted, reason)


def _with_intervals(evidence: Evidence) -> dict[str, dict[str, Any]]:
    """The figures as intervals where there are some, the oracle last."""
    from training.oracle import ORACLE

    models = sorted(evidence.metrics, key=lambda name: name == ORACLE)
    return {model: {**evidence.metrics[model], **evidence.intervals.get(model, {})} for model in models}


def _beside_champion(figures: Mapping[str, Any]) -> list[dict[str, object]]:
    """The main metric of both, and the run's own less the served one's with its range: of all holdout rows, then of each slice."""
    if "champion" not in figures:
        return []
    whole = {"rows": figures["rows"], "champion": figures["champion"]["mean"], **figures["difference_to_champion"]}
    return [
        {
            "who": name,
            "rows": part["rows"],
            f"{figures['metric']}, in use": part["champion"],
            "this run": part["champion"] + part["mean"],
            "difference": part["mean"],
            "95 % range": [part["low"], part["high"]],
        }
        for name, part in {"all": whole, **figures.get("slices", {})}.items()
    ]


def _finite(value: Any) -> Any:
    """JSON knows no NaN: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
