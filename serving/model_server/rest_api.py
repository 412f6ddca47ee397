"""The REST side: predictions, status and metadata as TensorFlow Serving's, and `GET /healthz`.

`POST /v1/models/<m>[/versions/N|/labels/L]:predict`, `GET /v1/models/<m>[/versions/N|/labels/L][/metadata]`.
"""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from serving.model_server import grpc_api
from serving.model_server.catalogue import Catalogue
from serving.model_server.errors import ServingError, invalid
from serving.model_server.rest_tensors import read_inputs, write_outputs
from training.signatures import SIGNATURE

MAX_BODY_BYTES = 64 << 20
IDLE_SECONDS = 60
_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(_MODEL + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
_INFO = re.compile(_MODEL + r"(?P<metadata>/metadata)?", re.IGNORECASE)
_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


def _spec(found: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(found["name"]))
    if found["version"]:
        if int(found["version"]) >= 1 << 63:
            raise invalid(f"Failed to convert version: {found['version']} to numeric.")
        spec.version.value = int(found["version"])
    if found["label"]:
        spec.version_label = unquote(found["label"])
    return spec


def _to_dict(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def predict(catalogue: Catalogue, spec: model_pb2.ModelSpec, body: bytes) -> dict[str, Any]:
    """Answer a predict request's JSON, row or columnar."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise invalid(f"JSON Value: {str(request)[:80]} Is not object")
    name = request.get("signature_name", SIGNATURE)
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value.")
    with catalogue.borrow(spec) as (_, servable):
        if name not in servable.signature_defs:
            raise invalid(f'Serving signature name: "{name}" not found in signature def')
        outputs = servable.run(name, read_inputs(request, servable.signature(name)))
    return write_outputs(outputs, by_row="instances" in request)


def describe(catalogue: Catalogue, spec: model_pb2.ModelSpec, with_metadata: bool) -> dict[str, Any]:
    """A model's status, or its signatures."""
    if not with_metadata:
        return _to_dict(grpc_api.status(catalogue, get_model_status_pb2.GetModelStatusRequest(model_spec=spec)))
    request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[grpc_api.SIGNATURE_DEF])
    response = grpc_api.metadata(catalogue, request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[grpc_api.SIGNATURE_DEF].Unpack(signatures)
    return {"model_spec": _to_dict(response.model_spec), "metadata": {grpc_api.SIGNATURE_DEF: _to_dict(signatures)}}


class Handler(BaseHTTPRequestHandler):
    """One connection; `catalogue` is set by `build_server`."""

    catalogue: Catalogue
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            ready = self.catalogue.ready()
            self._send(200 if ready else 503, {"ready": ready})
        else:
            self._answer(_INFO.fullmatch(path), lambda found: describe(self.catalogue, _spec(found), bool(found["metadata"])))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(413 if length.isdecimal() else 411, {"error": f"Content-Length must be given, of at most {MAX_BODY_BYTES} bytes"})
            return
        body = self.rfile.read(int(length))
        self._answer(_PREDICT.fullmatch(self.path.partition("?")[0]), lambda found: self._post(found, body))

    def _post(self, found: re.Match[str], body: bytes) -> dict[str, Any]:
        if found["method"].lower() != "predict":
            raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"{found['method']} is not served here: use predict")
        return predict(self.catalogue, _spec(found), body)

    def _answer(self, found: re.Match[str] | None, answer: Any) -> None:
        try:
            if not found:
                raise invalid(f"Malformed request: {self.command} {self.path}")
            self._send(200, answer(found))
        except ServingError as error:
            self._send(_HTTP_STATUS.get(error.code, 500), {"error": error.message})

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Requests are not logged: their bodies and paths may name people."""


def build_server(catalogue: Catalogue, host: str, port: int) -> ThreadingHTTPServer:
    """A server bound to the port, not started. OSError where it is taken."""
    server = ThreadingHTTPServer((host, port), type("BoundHandler", (Handler,), {"catalogue": catalogue}))
    server.daemon_threads = True
    return server
