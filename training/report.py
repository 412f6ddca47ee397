"""One training run as one HTML file that a person can read and keep: styles and plots inside, nothing fetched, all text escaped."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from training import report_plots
from training.metrics import Interval
from training.report_words import MEANINGS, figure_of

if TYPE_CHECKING:
    from training.effect_measures import Tenth
    from training.examples import Example

TABLE_ONLY = ("accuracy", "logloss", "ece", "auuc")


@dataclass(frozen=True)
class Report:
    """What a run report shows; an empty field leaves its section out.

    `summary` are sentences for people, at the top. `metrics` maps a model's name to its metrics, the trained model first, then baselines,
    the served model and the oracle of a simulated shop; `ways` the share of the way from `baseline` to that oracle. `champion` compares
    with the served model; `curves` hold one value an epoch; `calibration` maps a heading to `(is_true, probability)` rows; `popularity` is
    how often each item was listed and how often it stands in histories, `(items,)` each; `gains` are Qini curves by offer and model and
    `tenths` effects by offer; `confusions` maps a trait to its values and
    `metrics.confusion`; `tables` maps a heading (slices) to rows with the same keys.
    """

    title: str
    subtitle: str
    promoted: bool
    reason: str
    metrics: Mapping[str, Mapping[str, float | Interval]]
    provenance: Mapping[str, object]
    summary: Sequence[str] = ()
    baseline: str = ""
    ways: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    champion: Sequence[Mapping[str, object]] = ()
    note: str = ""
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    calibration: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    popularity: tuple[np.ndarray, np.ndarray] | None = None
    confusions: Mapping[str, tuple[Sequence[str], np.ndarray]] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)
    gains: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    tenths: "Mapping[str, Sequence[Tenth]]" = field(default_factory=dict)
    examples: "Sequence[Example]" = ()


def write_report(path: Path, report: Report) -> Path:
    """Write the report to `path`, and return it."""
    page = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page.filters |= {"value": _value, "span": _span, "cell": _cell, "percent": _percent}
    others = {}
    if report.calibration:
        others["Probabilities against what happened"] = report_plots.calibration(report.calibration)
    if report.popularity:
        others["Best sellers in the lists and in the records"] = report_plots.popularity(*report.popularity)
    if report.gains:
        others["Outcomes gained by how many are addressed, the most moved first (Qini)"] = report_plots.gains(report.gains)
    if report.tenths:
        others["Effects by tenth of the users, predicted and measured"] = report_plots.tenths(report.tenths)
    if report.curves:
        others["Training"] = report_plots.training_curves(report.curves)
    names = list(dict.fromkeys(name for values in report.metrics.values() for name in values))
    meanings = {figure: MEANINGS[figure] for figure in dict.fromkeys(map(figure_of, names)) if figure}
    plots = {
        "intervals": [Markup(panel) for panel in report_plots.intervals(_with_ranges(report.metrics))],
        "others": {heading: [Markup(panel) for panel in panels] for heading, panels in others.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        page.get_template("report.html.jinja").render(report=report, names=names, meanings=meanings, plots=plots), encoding="utf-8"
    )
    return path


def _with_ranges(metrics: Mapping[str, Mapping[str, float | Interval]]) -> dict[str, dict[str, float | Interval]]:
    """The metrics to plot: those of which some model has an interval, and one of each kind; the others are in the table."""
    ranged = {name for values in metrics.values() for name, value in values.items() if isinstance(value, dict)}
    plotted = {name for name in ranged if figure_of(name) not in TABLE_ONLY}
    return {model: {name: value for name, value in values.items() if name in plotted} for model, values in metrics.items()}


def _value(value: float | Interval) -> str:
    return _cell(report_plots.spread(value)["mean"])


def _span(value: float | Interval) -> str:
    if not isinstance(value, dict) or not math.isfinite(value["low"]):
        return ""
    return f"[{_cell(value['low'])}, {_cell(value['high'])}]"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if math.isfinite(share) else "–"


def _cell(value: object) -> str:
    """Numbers with four digits, lists joined, the rest as text."""
    if isinstance(value, float | np.floating):
        return f"{value:.4f}" if math.isfinite(value) else "–"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(part) for part in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
