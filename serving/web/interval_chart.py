"""An estimate with its interval over days, as inline SVG: a band, the estimate in it, and the line of zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from serving.sequential import Interval
from serving.web.charts import BOTTOM, HEIGHT, RIGHT, TOP, WIDTH

LEFT = 76


@dataclass(frozen=True)
class IntervalChart:
    """Paths in the picture's units; `grid` are `(y, label)`, `days` `(x, label)`; `zero` is the height of nothing gained or lost."""

    band: str
    estimate: str
    zero: float
    grid: tuple[tuple[float, str], ...]
    days: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def interval_chart(told: Sequence[tuple[datetime, Interval]]) -> IntervalChart | None:
    """Of the days, in order; None of fewer than two."""
    if len(told) < 2:
        return None
    lowest, highest = min(0.0, *(one.low for _, one in told)), max(0.0, *(one.high for _, one in told))
    step = _step(highest - lowest)
    bottom, top = step * (lowest // step), step * -(-highest // step)
    first, span = told[0][0], (told[-1][0] - told[0][0]).total_seconds()

    def x(day: datetime) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (day - first).total_seconds() / span

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (top - value) / ((top - bottom) or 1.0)

    upper = [(x(day), y(one.high)) for day, one in told]
    lower = [(x(day), y(one.low)) for day, one in reversed(told)]
    shown = sorted({round(n * (len(told) - 1) / min(4, len(told) - 1)) for n in range(min(4, len(told) - 1) + 1)})
    lines = [bottom + n * step for n in range(round((top - bottom) / step) + 1)]
    return IntervalChart(
        _path(upper + lower) + " Z",
        _path([(x(day), y(one.mean)) for day, one in told]),
        y(0.0),
        tuple((y(value), f"{value:,.0f}".replace("-", "\u2212")) for value in lines),
        tuple((x(told[n][0]), f"{told[n][0]:%m-%d}") for n in shown),
    )


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that about four lines stand in the picture."""
    size = 10.0 ** (len(f"{span / 4:.0f}") - 1) if span >= 4 else 1.0
    return next((size * factor for factor in (1, 2, 5) if span <= 4 * size * factor), 10 * size)


def _path(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(points))
