"""Bytes written without protobuf are the bytes that protobuf and Feast write."""

import math
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow
import pytest

from feature_repo.contract import Kind
from feature_repo.online_encoding import encode, entity_keys, id_of, key_head, varints

ARROW: dict[Kind, pyarrow.DataType] = {
    "string": pyarrow.string(),
    "timestamp": pyarrow.timestamp("us"),
    "int": pyarrow.int64(),
    "float": pyarrow.float64(),
    "bool": pyarrow.bool_(),
    "string_list": pyarrow.list_(pyarrow.string()),
    "int_list": pyarrow.list_(pyarrow.int64()),
    "float_list": pyarrow.list_(pyarrow.float64()),
}
EDGES = [0, 1, -1, 127, 128, 16_383, 16_384, 2**31, -(2**31), 2**56, 2**63 - 1, -(2**63)]


def drawn(kind: Kind, rng: random.Random) -> Any:
    """A value of a kind: edges as often as anything else, and nulls."""
    if rng.random() < 0.15:
        return None
    if kind.endswith("_list"):
        inner: Kind = kind.removesuffix("_list")  # type: ignore[assignment]
        return [value for value in (drawn(inner, rng) for _ in range(rng.choice([0, 1, 5, 200]))) if value is not None]
    if kind == "string":
        return "".join(rng.choices("aé漢🙂\0 ", k=rng.choice([0, 1, 20, 130])))
    if kind == "int":
        return rng.choice([*EDGES, rng.randrange(-(2**63), 2**63), rng.randrange(300)])
    if kind == "float":
        return rng.choice([0.0, -0.0, math.inf, -math.inf, 5e-324, 1.7e308, rng.gauss(0, 1e6), float(rng.randrange(9))])
    if kind == "bool":
        return rng.random() < 0.5
    return datetime.fromtimestamp(rng.randrange(-(10**9), 2 * 10**9), UTC).replace(tzinfo=None, microsecond=rng.randrange(10**6))


def feasts_own(values: list[Any], kind: Kind) -> list[Any]:
    from feast.type_map import python_values_to_proto_values

    from feature_repo.definitions import FEAST_TYPES

    if kind == "timestamp":
        values = [None if value is None else value.replace(tzinfo=UTC) for value in values]
    return python_values_to_proto_values(values, FEAST_TYPES[kind].to_value_type())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ARROW)
@pytest.mark.parametrize("seed", range(3))
def test_every_kind_is_written_as_protobuf_writes_it(kind: Kind, seed: int) -> None:
    from feast.infra.online_stores.helpers import extract_text_and_num

    from feature_repo.online_sqlite import values_and_texts

    rng = random.Random(seed)
    values = [drawn(kind, rng) for _ in range(300)]
    column = pyarrow.array([None, *values], ARROW[kind]).slice(1)  # a slice: its offsets do not start at zero
    encoded, own = encode(column, kind), feasts_own(values, kind)
    assert encoded.to_pylist() == [value.SerializeToString() for value in own]
    with closing(sqlite3.connect(":memory:")) as connection:
        stored = [connection.execute("select ?, ?", cells).fetchone() for cells in zip(*values_and_texts(column, kind), strict=True)]
    assert stored == [(value.SerializeToString(), extract_text_and_num(value, False)[0]) for value in own]


@pytest.mark.slow
def test_keys_are_feasts_and_carry_their_id() -> None:
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    ids = ["ann", "", "漢字", "x" * 300]
    keys = entity_keys("user_id", ids)
    assert keys == [serialize_entity_key(EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=one)]), 3) for one in ids]
    assert [id_of(key + b"project", key_head("user_id")) for key in keys] == ids


def test_the_worked_examples_of_the_protocol_buffers_documentation() -> None:
    assert varints(np.array([150])).to_pylist() == [bytes.fromhex("9601")]
    encoded = encode(pyarrow.array([[3, 270, 86942]]), "int_list")
    assert encoded.to_pylist() == [bytes.fromhex("7208") + bytes.fromhex("0a06") + bytes.fromhex("038e029ea705")]


def test_nulls_have_no_bytes_and_zeros_do() -> None:
    assert encode(pyarrow.array([None, 0], pyarrow.int64()), "int").to_pylist() == [b"", b"\x20\x00"]
    assert encode(pyarrow.array([], pyarrow.list_(pyarrow.string())), "string_list").to_pylist() == []


def test_a_null_inside_a_list_is_refused() -> None:
    with pytest.raises(ValueError, match=r"A list of an online feature must not hold nulls. Received 1. Leave them out in the dbt model"):
        encode(pyarrow.array([["a", None]]), "string_list")
