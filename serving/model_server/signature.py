"""One signature of a loaded model: what it takes and returns, and whether a request fits. Words are TensorFlow Serving's."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from serving.model_server.errors import invalid
from serving.portrait_client import wire


@dataclass(frozen=True)
class Input:
    """`feed` is the tensor's name in the graph; in `dims`, -1 is any size, and None is any rank."""

    feed: str
    dtype: int
    dims: tuple[int, ...] | None


class Signature:
    """Inputs (sorted by name) and outputs of one signature."""

    def __init__(self, proto: meta_graph_pb2.SignatureDef) -> None:
        self.inputs = {}
        for name, info in sorted(proto.inputs.items()):
            self.inputs[name] = Input(info.name, info.dtype, _dims(info))
        self.outputs = {name: info.name for name, info in sorted(proto.outputs.items())}
        self.output_dims = {name: _dims(info) for name, info in proto.outputs.items()}

    def check_inputs(self, arrays: dict[str, np.ndarray]) -> None:
        """ServingError(INVALID_ARGUMENT) names the first input that is missing, unknown, of another dtype or shape."""
        if arrays.keys() != self.inputs.keys():
            self._refuse_names(arrays.keys())
        for name, wanted in self.inputs.items():
            array = arrays[name]
            number = wire.dtype_number(array)
            if number != wanted.dtype:
                raise invalid(f'Expects input "{name}" to be {wire.dtype_name(wanted.dtype)} but {wire.dtype_name(number)} is provided')
            if wanted.dims is None or wanted.dims == array.shape:
                continue
            if len(wanted.dims) != array.ndim or any(want not in (-1, got) for want, got in zip(wanted.dims, array.shape, strict=True)):
                dims = list(wanted.dims)
                raise invalid(f'Input "{name}" must have a shape that fits {dims} (-1 is any size). Received {list(array.shape)}')

    def _refuse_names(self, names: Iterable[str]) -> None:
        sent, known = set(names), set(self.inputs)
        extra, missing = sorted(sent - known), sorted(known - sent)
        listed = ",".join(sorted(known))
        if len(sent) == len(known):
            raise invalid(f"input tensor alias not found in signature: {extra[0]}. Inputs expected to be in the set {{{listed}}}.")
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(known)} len({{{','.join(sorted(sent))}}}) != len({{{listed}}}). "
            f"Sent extra: {{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}."
        )

    def wanted_outputs(self, output_filter: Iterable[str]) -> tuple[str, ...]:
        """The outputs that a request's filter asks for, sorted; all of them for an empty filter."""
        asked = list(output_filter)
        for position, name in enumerate(asked):
            if name not in self.outputs:
                known = ",".join(self.outputs)
                raise invalid(f"output tensor alias not found in signature: {name} Outputs expected to be in the set {{{known}}}.")
            if name in asked[:position]:
                raise invalid(f"duplicate output tensor alias: {name}")
        return tuple(sorted(asked)) or tuple(self.outputs)


def _dims(info: meta_graph_pb2.TensorInfo) -> tuple[int, ...] | None:
    return None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
