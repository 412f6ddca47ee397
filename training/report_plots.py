"""The plots of a run report, as SVG text to stand inside the page: drawn without a display, equal for equal figures.

A plot is a list of panels, one SVG each, so that a narrow page can stack them; colours are the page's own variables (`--ink`, `--line`,
`--plot-1` ...), with the values below where a page has none.
"""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.metrics import Interval

if TYPE_CHECKING:
    from training.effect_measures import Tenth

INK, GRID = "#334155", "#e2e8f0"
COLOURS = ("#0f766e", "#c2410c", "#4338ca", "#a16207", "#be185d", "#475569")
VARIABLES = {INK: "ink", GRID: "line", **{colour: f"plot-{number + 1}" for number, colour in enumerate(COLOURS)}}

Draw = Callable[[Axes], None]


def training_curves(curves: Mapping[str, Sequence[float]]) -> list[str]:
    """One panel a curve, one value an epoch, the best epoch of each marked (lowest for a loss, else highest)."""

    def panel_of(name: str, values: Sequence[float], colour: str) -> Draw:
        def draw(panel: Axes) -> None:
            epochs = np.arange(1, len(values) + 1)
            panel.plot(epochs, values, color=colour, linewidth=1.8, marker="o", markersize=3)
            best = int(np.nanargmin(values) if "loss" in name else np.nanargmax(values)) if np.isfinite(values).any() else 0
            panel.axvline(epochs[best], color=GRID, linewidth=5, zorder=0)
            panel.set(title=name, xlabel="epoch")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))

        return draw

    return _panels(panel_of(*parts) for parts in zip(curves, curves.values(), COLOURS * len(curves), strict=False))


def intervals(metrics: Mapping[str, Mapping[str, float | Interval]]) -> list[str]:
    """One panel a metric: the value of every model with its 95 % range. `metrics` maps a model to its metrics."""
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))

    def panel_of(name: str) -> Draw:
        def draw(panel: Axes) -> None:
            shown = [(model, spread(values[name])) for model, values in metrics.items() if name in values]
            for place, (model, value) in enumerate(shown):
                colour = COLOURS[list(metrics).index(model) % len(COLOURS)]
                panel.plot([value["low"], value["high"]], [place, place], color=colour, linewidth=3, alpha=0.45, solid_capstyle="round")
                panel.plot(value["mean"], place, "o", color=colour, markersize=6)
            panel.set(title=name, yticks=range(len(shown)), yticklabels=[model for model, _ in shown], ylim=(len(shown) - 0.5, -0.5))
            panel.xaxis.set_major_locator(MaxNLocator(4))

        return draw

    return _panels((panel_of(name) for name in names), height=0.8 + 0.28 * len(metrics))


def calibration(groups: Mapping[str, tuple[np.ndarray, np.ndarray]], bins: int = 10) -> list[str]:
    """Frequency against probability in equal-count bins, one panel a group of `(is_true, probability)` rows; the diagonal is perfect."""

    def panel_of(name: str, is_true: np.ndarray, probability: np.ndarray, colour: str) -> Draw:
        def draw(panel: Axes) -> None:
            parts = [part for part in np.array_split(np.argsort(probability, kind="stable"), bins) if len(part)]
            panel.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":")
            panel.plot([probability[p].mean() for p in parts], [is_true[p].mean() for p in parts], "o-", color=colour, markersize=4)
            panel.set(title=name, xlabel="predicted probability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1))

        return draw

    return _panels(panel_of(name, *rows, colour) for (name, rows), colour in zip(groups.items(), COLOURS * len(groups), strict=False))


def popularity(listed: np.ndarray, bought: np.ndarray) -> list[str]:
    """How concentrated the lists are: share held by the most popular items, in lists and in the data; counts an item `(items,)` each."""

    def draw(panel: Axes) -> None:
        for name, counts, colour in (("recommended", listed, COLOURS[0]), ("history", bought, COLOURS[1])):
            share = np.cumsum(np.sort(counts)[::-1]) / max(counts.sum(), 1)
            panel.plot(np.arange(1, len(share) + 1) / len(share), share, color=colour, label=name, linewidth=1.8)
        panel.set(
            title="Concentration", xlabel="share of items, most frequent first", ylabel="share of entries", xlim=(0, 1), ylim=(0, 1.02)
        )
        panel.legend(frameon=False)

    return _panels([draw])


def gains(offers: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> list[str]:
    """One panel an offer: outcomes gained against the share of people addressed, a line a model; the dotted one is random order."""

    def panel_of(name: str, models: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Draw:
        def draw(panel: Axes) -> None:
            for (model, (share, gained)), colour in zip(models.items(), COLOURS * len(models), strict=False):
                panel.plot(share, gained, color=colour, label=model, linewidth=1.8 if model == next(iter(models)) else 1.0)
            ends = [gained[-1] for _, gained in models.values()]
            panel.plot([0, 1], [0, ends[0]], color=INK, linewidth=1, linestyle=":")
            panel.set(title=name, xlabel="share addressed, most moved first", ylabel="outcomes gained", xlim=(0, 1))
            panel.legend(frameon=False, fontsize=7)

        return draw

    return _panels((panel_of(name, models) for name, models in offers.items()), height=3.2)


def tenths(offers: "Mapping[str, Sequence[Tenth]]") -> list[str]:
    """One panel an offer: measured effects of tenths of the users as bars with their 95 % ranges, predicted ones as points."""

    def panel_of(name: str, parts: "Sequence[Tenth]") -> Draw:
        def draw(panel: Axes) -> None:
            places = np.arange(1, len(parts) + 1)
            means = np.array([part.measured["mean"] for part in parts])
            ranges = [[part.measured["mean"] - part.measured["low"], part.measured["high"] - part.measured["mean"]] for part in parts]
            panel.bar(places, means, color=COLOURS[0], alpha=0.45, yerr=np.array(ranges).T, ecolor=INK, capsize=2, label="measured")
            panel.plot(places, [part.predicted for part in parts], "o", color=COLOURS[1], markersize=5, label="predicted")
            panel.set(title=name, xlabel="tenth by predicted effect, highest first", ylabel="effect", xticks=places)
            panel.legend(frameon=False)

        return draw

    return _panels(panel_of(name, parts) for name, parts in offers.items() if parts)


def spread(value: float | Interval) -> Interval:
    """A number as an interval without width."""
    return value if isinstance(value, dict) else {"mean": value, "low": value, "high": value}


def _panels(draws: Iterable[Draw], height: float = 2.7) -> list[str]:
    style: dict[Any, Any] = {
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.titlesize": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": "portrait",
    }
    style |= {"axes.edgecolor": GRID, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}
    style |= {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.6}
    found = []
    with mpl.rc_context(style):
        for draw in draws:
            figure = Figure(figsize=(3.7, height), layout="constrained")
            draw(figure.subplots())
            written = io.StringIO()
            figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
            found.append(_inside_a_page(written.getvalue()))
    return found


def _inside_a_page(svg: str) -> str:
    """The SVG element alone, without the addresses of name spaces, which HTML does not need, and in the page's colours."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href").replace("<svg ", '<svg role="img" ', 1)
    return re.sub("|".join(VARIABLES), lambda found: f"var(--{VARIABLES[found[0]]}, {found[0]})", svg)
