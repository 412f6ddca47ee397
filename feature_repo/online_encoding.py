"""Arrow columns to what Feast's online stores hold: serialised `feast.types.Value`s and entity keys, a column at a time.

The wire format is protobuf's (https://protobuf.dev/programming-guides/encoding): a tag, then a varint, eight bytes, or a length and
content. A Value is a oneof, so zero and the empty string are written too; a value that is not set has no bytes. Nothing here walks values
in Python: bytes are made with numpy and joined by Arrow, and a list's content is a stretch of its elements' bytes, which lie in one
buffer already. A property test compares every kind with protobuf's own serialiser, and keys with `feast.infra.key_encoding_utils`.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute

from feature_repo.contract import Kind

BINARY = pyarrow.binary()
MICROSECONDS = 1_000_000

# Field numbers of feast.types.Value, with protobuf's wire types: 0 a varint, 1 eight bytes, 2 a length and content.
_TAGS = {
    kind: bytes([(number << 3) | wire])
    for kind, number, wire in [
        ("string", 2, 2),
        ("int", 4, 0),
        ("float", 5, 1),
        ("bool", 7, 0),
        ("timestamp", 8, 0),
        ("string_list", 12, 2),
        ("int_list", 14, 2),
        ("float_list", 15, 2),
    ]
}
_ELEMENT = bytes([(1 << 3) | 2])  # `repeated val = 1` of every list message; numbers are packed


def encode(column: pyarrow.Array, kind: Kind) -> pyarrow.BinaryArray:
    """A row's value of that kind each; nulls are not set: no bytes. Raises ValueError on a null inside a list, which Feast cannot hold."""
    if kind.endswith("_list"):
        content = _list_content(column, kind)
    elif kind == "string":
        content = _with_length(column.fill_null("").cast(BINARY))
    elif kind == "timestamp":  # Feast keeps whole seconds
        microseconds = column.cast(pyarrow.timestamp("us")).cast(pyarrow.int64())
        content = _numbers(pyarrow.compute.divide(microseconds, MICROSECONDS).fill_null(0), kind)
    else:
        content = _numbers(column.cast(pyarrow.int64() if kind == "bool" else column.type).fill_null(0), kind)
    return pyarrow.compute.if_else(column.is_valid(), join(_TAGS[kind], content), b"")


def by_distinct(column: pyarrow.Array, say: Callable[[pyarrow.Array], Sequence[Any]]) -> list[Any]:
    """Row by row, what `say` makes of the column's distinct values: few of them, many rows."""
    distinct = column.dictionary_encode(null_encoding="encode")
    return list(map(say(distinct.dictionary).__getitem__, distinct.indices.to_pylist()))


def join(*parts: pyarrow.BinaryArray | bytes) -> pyarrow.BinaryArray:
    """Each row's parts, one after the other; bytes stand for themselves in every row."""
    return pyarrow.compute.binary_join_element_wise(*parts, b"")


def varints(numbers: np.ndarray) -> pyarrow.BinaryArray:
    """Seven bits a byte, lowest first; a negative number is written as 64 bits of two's complement."""
    bits = numbers.astype(np.int64).view(np.uint64)  # (numbers,)
    sizes = np.ones(len(bits), dtype=np.int64)
    for group in range(1, 10):
        sizes += bits >= np.uint64(1 << (7 * group))
    width = int(sizes.max(initial=1))
    groups = ((bits[:, None] >> (np.arange(width, dtype=np.uint64) * np.uint64(7))) & np.uint64(0x7F)).astype(np.uint8)  # (numbers, width)
    place = np.arange(width)
    groups[place < sizes[:, None] - 1] |= 0x80
    return _binary(np.concatenate([[0], np.cumsum(sizes)]), pyarrow.py_buffer(groups[place < sizes[:, None]]))


def _binary(offsets: np.ndarray, content: pyarrow.Buffer) -> pyarrow.BinaryArray:
    return pyarrow.Array.from_buffers(BINARY, len(offsets) - 1, [None, pyarrow.py_buffer(offsets.astype(np.int32)), content])


def _numbers(column: pyarrow.Array, kind: str) -> pyarrow.BinaryArray:
    numbers = column.to_numpy(zero_copy_only=False)
    if not kind.startswith("float"):
        return varints(numbers)
    return _binary(np.arange(len(numbers) + 1) * 8, pyarrow.py_buffer(np.ascontiguousarray(numbers, dtype="<f8")))


def _with_length(content: pyarrow.BinaryArray) -> pyarrow.BinaryArray:
    return join(varints(pyarrow.compute.binary_length(content).to_numpy()), content)


def _list_content(column: pyarrow.Array, kind: str) -> pyarrow.BinaryArray:
    offsets = column.offsets.to_numpy()
    inside = column.values.slice(offsets[0], offsets[-1] - offsets[0])
    if inside.null_count:
        raise ValueError(f"A list of an online feature must not hold nulls. Received {inside.null_count}. Leave them out in the dbt model.")
    strings = kind == "string_list"
    elements = join(_ELEMENT, _with_length(inside.cast(BINARY))) if strings else _numbers(inside, kind)
    _, ends, content = elements.buffers()
    message = _binary(np.frombuffer(ends, dtype=np.int32)[offsets - offsets[0]], content)
    if not strings:
        packed = join(_ELEMENT, _with_length(message))
        message = pyarrow.compute.if_else(pyarrow.compute.equal(pyarrow.compute.binary_length(message), 0), b"", packed)
    return _with_length(message)


def entity_keys(join_key: str, ids: Sequence[str]) -> list[bytes]:
    """Feast's serialised entity keys (version 3) of string ids under one join key."""
    head = key_head(join_key)
    return [head + struct.pack("<I", len(text)) + text for text in [one.encode() for one in ids]]


def key_head(join_key: str) -> bytes:
    """What every entity key of that join key starts with; then come the id's length (4 bytes) and the id."""
    from feast.infra.key_encoding_utils import serialize_entity_key_prefix
    from feast.protos.feast.types.Value_pb2 import ValueType

    return serialize_entity_key_prefix([join_key]) + struct.pack("<I", ValueType.STRING)


def id_of(key: bytes, head: bytes) -> str:
    """The id in an entity key, whatever follows it; `head` is `key_head(join_key)`."""
    (size,) = struct.unpack_from("<I", key, len(head))
    return key[len(head) + 4 : len(head) + 4 + size].decode()
