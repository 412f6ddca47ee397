"""The REST side: predictions, status and metadata as TensorFlow Serving's, the metrics, and `GET /healthz`.

`POST /v1/models/<m>[/versions/N|/labels/L]:predict`, `GET /v1/models/<m>[/versions/N|/labels/L][/metadata]`.
"""

import json
import math
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from serving.model_server import grpc_api
from serving.model_server.core import Core
from serving.model_server.errors import ServingError, invalid
from serving.model_server.metrics import CONTENT_TYPE
from serving.model_server.rest_tensors import read_inputs, write_outputs
from serving.model_server.servable import Servable
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


def predict(core: Core, spec: model_pb2.ModelSpec, body: bytes) -> dict[str, Any]:
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

    def asked(servable: Servable) -> tuple[str, dict[str, Any]]:
        if name not in servable.signature_defs:
            raise invalid(f'Serving signature name: "{name}" not found in signature def')
        return name, read_inputs(request, servable.signature(name))

    _, outputs = core.predict(spec, asked, (), math.inf, "REST")
    return write_outputs(outputs, by_row="instances" in request)


def describe(core: Core, spec: model_pb2.ModelSpec, with_metadata: bool) -> dict[str, Any]:
    """A model's status, or its signatures."""
    if not with_metadata:
        return _to_dict(grpc_api.status(core, get_model_status_pb2.GetModelStatusRequest(model_spec=spec), math.inf))
    request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[grpc_api.SIGNATURE_DEF])
    response = grpc_api.metadata(core, request, math.inf)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[grpc_api.SIGNATURE_DEF].Unpack(signatures)
    return {"model_spec": _to_dict(response.model_spec), "metadata": {grpc_api.SIGNATURE_DEF: _to_dict(signatures)}}


class Handler(BaseHTTPRequestHandler):
    """One connection; `core` and `metrics_path` are set by `build_server`."""

    core: Core
    metrics_path: str | None
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            ready = self.core.ready()
            self._send(200 if ready else 503, {"ready": ready})
        elif path == self.metrics_path:
            self._write(200, CONTENT_TYPE, self.core.metrics.text().encode())
        else:
            self._answer(_INFO.fullmatch(path), lambda found: describe(self.core, _spec(found), bool(found["metadata"])))

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
        return predict(self.core, _spec(found), body)

    def _answer(self, found: re.Match[str] | None, answer: Any) -> None:
        try:
            if not found:
                raise invalid(f"Malformed request: {self.command} {self.path}")
            self._send(200, answer(found))
        except ServingError as error:
            self._send(_HTTP_STATUS.get(error.code, 500), {"error": error.message})

    def _send(self, status: int, content: dict[str, Any]) -> None:
        self._write(status, "application/json", json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass"))

    def _write(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Requests are not logged: their bodies and paths may name people."""


def build_server(core: Core, host: str, port: int, metrics_path: str | None) -> ThreadingHTTPServer:
    """A server bound to the port, not started; metrics stand at `metrics_path`, if any. OSError where the port is taken."""
    server = ThreadingHTTPServer((host, port), type("BoundHandler", (Handler,), {"core": core, "metrics_path": metrics_path}))
    server.daemon_threads = True
    return server
