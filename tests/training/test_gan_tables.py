"""What the GAN learns from: columns, constraints, conditions; each there and back by hand."""

import numpy as np
import pandas as pd
import pytest

from training.gan.columns import CategoryColumn, NumberColumn, as_written, column_of, unwritten
from training.gan.constraints import BrokenConstraint, Ordering, Total, dependencies
from training.gan.features import TableFeatures
from training.gan.sampler import StateSampler
from training.gan.table import Encoded, Layout, fit_encoder


def amounts(rows: int = 600) -> pd.Series:
    """Two thirds zeros, a cap at 999, a few unknown, the rest around 20 or around 200, with one decimal."""
    random = np.random.default_rng(0)
    values = np.where(random.random(rows) < 0.5, random.normal(20, 2, rows), random.normal(200, 10, rows)).round(1)
    values[: rows * 6 // 10] = 0
    values[rows * 6 // 10 : rows * 7 // 10] = 999
    values[-20:] = np.nan
    return pd.Series(values, name="amount")


def test_a_number_comes_back_from_its_mode_and_place():
    values = amounts()
    column = column_of(values, 1)
    assert isinstance(column, NumberColumn)
    random = np.random.default_rng(2)
    codes, places = column.encode(values, random)
    back = column.decode(codes, places, random)
    inside = values.between(column.low, column.high) & (np.abs(places) < 1)
    np.testing.assert_allclose(back[inside], values[inside], atol=0.05)
    assert back.isna().equals(values.isna())


def test_frequent_numbers_and_gaps_are_states_without_a_place():
    values = amounts()
    column = column_of(values, 1)
    codes, places = column.encode(values, np.random.default_rng(2))
    assert column.spikes.tolist() == [0.0, 999.0]
    assert len(set(codes[values == 0])) == len(set(codes[values == 999])) == len(set(codes[values.isna()])) == 1
    assert not places[(values == 0) | (values == 999) | values.isna()].any()


def test_written_numbers_have_the_decimals_of_the_real_ones_and_never_their_extremes():
    random = np.random.default_rng(3)
    values = pd.Series(np.append(random.normal(50, 5, 4000).round(2), [1e6]), name="x")
    column = column_of(values, 1)
    codes = random.integers(0, len(column.centres), 5000)
    back = column.decode(codes, random.uniform(-1, 1, 5000).astype(np.float32), random)
    np.testing.assert_array_equal(back, back.round(2))
    assert back.max() < 100


def test_whole_numbers_stay_whole():
    values = pd.Series(np.random.default_rng(4).integers(0, 500, 1000), name="n")
    column = column_of(values, 1)
    back = column.decode(*column.encode(values, np.random.default_rng(0)), np.random.default_rng(0))
    assert back.dtype == np.int64


def test_a_value_of_fewer_than_five_rows_is_never_written():
    values = pd.Series(["a"] * 50 + ["b"] * 30 + ["only one"] + [None] * 9, name="word")
    column = column_of(values, 1)
    assert isinstance(column, CategoryColumn)
    codes, places = column.encode(values, np.random.default_rng(0))
    assert set(column.decode(codes, places, np.random.default_rng(0))) == {"a", "b", None}


@pytest.mark.parametrize("known", [300, 280])
def test_where_every_value_is_rare_none_is_written_and_the_column_is_named(known: int):
    addresses = pd.Series([f"person{number}@example.org" for number in range(known)] + [None] * (300 - known), name="email")
    column = column_of(addresses, 1)
    assert column.codes == 1
    codes, places = column.encode(addresses, np.random.default_rng(0))
    assert column.decode(codes, places, np.random.default_rng(0)).isna().all()
    table = pd.DataFrame({"email": addresses, "town": ["a", "b", "c"] * 100, "paid": np.arange(300) / 7, "none": None})
    assert unwritten(table) == ["email"]
    hidden = as_written(table)
    assert hidden["email"].isna().all() and hidden.drop(columns="email").equals(table.drop(columns="email"))


def test_many_values_share_a_state_and_are_drawn_as_often_as_they_are():
    common = [f"city {number:02d}" for number in range(64) for _ in range(20)]
    values = pd.Series(common + ["far"] * 15 + ["farther"] * 5 + ["nowhere"], name="city")
    column = column_of(values, 1)
    assert column.codes == 65
    back = column.decode(np.full(4000, 64), np.zeros(4000, np.float32), np.random.default_rng(1))
    assert set(back) == {"far", "farther"}
    assert (back == "far").mean() == pytest.approx(0.75, abs=0.03)


def schooling() -> pd.DataFrame:
    random = np.random.default_rng(5)
    level = random.choice(["none", "school", "college"], 300)
    paid = random.integers(1, 100, 300)
    extra = random.integers(0, 100, 300)
    start = random.normal(100, 20, 300).round(1)
    return pd.DataFrame(
        {
            "level": level,
            "years": pd.Series(level).map({"none": 0, "school": 10, "college": 16}),
            "paid": paid,
            "extra": extra,
            "all": paid + extra,
            "start": start,
            "end": (start + random.exponential(5, 300)).round(1),
        }
    )


def test_a_dependency_is_found_and_a_coincidence_is_not():
    found = dependencies(schooling())
    assert [(one.by, one.determined) for one in found] == [("level", "years")]
    assert dependencies(schooling(), keep=["years"]) == [] or dependencies(schooling(), keep=["years"])[0].determined == "level"


def test_every_written_row_keeps_every_constraint_whatever_is_drawn():
    table = schooling()
    rules = [Total("all", ("paid", "extra")), Ordering("start", "end")]
    encoder = fit_encoder(table, 1, rules)
    random = np.random.default_rng(6)
    sizes = encoder.layout.sizes
    rows = Encoded(
        np.column_stack([random.integers(0, size, 500) for size in sizes]).astype(np.int32),
        random.uniform(-1, 1, (500, len(sizes))).astype(np.float32),
    )
    made = encoder.decode(rows, 3)
    assert list(made) == list(table)
    assert (made["all"] == made["paid"] + made["extra"]).all()
    assert (made["start"] <= made["end"]).all()
    assert made["level"].map({"none": 0, "school": 10, "college": 16}).equals(made["years"])
    assert len(encoder.constraints) == 3
    assert [one.broken(made) for one in encoder.constraints] == [0, 0, 0]


def test_a_constraint_that_real_rows_break_is_refused():
    table = schooling()
    table.loc[3, "all"] += 1
    with pytest.raises(BrokenConstraint, match=r"`all = paid \+ extra` is broken by 1 of 300. Clean these rows"):
        fit_encoder(table, 1, [Total("all", ("paid", "extra"))])


def test_rare_states_are_learned_by_the_logarithm_of_their_count_and_written_by_their_count():
    codes = np.array([[0]] * 990 + [[1]] * 10, np.int32)
    sampler = StateSampler(codes, Layout((2,), (0,)))
    random = np.random.default_rng(0)
    rows, states = sampler.learn((200, 100), random)
    assert (codes[rows, 0] == states).all()
    assert (states == 1).mean() == pytest.approx(np.log(11) / (np.log(11) + np.log(991)), abs=0.01)
    assert (sampler.write(20_000, random) == 1).mean() == pytest.approx(0.01, abs=0.004)


def test_features_are_numbers_and_codes_of_the_real_table():
    real = pd.DataFrame({"x": [1.0, np.nan, 3.0], "c": ["b", "b", None]})
    found = TableFeatures.of(real)
    np.testing.assert_array_equal(found.matrix(real), [[1, 0], [np.nan, 0], [3, 1]])
    np.testing.assert_array_equal(found.matrix(pd.DataFrame({"x": [2.0], "c": ["new"]})), [[2, np.nan]])
