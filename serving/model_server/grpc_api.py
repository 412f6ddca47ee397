"""PredictionService, ModelService and health over gRPC."""

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

from serving import wire
from serving.model_server.catalogue import Catalogue
from serving.model_server.errors import ServingError, invalid
from training.signatures import SIGNATURE

MAX_MESSAGE_BYTES = 256 << 20  # TensorFlow Serving takes 2 GiB
MAX_ERROR_CHARS = 1024  # TensorFlow Serving's limit: longer ones would not fit into the trailers that clients accept
SIGNATURE_DEF = "signature_def"


def predict(catalogue: Catalogue, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    """Answer a Predict request, or ServingError."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    with catalogue.borrow(request.model_spec) as (version, servable):
        outputs = servable.predict(request)
    response = predict_pb2.PredictResponse()
    spec = response.model_spec
    spec.name, spec.version.value, spec.signature_name = request.model_spec.name, version, request.model_spec.signature_name or SIGNATURE
    for name, array in outputs.items():
        wire.write_array(array, response.outputs[name])
    return response


def metadata(
    catalogue: Catalogue, request: get_model_metadata_pb2.GetModelMetadataRequest
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
    with catalogue.borrow(request.model_spec) as (version, servable):
        for name, signature in servable.signature_defs.items():
            signatures.signature_def[name].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name, response.model_spec.version.value = request.model_spec.name, version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def status(catalogue: Catalogue, request: get_model_status_pb2.GetModelStatusRequest) -> get_model_status_pb2.GetModelStatusResponse:
    """State of each version, newest first."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    return get_model_status_pb2.GetModelStatusResponse(model_version_status=catalogue.states(request.model_spec))


def reload(catalogue: Catalogue, request: model_management_pb2.ReloadConfigRequest) -> model_management_pb2.ReloadConfigResponse:
    """Replace the whole list of models; returns when they are loaded."""
    if request.config.WhichOneof("config") != "model_config_list":
        raise invalid("ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported")
    catalogue.configure(request.config)
    response = model_management_pb2.ReloadConfigResponse()
    response.status.SetInParent()
    return response


def _refuse_examples(_catalogue: Catalogue, _request: Any) -> Any:
    message = "Classify, Regress and MultiInference are not served here: use Predict with the signature's named inputs"
    raise ServingError(grpc.StatusCode.UNIMPLEMENTED, message)


def _method(catalogue: Catalogue, answer: Callable[[Catalogue, Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
    """`answer` as a gRPC method: errors become status codes, and a request whose caller has given up is not run."""

    def method(request: Any, context: grpc.ServicerContext) -> Any:
        left = context.time_remaining()
        if not context.is_active() or (left is not None and left <= 0):
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded before the request was run")
        try:
            return answer(catalogue, request)
        except ServingError as error:
            return context.abort(error.code, error.message[:MAX_ERROR_CHARS])

    return method


def build_server(catalogue: Catalogue, address: str, threads: int) -> tuple[grpc.Server, health.HealthServicer]:
    """A server bound to `address` and not started, and its health service, NOT_SERVING. RuntimeError where the port is taken."""
    options = [
        ("grpc.so_reuseport", 0),  # two servers on one port would share its requests
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]
    server = grpc.server(futures.ThreadPoolExecutor(threads, "grpc"), options=options)
    predictions = prediction_service_pb2_grpc.PredictionServiceServicer()
    predictions.Predict = _method(catalogue, predict)
    predictions.GetModelMetadata = _method(catalogue, metadata)
    predictions.Classify = predictions.Regress = predictions.MultiInference = _method(catalogue, _refuse_examples)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(predictions, server)
    models = model_service_pb2_grpc.ModelServiceServicer()
    models.GetModelStatus = _method(catalogue, status)
    models.HandleReloadConfigRequest = _method(catalogue, reload)
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
