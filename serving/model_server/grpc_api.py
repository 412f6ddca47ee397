"""PredictionService, ModelService and health over gRPC."""

import math
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.model_server.core import Core
from serving.model_server.errors import ServingError, invalid
from serving.model_server.servable import Servable, read_inputs
from serving.portrait_client import wire
from training.signatures import SIGNATURE

MAX_MESSAGE_BYTES = 256 << 20  # TensorFlow Serving takes 2 GiB
MAX_ERROR_CHARS = 1024  # TensorFlow Serving's limit: longer ones would not fit into the trailers that clients accept
SIGNATURE_DEF = "signature_def"


def predict(core: Core, request: predict_pb2.PredictRequest, deadline: float) -> predict_pb2.PredictResponse:
    """Answer a Predict request, or ServingError."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    signature = request.model_spec.signature_name or SIGNATURE

    def asked(_servable: Servable) -> tuple[str, dict[str, Any]]:
        return signature, read_inputs(request)

    version, outputs = core.predict(request.model_spec, asked, request.output_filter, deadline, "GRPC")
    response = predict_pb2.PredictResponse()
    spec = response.model_spec
    spec.name, spec.version.value, spec.signature_name = request.model_spec.name, version, signature
    for name, array in outputs.items():
        wire.write_array(array, response.outputs[name])
    return response


def metadata(
    core: Core, request: get_model_metadata_pb2.GetModelMetadataRequest, _deadline: float
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Every signature of a model, packed as TensorFlow Serving packs them."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid(f"Metadata field {field} is not supported")
    signatures = get_model_metadata_pb2.SignatureDefMap()
    with core.catalogue.borrow(request.model_spec) as (version, servable):
        for name, signature in servable.signature_defs.items():
            signatures.signature_def[name].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name, response.model_spec.version.value = request.model_spec.name, version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def status(
    core: Core, request: get_model_status_pb2.GetModelStatusRequest, _deadline: float
) -> get_model_status_pb2.GetModelStatusResponse:
    """State of each version, newest first."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    return get_model_status_pb2.GetModelStatusResponse(model_version_status=core.catalogue.states(request.model_spec))


def reload(core: Core, request: model_management_pb2.ReloadConfigRequest, _deadline: float) -> model_management_pb2.ReloadConfigResponse:
    """Replace the whole list of models; returns when they are loaded."""
    if request.config.WhichOneof("config") != "model_config_list":
        raise invalid("ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported")
    core.catalogue.configure(request.config)
    response = model_management_pb2.ReloadConfigResponse()
    response.status.SetInParent()
    return response


def _refuse_examples(_core: Core, _request: Any, _deadline: float) -> Any:
    message = "Classify, Regress and MultiInference are not served here: use Predict with the signature's named inputs"
    raise ServingError(grpc.StatusCode.UNIMPLEMENTED, message)


def _method(core: Core, answer: Callable[[Core, Any, float], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
    """`answer` as a gRPC method: errors become status codes, and a request whose caller has given up is not run."""

    def method(request: Any, context: grpc.ServicerContext) -> Any:
        left = context.time_remaining()
        if not context.is_active() or (left is not None and left <= 0):
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded before the request was run")
        try:
            return answer(core, request, math.inf if left is None else time.monotonic() + left)
        except ServingError as error:
            return context.abort(error.code, error.message[:MAX_ERROR_CHARS])

    return method


def build_server(core: Core, address: str, threads: int, waiting: int) -> tuple[grpc.Server, health.HealthServicer]:
    """A server bound to `address` and not started, and its health service, NOT_SERVING. RuntimeError where the port is taken.

    Beyond `threads` requests at once, `waiting` more wait; any further one is RESOURCE_EXHAUSTED.
    """
    options = [
        ("grpc.so_reuseport", 0),  # two servers on one port would share its requests
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]
    executor = futures.ThreadPoolExecutor(threads, "grpc")
    server = grpc.server(executor, options=options, maximum_concurrent_rpcs=threads + waiting)
    predictions = prediction_service_pb2_grpc.PredictionServiceServicer()
    predictions.Predict = _method(core, predict)
    predictions.GetModelMetadata = _method(core, metadata)
    predictions.Classify = predictions.Regress = predictions.MultiInference = _method(core, _refuse_examples)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(predictions, server)
    models = model_service_pb2_grpc.ModelServiceServicer()
    models.GetModelStatus = _method(core, status)
    models.HandleReloadConfigRequest = _method(core, reload)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
    healthy = health.HealthServicer()
    set_ready(healthy, False)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    server.add_insecure_port(address)
    return server, healthy


def set_ready(healthy: health.HealthServicer, ready: bool) -> None:
    state = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
    for service in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
        healthy.set(service, state)
