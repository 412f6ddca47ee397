"""JSON to arrays and back, by TensorFlow Serving's rules for row (`instances`) and columnar (`inputs`) requests."""

import base64
import binascii
from typing import Any

import numpy as np

from serving.model_server.errors import invalid
from serving.model_server.signature import Signature
from serving.portrait_client.wire import DTYPES, STRING, dtype_name

_KINDS = {"f": "iuf", "i": "iu", "u": "iu", "b": "b"}  # kinds of JSON values that each kind of dtype takes


def read_inputs(body: dict[str, Any], signature: Signature) -> dict[str, np.ndarray]:
    """Arrays by input name from a request's `instances` or `inputs`. ServingError names the input and what is wrong."""
    if ("instances" in body) == ("inputs" in body):
        raise invalid(
            "Missing 'inputs' or 'instances' key" if "inputs" not in body else "expecting only one of 'inputs' or 'instances' keys to exist"
        )
    columns = _columns(body["instances"], signature) if "instances" in body else _named(body["inputs"], signature)
    for name in columns.keys() - signature.inputs.keys():
        raise invalid(f"JSON object: does not have named input: {name}")
    return {name: _array(name, values, signature.inputs[name].dtype) for name, values in columns.items()}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() != {"b64"}


def _named(inputs: Any, signature: Signature) -> dict[str, Any]:
    if _is_object(inputs):
        for name in signature.inputs.keys() - inputs.keys():
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        return inputs
    if len(signature.inputs) > 1:
        raise invalid("inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map")
    return dict.fromkeys(signature.inputs, inputs)


def _columns(instances: Any, signature: Signature) -> dict[str, list[Any]]:
    if not isinstance(instances, list) or not instances:
        raise invalid("Expecting 'instances' to be a list/array with at least one value")
    if not _is_object(instances[0]):
        if len(signature.inputs) > 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map"
            )
        if any(_is_object(row) for row in instances):
            raise invalid("Expecting value/list but got object in 'instances' list")
        return dict.fromkeys(signature.inputs, instances)
    for position, row in enumerate(instances):
        if not isinstance(row, dict) or row.keys() != signature.inputs.keys():
            known = ",".join(signature.inputs)
            raise invalid(f"Failed to process element: {position} of 'instances' list. JSON object keys must be equal to: {known}")
    return {name: [row[name] for row in instances] for name in signature.inputs}


def _array(name: str, values: Any, dtype: int) -> np.ndarray:
    if dtype not in DTYPES:
        raise invalid(f"Conversion of JSON value to type {dtype_name(dtype)} is not supported (input {name})")
    kind = DTYPES[dtype][1]
    try:
        array = np.array(_bytes(values), object) if dtype == STRING else np.array(values)
    except (ValueError, RecursionError):
        raise invalid(f"Encountered list at unexpected size in input {name}: every list of a level must have the same length") from None
    if dtype == STRING:
        if not all(isinstance(value, bytes) for value in array.flat):
            raise invalid(f"JSON value of input {name} is not of expected type: string, in lists of the same length")
        return array
    if array.size and array.dtype.kind not in _KINDS[kind.kind]:
        raise invalid(f"JSON value of input {name} is not of expected type: {dtype_name(dtype)}")
    if kind.kind in "iu" and array.size and not (np.iinfo(kind).min <= array.min() and array.max() <= np.iinfo(kind).max):
        raise invalid(f"JSON value of input {name} does not fit into {dtype_name(dtype)}")
    return array.astype(kind)


def _bytes(values: Any) -> Any:
    if isinstance(values, list):
        return [_bytes(value) for value in values]
    if isinstance(values, str):
        return values.encode("utf-8", "surrogatepass")
    if isinstance(values, dict) and values.keys() == {"b64"}:
        try:
            return base64.b64decode(values["b64"], validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise invalid("Unable to base64 decode") from None
    return values


def write_outputs(outputs: dict[str, np.ndarray], by_row: bool) -> dict[str, Any]:
    """The response object: `predictions`, one value or object a row, or `outputs`; a single output stands without its name."""
    if not by_row:
        columns = {name: _json(name, array) for name, array in outputs.items()}
        return {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}
    if len({array.shape[:1] for array in outputs.values()} | {()}) != 2:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        raise invalid(f"Outputs must share their first dimension to be written by row; use 'inputs' for columns. Shapes: {shapes}")
    columns = {name: _json(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def _json(name: str, array: np.ndarray) -> Any:
    if array.dtype.kind == "O":
        encode = _base64 if name.endswith("_bytes") else _text
        return np.array([encode(value) for value in array.flat] + [None], object)[:-1].reshape(array.shape).tolist()
    if array.dtype == np.float32:  # 0.2, where float(np.float32(0.2)) prints 0.20000000298023224
        return array.astype(str).astype(np.float64).tolist()
    return array.tolist()


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _base64(value)
