"""The client for asyncio: the same calls, awaited."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio

from . import calls
from .calls import SIGNATURE, ModelMetadata, Prediction, Values, VersionStatus
from .errors import InvalidRequest, translated


class AsyncModelClient:
    """One channel to `target` ("host:port"), for one event loop; close it, or use it in an `async with`."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._channel = grpc.aio.insecure_channel(target, options=calls.CHANNEL_OPTIONS)
        self._methods: dict[str, Any] = {
            name: self._channel.unary_unary(path, request_serializer=calls.serialise, response_deserializer=response.FromString)
            for name, (path, response) in calls.METHODS.items()
        }
        self._dtypes: dict[str, dict[str, str]] = {}

    async def __aenter__(self) -> "AsyncModelClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._channel.close()

    async def predict(
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
        """As `ModelClient.predict`."""
        if calls.needs_dtypes(inputs) and model not in self._dtypes:
            specs = (await self.metadata(model, version=version, label=label, timeout_s=timeout_s)).inputs
            self._dtypes[model] = {name: spec.dtype for name, spec in specs.items()}
        request = calls.predict_request(model, inputs, self._dtypes.get(model, {}), version, label, outputs, signature)
        try:
            return calls.prediction(await self._call("predict", request, timeout_s))
        except InvalidRequest:
            self._dtypes.pop(model, None)
            raise

    async def metadata(self, model: str, *, version: int | None = None, label: str | None = None, timeout_s: float = 5.0) -> ModelMetadata:
        """As `ModelClient.metadata`."""
        return calls.metadata(await self._call("metadata", calls.metadata_request(model, version, label), timeout_s), model)

    async def status(self, model: str, *, version: int | None = None, timeout_s: float = 5.0) -> dict[int, VersionStatus]:
        """As `ModelClient.status`."""
        return calls.statuses(await self._call("status", calls.status_request(model, version), timeout_s))

    async def _call(self, method: str, request: Any, timeout_s: float) -> Any:
        try:
            return await self._methods[method](request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise translated(error, self.target, request.model_spec.name, timeout_s) from None
