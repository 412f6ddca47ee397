"""Arrow columns to what Feast's online stores hold: serialised `feast.types.Value`s and entity keys, without a message object a cell.

The wire format is protobuf's (https://protobuf.dev/programming-guides/encoding): a tag, then a varint, eight bytes, or a length and
content. A Value is a oneof, so zero and the empty string are written too; a value that is not set has no bytes. A property test compares
every kind with protobuf's own serialiser, and keys with `feast.infra.key_encoding_utils`.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute

from feature_repo.contract import Kind

UNSET = b""
MICROSECONDS = 1_000_000

# Field numbers of feast.types.Value, with protobuf's wire types: 0 a varint, 1 eight bytes, 2 a length and content.
_STRING, _INT, _DOUBLE, _BOOL, _TIME = (2 << 3) | 2, (4 << 3) | 0, (5 << 3) | 1, (7 << 3) | 0, (8 << 3) | 0
_STRINGS, _INTS, _DOUBLES = (12 << 3) | 2, (14 << 3) | 2, (15 << 3) | 2
_ELEMENT = bytes([(1 << 3) | 2])  # `repeated val = 1` of every list message; numbers are packed


@dataclass(frozen=True)
class Encoded:
    """A column of serialised values: `values[codes[row]]`, or `values[row]` where `codes` is None.

    `texts` has for each value what Feast's SQL stores keep beside it: the text of a string, number or boolean, else None.
    """

    values: list[bytes]
    texts: list[str | None]
    codes: np.ndarray | None

    def by_row(self, per_value: Sequence[Any]) -> list[Any]:
        """What `per_value` (aligned with `values`) says of every row."""
        if self.codes is None:
            return list(per_value)
        table = np.empty(len(per_value), dtype=object)
        table[:] = per_value
        return table[self.codes].tolist()


def varint(number: int) -> bytes:
    """Seven bits a byte, lowest first; a negative number is written as 64 bits of two's complement."""
    number &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while number > 0x7F:
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(column: pyarrow.Array, kind: Kind) -> Encoded:
    """The column as Feast's values of that kind; nulls are not set. Raises ValueError on a null inside a list, which Feast cannot hold."""
    if kind in _LISTS:
        tag, elements = _LISTS[kind]
        return _encode_lists(column, tag, elements)
    write, text = _SCALARS[kind]
    if kind == "timestamp":  # Feast keeps whole seconds
        whole = pyarrow.compute.divide(column.cast(pyarrow.timestamp("us")).cast(pyarrow.int64()), MICROSECONDS)
        column = whole
    distinct = column.dictionary_encode(null_encoding="encode")
    held = distinct.dictionary.to_pylist()
    values = [UNSET if value is None else write(value) for value in held]
    texts = [None if value is None or text is None else text(value) for value in held]
    return Encoded(values, texts, distinct.indices.to_numpy())


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


def _string(text: str) -> bytes:
    raw = text.encode()
    return bytes([_STRING]) + varint(len(raw)) + raw


_SCALARS: dict[str, tuple[Callable[[Any], bytes], Callable[[Any], str] | None]] = {
    "string": (_string, str),
    "int": (lambda value: bytes([_INT]) + varint(value), str),
    "float": (lambda value: bytes([_DOUBLE]) + struct.pack("<d", value), str),
    "bool": (lambda value: bytes([_BOOL, value]), str),
    "timestamp": (lambda value: bytes([_TIME]) + varint(value), None),
}


def _encode_lists(column: pyarrow.Array, tag: int, elements: Callable[[pyarrow.Array], Callable[[int, int], bytes]]) -> Encoded:
    offsets = column.offsets.to_numpy()
    inside = column.values.slice(offsets[0], offsets[-1] - offsets[0]) if len(column) else column.values.slice(0, 0)
    if inside.null_count:
        raise ValueError(f"A list of an online feature must not hold nulls. Received {inside.null_count}. Leave them out in the dbt model.")
    content = elements(inside)
    starts = (offsets - offsets[0]).tolist()
    here = column.is_valid().to_pylist()
    heads: dict[int, bytes] = {}  # by length of content: few lengths, many rows
    values = []
    for row, is_set in enumerate(here):
        if not is_set:
            values.append(UNSET)
            continue
        body = content(starts[row], starts[row + 1])
        head = heads.get(len(body))
        if head is None:
            head = heads[len(body)] = bytes([tag]) + varint(len(body))
        values.append(head + body)
    return Encoded(values, [None] * len(values), None)


def _packed(flat: bytes, ends: Sequence[int] | None, width: int) -> Callable[[int, int], bytes]:
    """Content of a packed list: elements `[start, end)` of `flat`, each `width` bytes or ending where `ends` says."""

    def content(start: int, end: int) -> bytes:
        chunk = flat[start * width : end * width] if ends is None else flat[ends[start] : ends[end]]
        return _ELEMENT + varint(len(chunk)) + chunk if chunk else b""

    return content


def _doubles(inside: pyarrow.Array) -> Callable[[int, int], bytes]:
    return _packed(np.ascontiguousarray(inside.to_numpy(zero_copy_only=False), dtype="<f8").tobytes(), None, 8)


def _integers(inside: pyarrow.Array) -> Callable[[int, int], bytes]:
    bits = inside.to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)  # (elements,)
    sizes = np.ones(len(bits), dtype=np.int64)
    for group in range(1, 10):
        sizes += bits >= np.uint64(1 << (7 * group))
    width = int(sizes.max(initial=1))
    groups = ((bits[:, None] >> (np.arange(width, dtype=np.uint64) * np.uint64(7))) & np.uint64(0x7F)).astype(np.uint8)  # (elements, width)
    place = np.arange(width)
    groups[place < sizes[:, None] - 1] |= 0x80
    flat = groups[place < sizes[:, None]].tobytes()
    return _packed(flat, [0, *np.cumsum(sizes).tolist()], 0)


def _strings(inside: pyarrow.Array) -> Callable[[int, int], bytes]:
    distinct = inside.dictionary_encode()
    written = np.empty(len(distinct.dictionary), dtype=object)
    written[:] = [_ELEMENT + varint(len(raw)) + raw for raw in [text.encode() for text in distinct.dictionary.to_pylist()]]
    elements = written[distinct.indices.to_numpy()].tolist()
    return lambda start, end: b"".join(elements[start:end])


_LISTS: dict[str, tuple[int, Callable[[pyarrow.Array], Callable[[int, int], bytes]]]] = {
    "string_list": (_STRINGS, _strings),
    "int_list": (_INTS, _integers),
    "float_list": (_DOUBLES, _doubles),
}
