"""Charts as inline SVG, drawn on the server; colours come from the style sheet, so that they follow light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 250, 40, 16, 12, 28
LINES = 5


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name, and `(x, y)` points in the picture's units; `place` chooses colour and dash."""

    name: str
    place: int
    points: tuple[tuple[float, float], ...]
    last: float

    @property
    def path(self) -> str:
        return " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(self.points))


@dataclass(frozen=True)
class Chart:
    """Shares over days: lines, `(y, label)` of the grid, `(x, label)` of the days."""

    lines: tuple[Line, ...]
    grid: tuple[tuple[float, str], ...]
    days: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def interests_over_time(told: Sequence[tuple[datetime, dict[str, float]]]) -> Chart | None:
    """The largest interests of the newest day, over all days; None of fewer than two."""
    if len(told) < 2:
        return None
    newest = sorted(told[-1][1], key=lambda name: -told[-1][1][name])[:LINES]
    highest = max(shares.get(name, 0.0) for _, shares in told for name in newest)
    step = next(step for step in (0.05, 0.1, 0.2, 0.25) if highest <= 4 * step or step == 0.25)
    top = step * max(1, -(-highest // step))
    first, span = told[0][0], (told[-1][0] - told[0][0]).total_seconds()

    def x(time: datetime) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (time - first).total_seconds() / span

    def y(share: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share / top)

    lines = tuple(
        Line(name, place, tuple((x(at), y(shares.get(name, 0.0))) for at, shares in told), told[-1][1][name])
        for place, name in enumerate(newest)
    )
    shown = sorted({round(n * (len(told) - 1) / min(4, len(told) - 1)) for n in range(min(4, len(told) - 1) + 1)})
    grid = tuple((y(n * step), f"{100 * n * step:.0f}") for n in range(round(top / step) + 1))
    return Chart(lines, grid, tuple((x(told[n][0]), f"{told[n][0]:%m-%d}") for n in shown))


def share_bar(share: float | None, mark: float | None = None) -> Markup:
    """A bar of a share from 0 to 1, and a mark to compare it with. It is decoration: the number stands beside it."""
    if share is None:
        return Markup("")
    width = 100 * min(max(share, 0.0), 1.0)
    tick = "" if mark is None else f'<rect class="mark" x="{100 * min(max(mark, 0.0), 1.0):.1f}%" y="0" width="2" height="100%"/>'
    return Markup(
        f'<svg class="bar" aria-hidden="true" focusable="false"><rect class="track" width="100%" height="100%" rx="3"/>'
        f'<rect class="fill" width="{width:.1f}%" height="100%" rx="3"/>{tick}</svg>'
    )


@dataclass(frozen=True)
class BudgetChart:
    """What a plan would be worth by its budget: a path, `(y, label)` and `(x, label)` of the grid, and where the budget asked for
    stands."""

    path: str
    grid: tuple[tuple[float, str], ...]
    budgets: tuple[tuple[float, str], ...]
    mark: tuple[float, float]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT + 24
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def value_by_budget(points: Sequence[tuple[float, float]], budget: float) -> BudgetChart | None:
    """The curve up to three budgets, or to where more of it adds nothing; None of fewer than two points."""
    known = sorted({(0.0, min([0.0, *(value for _, value in points)])), *points})
    last = max(min(3 * budget, known[-1][0]), budget)
    shown = [point for point in known if point[0] <= last] or known[:1]
    if shown[-1][0] < last:  # where the curve is left, or flat behind its end
        beyond = next((point for point in known if point[0] > last), None)
        share = (last - shown[-1][0]) / (beyond[0] - shown[-1][0]) if beyond else 0.0
        shown.append((last, shown[-1][1] + share * ((beyond[1] if beyond else 0.0) - shown[-1][1])))
    low, high = min(value for _, value in shown), max(value for _, value in shown)
    if len(shown) < 2 or high <= low or last <= 0:
        return None
    edge, end, bottom = LEFT + 24, WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(money: float) -> float:
        return edge + (end - edge) * money / last

    def y(value: float) -> float:
        return TOP + (bottom - TOP) * (1 - (value - low) / (high - low))

    at = max(value for money, value in shown if money <= budget + 1e-6)
    return BudgetChart(
        " ".join(f"{'L' if n else 'M'}{x(money):.1f} {y(value):.1f}" for n, (money, value) in enumerate(shown)),
        tuple((y(low + share * (high - low)), _short(low + share * (high - low))) for share in (0, 0.25, 0.5, 0.75, 1)),
        tuple((x(share * last), _short(share * last)) for share in (0, 0.25, 0.5, 0.75, 1)),
        (x(budget), y(at)),
    )


def _short(number: float) -> str:
    """Three digits and a letter for thousands."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}".replace("-", "\u2212")
    return f"{number:.3g}".replace("-", "\u2212")
