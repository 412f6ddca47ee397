"""A light client of any server that speaks TensorFlow Serving's gRPC protocol: grpcio, protobuf and numpy, no TensorFlow.

ModelError
├── ModelUnavailable    no server answers at the target, or a version did not become AVAILABLE
├── ModelNotFound       the server does not serve that model or version
├── InvalidRequest      the server refused the inputs, the label or the signature
└── DeadlineExceeded    no answer within `timeout_s`
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from serving import wire
from training.signatures import SIGNATURE

MAX_MESSAGE_BYTES = 256 << 20
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


class ModelError(Exception):
    """Any failure of a call to the model server."""


class ModelUnavailable(ModelError):
    """Nobody answers, or not yet."""


class ModelNotFound(ModelError):
    """The server answers, and has no such model or version."""


class InvalidRequest(ModelError):
    """What was sent does not fit the model."""


class DeadlineExceeded(ModelError):
    """The answer did not come in time."""


class Prediction(dict[str, np.ndarray]):
    """Outputs by name; strings are object arrays of `str`. `version` answered."""

    def __init__(self, outputs: dict[str, np.ndarray], version: int) -> None:
        super().__init__(outputs)
        self.version = version


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


class ModelClient:
    """One channel to `target` ("host:port"). Safe to share among threads; close it, or use it in a `with`."""

    def __init__(self, target: str) -> None:
        self.target = target
        limits = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.max_send_message_length", MAX_MESSAGE_BYTES)]
        self._channel = grpc.insecure_channel(target, options=limits)
        self._predict = self._method("PredictionService/Predict", wire.PredictResponse)
        self._metadata = self._method("PredictionService/GetModelMetadata", wire.GetModelMetadataResponse)
        self._status = self._method("ModelService/GetModelStatus", wire.GetModelStatusResponse)
        self._dtypes: dict[str, dict[str, str]] = {}

    def __enter__(self) -> "ModelClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def predict(
        self,
        model: str,
        inputs: Mapping[str, np.ndarray | Sequence[Any]],
        *,
        version: int | None = None,
        label: str | None = None,
        outputs: Sequence[str] | None = None,
        signature: str = SIGNATURE,
        timeout_s: float = 5.0,
    ) -> Prediction:
        """Run a signature of the model: its default one, or `explain`.

        An array is sent in its own dtype; a list is given the dtype that the default signature names (read once per model), and text where
        it names none. `outputs` are those wanted, all where None. ModelError's children say what went wrong.
        """
        request = wire.PredictRequest(output_filter=outputs or ())
        _fill_spec(request.model_spec, model, version, label)
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            array = values if isinstance(values, np.ndarray) else self._as_array(model, name, values, version, label, timeout_s)
            try:
                wire.write_array(array, request.inputs[name])
            except (TypeError, ValueError) as error:
                raise InvalidRequest(f"Input `{name}` of {model} must be an array of numbers or of text. {error}") from None
        try:
            response = self._predict(request, timeout_s)
        except InvalidRequest:
            self._dtypes.pop(model, None)  # a new version may take other dtypes
            raise
        return Prediction({name: _text(wire.read_array(t)) for name, t in response.outputs.items()}, response.model_spec.version.value)

    def metadata(self, model: str, *, version: int | None = None, label: str | None = None, timeout_s: float = 5.0) -> ModelMetadata:
        """Inputs and outputs of the model's default signature, as the server reports them."""
        request = wire.GetModelMetadataRequest(metadata_field=["signature_def"])
        _fill_spec(request.model_spec, model, version, label)
        response = self._metadata(request, timeout_s)
        signatures = wire.SignatureDefMap.FromString(response.metadata["signature_def"].value).signature_def
        if SIGNATURE not in signatures:
            raise InvalidRequest(
                f"A served model must have the signature `{SIGNATURE}`. {model} has {sorted(signatures)}. Export it again."
            )
        signature = signatures[SIGNATURE]
        return ModelMetadata(response.model_spec.version.value, _specs(signature.inputs), _specs(signature.outputs))

    def status(self, model: str, *, version: int | None = None, timeout_s: float = 5.0) -> dict[int, VersionStatus]:
        """State of every version that the server knows of. ModelNotFound where it knows of none."""
        request = wire.GetModelStatusRequest()
        _fill_spec(request.model_spec, model, version, None)
        found = self._status(request, timeout_s).model_version_status
        return {v.version: VersionStatus(STATES.get(v.state, "UNKNOWN"), v.status.error_message) for v in found}

    def wait_available(self, model: str, version: int, *, timeout_s: float = 60.0, poll_s: float = 0.1) -> None:
        """Return once the version is AVAILABLE. ModelUnavailable as soon as it has failed to load, or when the time is up."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                found = self.status(model, version=version)[version]
            except (ModelNotFound, ModelUnavailable, DeadlineExceeded) as error:
                found = VersionStatus("UNKNOWN", "")
                seen = str(error)
            else:
                seen = f"{found.state} {found.error}".strip()
            if found.state == "AVAILABLE":
                return
            if found.error or time.monotonic() > until:
                raise ModelUnavailable(f"{model} version {version} must become AVAILABLE within {timeout_s:g} s. Last seen: {seen}")
            time.sleep(poll_s)

    def _as_array(self, model: str, name: str, values: Any, version: int | None, label: str | None, timeout_s: float) -> np.ndarray:
        if model not in self._dtypes:
            specs = self.metadata(model, version=version, label=label, timeout_s=timeout_s).inputs
            self._dtypes[model] = {input_name: spec.dtype for input_name, spec in specs.items()}
        dtype = self._dtypes[model].get(name)
        try:
            return np.array(values, object if dtype == "string" else dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidRequest(f"Input `{name}` of {model} must be a full list of {dtype}. {error}") from None

    def _method(self, name: str, response: Any) -> Callable[[Any, float], Any]:
        path = f"/tensorflow.serving.{name}"
        call = self._channel.unary_unary(path, request_serializer=_serialise, response_deserializer=response.FromString)

        def method(request: Any, timeout_s: float) -> Any:
            try:
                return call(request, timeout=timeout_s)
            except grpc.RpcError as error:
                raise _translated(error, self.target, request.model_spec.name, timeout_s) from None

        return method


def _serialise(message: Any) -> bytes:
    return message.SerializeToString()


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


def _translated(error: Any, target: str, model: str, timeout_s: float) -> ModelError:
    code, details = error.code(), error.details()
    if code is grpc.StatusCode.NOT_FOUND:
        return ModelNotFound(f"{model} must be served at {target}. It answered: {details}. Publish the model, or list it in models.config.")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(
            f"{model} must answer within {timeout_s:g} s. {target} did not: {details}. Allow more, or ask for less at once."
        )
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED):
        return ModelUnavailable(f"A model server must answer at {target}. {code.name}: {details}. Start it with `portrait up`.")
    return InvalidRequest(f"A request to {model} must fit its signature. {code.name}: {details}. See GetModelMetadata for what it takes.")
