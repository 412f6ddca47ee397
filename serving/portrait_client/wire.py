"""TensorFlow Serving's messages without TensorFlow: the classes of `wire.proto`, and tensors to numpy arrays and back.

The tensor functions read and write fields by name, so the model server uses them on TensorFlow's own `TensorProto` too.
"""

from typing import Any

import numpy as np

from . import wire_pb2

MAX_ELEMENTS = 1 << 26  # of a tensor sent as one value and a shape: a few bytes must not ask for terabytes

#: TensorFlow's DataType numbers: name, numpy dtype, field of TensorProto that holds the values.
DTYPES: dict[int, tuple[str, np.dtype, str]] = {
    number: (name, np.dtype(kind), field)
    for number, name, kind, field in (
        (1, "float32", np.float32, "float_val"),
        (2, "float64", np.float64, "double_val"),
        (3, "int32", np.int32, "int_val"),
        (4, "uint8", np.uint8, "int_val"),
        (5, "int16", np.int16, "int_val"),
        (6, "int8", np.int8, "int_val"),
        (7, "string", np.object_, "string_val"),
        (9, "int64", np.int64, "int64_val"),
        (10, "bool", np.bool_, "bool_val"),
        (17, "uint16", np.uint16, "int_val"),
        (22, "uint32", np.uint32, "uint32_val"),
        (23, "uint64", np.uint64, "uint64_val"),
    )
}
STRING = 7
_NUMBER_OF = {dtype: number for number, (_, dtype, _) in DTYPES.items()}


_messages: Any = wire_pb2
TensorProto = _messages.TensorProto
PredictRequest = _messages.PredictRequest
PredictResponse = _messages.PredictResponse
GetModelMetadataRequest = _messages.GetModelMetadataRequest
GetModelMetadataResponse = _messages.GetModelMetadataResponse
SignatureDefMap = _messages.SignatureDefMap
GetModelStatusRequest = _messages.GetModelStatusRequest
GetModelStatusResponse = _messages.GetModelStatusResponse


def dtype_name(number: int) -> str:
    return DTYPES[number][0] if number in DTYPES else f"DataType {number}"


def dtype_number(array: np.ndarray) -> int:
    """TensorFlow's number of an array's dtype; every kind of text is string. ValueError for dtypes that no model here takes."""
    if array.dtype.kind in "OSU":
        return STRING
    if array.dtype not in _NUMBER_OF:
        raise ValueError(f"a tensor must be of one of {sorted(name for name, _, _ in DTYPES.values())}. Received dtype {array.dtype}")
    return _NUMBER_OF[array.dtype]


def write_array(array: np.ndarray, tensor: Any) -> None:
    """Fill an empty TensorProto from an array, in the dtype's own value field (as TensorFlow Serving answers). Text is written as UTF-8."""
    number = dtype_number(array)
    tensor.dtype = number
    tensor.tensor_shape.SetInParent()
    for size in array.shape:
        tensor.tensor_shape.dim.add().size = size
    values = array.ravel().tolist()
    if number == STRING:
        values = [value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value for value in values]
    getattr(tensor, DTYPES[number][2]).extend(values)


def read_array(tensor: Any) -> np.ndarray:
    """The array in a TensorProto; strings as an object array of bytes. Missing values repeat the last one given (zero where none is), as in
    TensorFlow. ValueError says what is wrong with the tensor."""
    if tensor.dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {sorted(name for name, _, _ in DTYPES.values())}. Received {dtype_name(tensor.dtype)}")
    name, dtype, field = DTYPES[tensor.dtype]
    shape = tuple([dim.size for dim in tensor.tensor_shape.dim])
    wanted = 1
    for size in shape:
        wanted *= size
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError(f"a tensor's shape must be known. Received {list(shape)}")
    if tensor.tensor_content:
        if dtype.hasobject or len(tensor.tensor_content) != wanted * dtype.itemsize:
            raise ValueError(f"tensor_content of {len(tensor.tensor_content)} bytes does not hold a {name} tensor of shape {list(shape)}")
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    given = getattr(tensor, field)
    if len(given) == wanted:
        return np.array(given, dtype).reshape(shape)
    if len(given) > wanted or wanted > MAX_ELEMENTS:
        raise ValueError(f"{field} holds {len(given)} values; a tensor of shape {list(shape)} has {wanted}")
    array = np.full(wanted, given[-1] if given else (b"" if tensor.dtype == STRING else 0), dtype)
    if given:
        array[: len(given)] = given
    return array.reshape(shape)
