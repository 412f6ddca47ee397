"""Which Predict requests give the same answers together as apart, how they become one batch, and how its answers are taken apart.

Of our own models `training.signatures` names every dimension: of those in `PADDED` a request's own length changes no answer, so they are
padded with '' and 0 to the longest; an output as long as an input says (`k`) is cut to what its own request asked for. Any other model is
merged where shapes are equal and no output's shape hangs on more than the batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.model_server.signature import Signature
from training.signatures import EXPLAIN, SERVED_MODELS, SIGNATURE

#: Not `items` of `explain`: events are screened for all the items of a user together, padding included.
PADDED = frozenset({"steps", "excluded"})
Arrays = dict[str, np.ndarray]
Dims = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Part:
    """One request as a part of a batch: those of equal `key` fit together. `lengths` are its own sizes of named dimensions."""

    key: tuple[Any, ...]
    rows: int
    inputs: Arrays
    lengths: Mapping[str, int]
    output_dims: Dims


def part(model: str, signature_name: str, signature: Signature, inputs: Arrays, pad: bool) -> Part | None:
    """`inputs`, which fit the signature, as a part of a batch; None where they must run by themselves."""
    counts = {array.shape[:1] for array in inputs.values()}
    if len(counts) != 1 or counts & {(), (0,)} or any(dims is None or dims[:1] != (-1,) for dims in _all_dims(signature)):
        return None
    named = _named_dims(model, signature_name, signature)
    if named is None:
        if any(-1 in dims[1:] for dims in signature.output_dims.values() if dims is not None):
            return None
        return Part(tuple(array.shape[1:] for array in inputs.values()), counts.pop()[0], inputs, {}, {})
    input_dims, output_dims = named
    lengths: dict[str, int] = {}
    for name, dims in input_dims.items():
        for dim, size in zip(dims[1:], inputs[name].shape[1:], strict=True):
            if lengths.setdefault(dim, size) != size:
                return None  # the model itself says what is wrong with it
    padded = PADDED if pad else frozenset()
    key = tuple(size for dim, size in lengths.items() if dim not in padded)
    for dim in {dim for dims in output_dims.values() for dim in dims} & inputs.keys():
        lengths[dim] = int(inputs[dim].max())
        if lengths[dim] < 1:
            return None
    return Part(key, counts.pop()[0], inputs, lengths, output_dims)


def merge(parts: Sequence[Part], allowed_sizes: Sequence[int] = ()) -> Arrays:
    """One batch of all rows in order; filled up with its first row to the next of `allowed_sizes`."""
    rows = sum(each.rows for each in parts)
    spare = next((size - rows for size in allowed_sizes if size >= rows), 0)
    return {name: _joined([each.inputs[name] for each in parts], spare) for name in parts[0].inputs}


def split(outputs: Arrays, parts: Sequence[Part], rows: int) -> list[Arrays]:
    """Each part's own answers. ValueError where an output has not one entry per row of the batch."""
    for name, array in outputs.items():
        if array.shape[:1] != (rows,):
            raise ValueError(f"output {name} of a batch of {rows} rows has shape {list(array.shape)}")
    longest = {dim: max(each.lengths[dim] for each in parts) for dim in parts[0].lengths}
    answers, start = [], 0
    for each in parts:
        own = slice(start, start + each.rows)
        cut = {dim: slice(size) for dim, size in each.lengths.items() if size < longest[dim]}
        answers.append(
            {
                name: array[(own, *(cut.get(dim, slice(None)) for dim in each.output_dims.get(name, ())[1:]))]
                for name, array in outputs.items()
            }
        )
        start += each.rows
    return answers


def _joined(arrays: list[np.ndarray], spare: int) -> np.ndarray:
    if spare:
        arrays = [*arrays, np.repeat(arrays[0][:1], spare, axis=0)]
    if len(arrays) == 1:
        return arrays[0]
    if len({array.shape[1:] for array in arrays}) == 1:
        return np.concatenate(arrays)
    tail = np.max([array.shape[1:] for array in arrays], axis=0)
    blank = b"" if arrays[0].dtype.kind == "O" else 0
    joined = np.full((sum(len(array) for array in arrays), *tail), blank, arrays[0].dtype)
    start = 0
    for array in arrays:
        joined[(slice(start, start + len(array)), *map(slice, array.shape[1:]))] = array
        start += len(array)
    return joined


def _all_dims(signature: Signature) -> list[tuple[int, ...] | None]:
    return [*(wanted.dims for wanted in signature.inputs.values()), *signature.output_dims.values()]


def _named_dims(model: str, signature_name: str, signature: Signature) -> tuple[Dims, Dims] | None:
    """The contract's dimensions of inputs and outputs; None where the served model is not one that the contract tells of."""
    contract = SERVED_MODELS.get(model)
    if contract is None or signature_name not in (SIGNATURE, EXPLAIN):
        return None
    explain = signature_name == EXPLAIN
    inputs = {tensor.name: tensor.dims for tensor in (contract.explain_inputs if explain else contract.inputs)}
    outputs = {tensor.name: tensor.dims for tensor in (contract.explain_outputs if explain else contract.outputs)}
    beyond = signature.inputs.keys() - inputs.keys()
    fits = all(name in signature.inputs and len(signature.inputs[name].dims or ()) == len(dims) for name, dims in inputs.items())
    rank_one = all(len(signature.inputs[name].dims or ()) == 1 for name in beyond)  # a shop's own covariates, one value a row
    same_outputs = {name: len(dims or ()) for name, dims in signature.output_dims.items()} == {n: len(d) for n, d in outputs.items()}
    return (inputs, outputs) if fits and rank_one and same_outputs else None
