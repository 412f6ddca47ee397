"""Ids of the simulated shop as text, a million in tens of milliseconds: digits are looked up four at a time, never formatted one by one."""

import numpy as np
import pyarrow as pa

_FOUR_DIGITS = np.frombuffer("".join(f"{number:04d}" for number in range(10_000)).encode(), np.uint8).reshape(10_000, 4)
BLOCK_NUMBERS = 100_000_000  # numbers that a block has to itself: ids of two blocks never meet


def numbered(letter: str, numbers: np.ndarray, digits: int = 11) -> pa.Array:
    """`letter` and the number with leading zeros, null for negative numbers; `numbers` has shape `(rows,)`, `digits` is 12 at most."""
    is_there = numbers >= 0
    rest = numbers[is_there].astype(np.int64)
    chars = np.empty((len(rest), 12), np.uint8)
    for first in (8, 4, 0):
        rest, low = np.divmod(rest, 10_000)
        chars[:, first : first + 4] = _FOUR_DIGITS[low]
    letters = np.full((len(chars), 1), ord(letter), np.uint8)
    text = np.concatenate([letters, chars[:, 12 - digits :]], axis=1)
    offsets = np.zeros(len(numbers) + 1, np.int32)
    np.cumsum(is_there, out=offsets[1:])
    offsets *= digits + 1
    valid = None if is_there.all() else pa.py_buffer(np.packbits(is_there, bitorder="little"))
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text), valid)


def user_ids(numbers: np.ndarray) -> pa.Array:
    return numbered("u", numbers, 6)


def item_ids(numbers: np.ndarray) -> pa.Array:
    return numbered("i", numbers, 6)
