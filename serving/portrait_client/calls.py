"""Requests and answers as plain values: what the clients of either form share. Nothing here waits or sends."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import wire
from .errors import InvalidRequest

SIGNATURE = "serving_default"
MAX_MESSAGE_BYTES = 256 << 20
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}

#: Retried with jitter by gRPC itself, within the call's deadline; no call here changes anything, so each may be made twice. After many
#: failures of a channel gRPC stops retrying until calls succeed again, so that retries do not add to an overload.
_RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "tensorflow.serving.PredictionService"}, {"service": "tensorflow.serving.ModelService"}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
}
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(_RETRIES)),
    # A server that was away for long is found again within a second or two; by default it could take two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
#: Methods by name: path and class of the answer.
METHODS = {
    "predict": ("/tensorflow.serving.PredictionService/Predict", wire.PredictResponse),
    "metadata": ("/tensorflow.serving.PredictionService/GetModelMetadata", wire.GetModelMetadataResponse),
    "status": ("/tensorflow.serving.ModelService/GetModelStatus", wire.GetModelStatusResponse),
}
Values = np.ndarray | Sequence[Any]


class Prediction(dict[str, np.ndarray]):
    """Outputs by name; strings are object arrays of `str`. `version` answered; `label` is there for callers who chose it by one."""

    def __init__(self, outputs: dict[str, np.ndarray], version: int, label: str | None = None) -> None:
        super().__init__(outputs)
        self.version, self.label = version, label


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a served signature; in `shape`, -1 is any size, and None any rank."""

    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class ModelMetadata:
    """What a served version takes and returns."""

    version: int
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


@dataclass(frozen=True)
class VersionStatus:
    """State of one version (`AVAILABLE`, `LOADING`, `END`, ...) and the error that ended it, or ''."""

    state: str
    error: str


def predict_request(
    model: str,
    inputs: Mapping[str, Values],
    dtypes: Mapping[str, str],
    version: int | None,
    label: str | None,
    outputs: Sequence[str] | None,
    signature: str,
) -> Any:
    """A PredictRequest; lists take the dtype in `dtypes`. InvalidRequest names an input that is no full array of numbers or text."""
    request = wire.PredictRequest(output_filter=outputs or ())
    _fill_spec(request.model_spec, model, version, label)
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        array = values if isinstance(values, np.ndarray) else _as_array(model, name, values, dtypes.get(name))
        try:
            wire.write_array(array, request.inputs[name])
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"Input `{name}` of {model} must be an array of numbers or of text. {error}") from None
    return request


def prediction(response: Any) -> Prediction:
    return Prediction({name: _text(wire.read_array(t)) for name, t in response.outputs.items()}, response.model_spec.version.value)


def metadata_request(model: str, version: int | None, label: str | None) -> Any:
    request = wire.GetModelMetadataRequest(metadata_field=["signature_def"])
    _fill_spec(request.model_spec, model, version, label)
    return request


def metadata(response: Any, model: str) -> ModelMetadata:
    """Of the default signature. InvalidRequest where the model has none."""
    signatures = wire.SignatureDefMap.FromString(response.metadata["signature_def"].value).signature_def
    if SIGNATURE not in signatures:
        raise InvalidRequest(f"A served model must have the signature `{SIGNATURE}`. {model} has {sorted(signatures)}. Export it again.")
    signature = signatures[SIGNATURE]
    return ModelMetadata(response.model_spec.version.value, _specs(signature.inputs), _specs(signature.outputs))


def status_request(model: str, version: int | None) -> Any:
    request = wire.GetModelStatusRequest()
    _fill_spec(request.model_spec, model, version, None)
    return request


def statuses(response: Any) -> dict[int, VersionStatus]:
    found = response.model_version_status
    return {v.version: VersionStatus(STATES.get(v.state, "UNKNOWN"), v.status.error_message) for v in found}


def needs_dtypes(inputs: Mapping[str, Values]) -> bool:
    return any(not isinstance(values, np.ndarray) for values in inputs.values())


def serialise(message: Any) -> bytes:
    return message.SerializeToString()


def _as_array(model: str, name: str, values: Any, dtype: str | None) -> np.ndarray:
    try:
        return np.array(values, object if dtype == "string" else dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"Input `{name}` of {model} must be a full list of {dtype}. {error}") from None


def _fill_spec(spec: Any, model: str, version: int | None, label: str | None) -> None:
    spec.name = model
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label


def _specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    shapes = {n: None if t.tensor_shape.unknown_rank else tuple(dim.size for dim in t.tensor_shape.dim) for n, t in tensors.items()}
    return {name: TensorSpec(wire.dtype_name(tensors[name].dtype), shapes[name]) for name in sorted(tensors)}


def _text(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "O":
        return array
    decoded = np.empty(array.size, object)
    decoded[:] = [value.decode("utf-8", "surrogateescape") for value in array.ravel().tolist()]
    return decoded.reshape(array.shape)
