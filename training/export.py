"""A model as a SavedModel folder that TensorFlow Serving can serve: signature, warm-up requests, golden requests, provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from training.signatures import EXPLAIN, GOLDEN_FILE, PROVENANCE_FILE, RETRIEVE, SIGNATURE, WARMUP_FILE, DType, ServedModel, Tensor

DTYPES: dict[DType, tf.DType] = {"string": tf.string, "int32": tf.int32, "int64": tf.int64, "float32": tf.float32}
PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")


def export_model(
    module: tf.Module,
    serve: Callable[..., dict[str, tf.Tensor]],
    model: ServedModel,
    path: Path,
    *,
    explain: Callable[..., dict[str, tf.Tensor]] | None = None,
    retrieve: Callable[..., dict[str, tf.Tensor]] | None = None,
    golden: Mapping[str, np.ndarray],
    provenance: Mapping[str, Any],
    extra_inputs: tuple[Tensor, ...] = (),
) -> None:
    """Writes the SavedModel of `module` into the folder `path`; its signature calls `serve(**inputs)`, `explain` and `retrieve` likewise.

    `golden` are the inputs of a few requests, batched; their outputs are kept beside them, and they warm the server up, whole and one
    alone. Raises ValueError where `serve` returns other outputs than `model` names.
    """
    inputs = (*model.inputs, *extra_inputs)
    module.function = tf.function(serve)
    signatures = {SIGNATURE: _concrete(module.function, model.name, inputs, model.outputs)}
    signatures |= dict.fromkeys(model.aliases, signatures[SIGNATURE])
    if explain is not None:
        module.explain_function = tf.function(explain)
        asked = (*model.explain_inputs, *extra_inputs)
        signatures[EXPLAIN] = _concrete(module.explain_function, f"{model.name}.explain", asked, model.explain_outputs)
    if retrieve is not None:
        module.retrieve_function = tf.function(retrieve)
        signatures[RETRIEVE] = _concrete(module.retrieve_function, f"{model.name}.retrieve", model.retrieve_inputs, model.retrieve_outputs)
    # Keras hides its layers' variables behind copies of its own; tracked here, a session restores the very ones that the signature reads.
    module.captured_variables = [variable for concrete in signatures.values() for variable in concrete.variables]
    tf.saved_model.save(module, str(path), signatures=signatures)

    batch = {tensor.name: tf.constant(golden[tensor.name], DTYPES[tensor.dtype]) for tensor in inputs}
    outputs = module.function(**batch)
    (path / GOLDEN_FILE).parent.mkdir(exist_ok=True)
    kept = {"inputs": {name: _listed(tensor) for name, tensor in batch.items()}, "outputs": {n: _listed(t) for n, t in outputs.items()}}
    (path / GOLDEN_FILE).write_text(json.dumps(kept))
    _write_warm_up(path / WARMUP_FILE, model.name, [{name: tensor[:1] for name, tensor in batch.items()}, batch])
    versions = {name: version(name) for name in PACKAGES}
    facts = {"model": model.name, "feature_service": model.feature_service, **provenance, "versions": versions}
    (path / PROVENANCE_FILE).write_text(json.dumps(facts, indent=1, default=str))


def _concrete(function: Any, name: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Any:
    """The function traced for raw inputs of any size; it must return what the signature names."""
    specs = {tensor.name: tf.TensorSpec([None] * len(tensor.dims), DTYPES[tensor.dtype], name=tensor.name) for tensor in inputs}
    concrete = function.get_concrete_function(**specs)
    expected = {tensor.name: DTYPES[tensor.dtype] for tensor in outputs}
    returned = {key: tensor.dtype for key, tensor in concrete.structured_outputs.items()}
    if returned != expected:
        raise ValueError(f"`{name}` must return {expected}. Received {returned}. Change it or training/signatures.py.")
    return concrete


def _listed(tensor: tf.Tensor) -> list[Any]:
    values = tensor.numpy()
    return np.vectorize(bytes.decode, otypes=[object])(values).tolist() if tensor.dtype == tf.string and values.size else values.tolist()


def _write_warm_up(path: Path, model: str, requests: list[dict[str, tf.Tensor]]) -> None:
    """TensorFlow Serving's own form: a TFRecord file of PredictionLog."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    with tf.io.TFRecordWriter(str(path)) as writer:
        for inputs in requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = model, SIGNATURE
            for name, tensor in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
