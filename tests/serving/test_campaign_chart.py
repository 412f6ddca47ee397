"""The curve of value by budget, as it is drawn."""

import pytest

from serving.web.charts import value_by_budget


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x[1:]), float(y)) for x, y in (pair for pair in zip(path.split()[::2], path.split()[1::2], strict=True))]


def test_the_curve_rises_to_three_budgets_and_the_point_is_the_plans() -> None:
    chart = value_by_budget(((0.0, 0.0), (10.0, 8.0), (30.0, 12.0), (90.0, 13.0)), 10.0)
    assert chart is not None
    drawn = points(chart.path)
    assert drawn[0] == (chart.left, chart.bottom)
    assert drawn[-1] == (chart.right, chart.top)
    third = chart.left + (chart.right - chart.left) / 3
    assert chart.mark == (pytest.approx(third), pytest.approx(chart.top + (chart.bottom - chart.top) / 3))
    assert [label for _, label in chart.budgets] == ["0", "7.5", "15", "22.5", "30"]
    assert [label for _, label in chart.grid] == ["0", "3", "6", "9", "12"]


def test_behind_the_last_step_the_curve_is_flat_and_nothing_is_drawn_where_nothing_is_earned() -> None:
    chart = value_by_budget(((0.0, 0.0), (5.0, 4.0)), 20.0)
    assert chart is not None
    assert [y for _, y in points(chart.path)[1:]] == [chart.top, chart.top]
    assert value_by_budget(((0.0, 0.0), (5.0, 0.0)), 5.0) is None
    assert value_by_budget(((0.0, 0.0),), 0.0) is None
