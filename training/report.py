"""One training run as one HTML file that a person can read and keep: styles and plots inside, nothing fetched, all text escaped."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from training import report_plots
from training.metrics import Interval


@dataclass(frozen=True)
class Report:
    """What a run report shows; an empty field leaves its section out.

    `metrics` maps a model's name to its metrics, the trained model first, then baselines and the served model; `curves` hold one value an
    epoch; `calibration` maps a heading to `(is_true, probability)` rows; `popularity` is how often each item was listed and how often it
    stands in histories, `(items,)` each; `tables` maps a heading (slices, example users) to rows with the same keys.
    """

    title: str
    subtitle: str
    promoted: bool
    reason: str
    metrics: Mapping[str, Mapping[str, float | Interval]]
    provenance: Mapping[str, object]
    note: str = ""
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    calibration: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    popularity: tuple[np.ndarray, np.ndarray] | None = None
    tables: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)


def write_report(path: Path, report: Report) -> Path:
    """Write the report to `path`, and return it."""
    page = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page.filters |= {"value": _value, "span": _span, "cell": _cell}
    others = {}
    if report.curves:
        others["Training"] = report_plots.training_curves(report.curves)
    if report.calibration:
        others["Calibration"] = report_plots.calibration(report.calibration)
    if report.popularity:
        others["Popularity"] = report_plots.popularity(*report.popularity)
    names = list(dict.fromkeys(name for values in report.metrics.values() for name in values))
    plots = {
        "intervals": Markup(report_plots.intervals(report.metrics)),
        "others": {heading: Markup(plot) for heading, plot in others.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page.get_template("report.html.jinja").render(report=report, names=names, plots=plots), encoding="utf-8")
    return path


def _value(value: float | Interval) -> str:
    return _cell(report_plots.spread(value)["mean"])


def _span(value: float | Interval) -> str:
    if not isinstance(value, dict) or not math.isfinite(value["low"]):
        return ""
    return f"[{_cell(value['low'])}, {_cell(value['high'])}]"


def _cell(value: object) -> str:
    """Numbers with four digits, lists joined, the rest as text."""
    if isinstance(value, float | np.floating):
        return f"{value:.4f}" if math.isfinite(value) else "–"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(part) for part in value)
    return str(value)
