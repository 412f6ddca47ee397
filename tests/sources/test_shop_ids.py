"""Ids of the simulated shop, against plain formatting."""

import numpy as np

from sources.shop_ids import numbered, user_ids


def test_numbers_become_padded_text_and_negative_ones_null():
    numbers = np.array([0, 7, -1, 12_345, 99_999_999_999, -1, 10_000])
    assert numbered("e", numbers).to_pylist() == [None if number < 0 else f"e{number:011d}" for number in numbers.tolist()]
    assert user_ids(np.array([-1, 42, 499_999])).to_pylist() == [None, "u000042", "u499999"]
    assert numbered("s", np.array([-1, -1])).to_pylist() == [None, None]
    assert numbered("s", np.array([], int)).to_pylist() == []
