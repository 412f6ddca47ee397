"""The client for threads: every call returns when the answer is there, or raises a ModelError."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from . import calls
from .calls import SIGNATURE, ModelMetadata, Prediction, Values, VersionStatus
from .errors import DeadlineExceeded, InvalidRequest, ModelNotFound, ModelUnavailable, translated


class ModelClient:
    """One channel to `target` ("host:port"). Safe to share among threads; close it, or use it in a `with`."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._channel = grpc.insecure_channel(target, options=calls.CHANNEL_OPTIONS)
        self._methods = {
            name: self._channel.unary_unary(path, request_serializer=calls.serialise, response_deserializer=response.FromString)
            for name, (path, response) in calls.METHODS.items()
        }
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
        inputs: Mapping[str, Values],
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
        if calls.needs_dtypes(inputs) and model not in self._dtypes:
            specs = self.metadata(model, version=version, label=label, timeout_s=timeout_s).inputs
            self._dtypes[model] = {name: spec.dtype for name, spec in specs.items()}
        request = calls.predict_request(model, inputs, self._dtypes.get(model, {}), version, label, outputs, signature)
        try:
            return calls.prediction(self._call("predict", request, timeout_s))
        except InvalidRequest:
            self._dtypes.pop(model, None)  # a new version may take other dtypes
            raise

    def metadata(self, model: str, *, version: int | None = None, label: str | None = None, timeout_s: float = 5.0) -> ModelMetadata:
        """Inputs and outputs of the model's default signature, as the server reports them."""
        return calls.metadata(self._call("metadata", calls.metadata_request(model, version, label), timeout_s), model)

    def status(self, model: str, *, version: int | None = None, timeout_s: float = 5.0) -> dict[int, VersionStatus]:
        """State of every version that the server knows of. ModelNotFound where it knows of none."""
        return calls.statuses(self._call("status", calls.status_request(model, version), timeout_s))

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

    def _call(self, method: str, request: Any, timeout_s: float) -> Any:
        try:
            return self._methods[method](request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise translated(error, self.target, request.model_spec.name, timeout_s) from None
