"""What any client of TensorFlow Serving sees, by tensorflow-serving-api alone.

Runs against the official server where TF_SERVING_TARGET names one (see tiny_models.py).
"""

import json
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest

pytestmark = pytest.mark.slow

tf = pytest.importorskip("tensorflow")
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub  # noqa: E402

SECONDS = 10


@pytest.fixture(scope="module")
def channel(protocol_server):
    with grpc.insecure_channel(protocol_server.target) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def tiny_request(x=((1.0, 2.0), (3.0, 4.0)), name=("ann", "bé"), **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = spec.pop("model", "tiny")
    if "version" in spec:
        request.model_spec.version.value = spec.pop("version")
    for field, value in spec.items():
        setattr(request.model_spec, field, value)
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(x, tf.float32))
    request.inputs["name"].CopyFrom(tf.make_tensor_proto(list(name)))
    return request


def refusal(stub, request):
    with pytest.raises(grpc.RpcError) as raised:
        stub.Predict(request, SECONDS)
    return raised.value.code(), raised.value.details()


def test_the_newest_version_answers_in_typed_value_fields(stub):
    response = stub.Predict(tiny_request(), SECONDS)
    assert list(response.outputs["y"].float_val) == [6.0, 14.0]
    assert list(response.outputs["greeting"].string_val) == [b"hello ann", "hello bé".encode()]
    assert [dim.size for dim in response.outputs["y"].tensor_shape.dim] == [2]
    assert not response.outputs["y"].tensor_content
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("tiny", 2, "serving_default")


def test_a_version_and_a_label_choose_who_answers(stub):
    assert list(stub.Predict(tiny_request(version=1), SECONDS).outputs["y"].float_val) == [3.0, 7.0]
    assert stub.Predict(tiny_request(version_label="stable"), SECONDS).model_spec.version.value == 1
    assert stub.Predict(tiny_request(version_label="canary"), SECONDS).model_spec.version.value == 2


def test_typed_values_and_tensor_content_mean_the_same(stub):
    request = tiny_request()
    packed = request.inputs["x"]
    packed.ClearField("tensor_content")
    packed.float_val[:] = [1.0, 2.0, 3.0, 4.0]
    assert list(stub.Predict(request, SECONDS).outputs["y"].float_val) == [6.0, 14.0]


def test_an_empty_batch_has_an_empty_answer(stub):
    request = tiny_request()
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.zeros((0, 2), np.float32)))
    request.inputs["name"].CopyFrom(tf.make_tensor_proto(np.zeros((0,), object), tf.string, (0,)))
    response = stub.Predict(request, SECONDS)
    assert [dim.size for dim in response.outputs["y"].tensor_shape.dim] == [0]


def test_an_output_filter_is_honoured(stub):
    request = tiny_request()
    request.output_filter.append("y")
    assert list(stub.Predict(request, SECONDS).outputs) == ["y"]


@pytest.mark.parametrize(
    ("spec", "code", "words"),
    [
        ({"model": "nobody"}, "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
        ({"version": 99}, "NOT_FOUND", "Servable not found for request: Specific(tiny, 99)"),
        ({"model": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ({"version_label": "beta"}, "INVALID_ARGUMENT", "Unrecognized servable version label: beta"),
        ({"signature_name": "other"}, "FAILED_PRECONDITION", 'Serving signature key "other" not found.'),
    ],
)
def test_a_wrong_address_is_refused_by_name(stub, spec, code, words):
    got_code, got_words = refusal(stub, tiny_request(**spec))
    assert (got_code.name, got_words) == (code, words)


def test_wrong_inputs_are_invalid_arguments_that_name_the_fault(stub):
    def code_and_words(change):
        request = tiny_request()
        change(request)
        code, words = refusal(stub, request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT, (code, words)
        return words

    assert "Missing but required: {name}" in code_and_words(lambda r: r.inputs.pop("name"))
    assert "Sent extra: {z}" in code_and_words(lambda r: r.inputs["z"].CopyFrom(r.inputs["x"]))
    renamed = code_and_words(lambda r: r.inputs["z"].CopyFrom(r.inputs.pop("x")))
    assert "input tensor alias not found in signature: " in renamed
    assert "to be float" in code_and_words(lambda r: r.inputs["x"].CopyFrom(tf.make_tensor_proto([["a", "b"]])))
    code_and_words(lambda r: r.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0])))  # a vector: [-1, 2] is asked for
    assert "tensor parsing error: x" in code_and_words(lambda r: setattr(r.inputs["x"], "tensor_content", b"123"))
    assert "output tensor alias not found in signature: w" in code_and_words(lambda r: r.output_filter.append("w"))
    assert "duplicate output tensor alias: y" in code_and_words(lambda r: r.output_filter.extend(["y", "y"]))


def test_a_request_without_a_model_spec_is_refused(stub):
    assert refusal(stub, predict_pb2.PredictRequest()) == (grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")


def test_garbage_bytes_do_not_hurt_the_server(channel, stub):
    raw = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    for garbage in (b"\xff" * 40, b"\x0a\xff", bytes(range(256))):
        with pytest.raises(grpc.RpcError):
            raw(garbage, timeout=SECONDS)
    assert stub.Predict(tiny_request(), SECONDS).model_spec.version.value == 2


def test_metadata_holds_the_signatures(stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "tiny"
    response = stub.GetModelMetadata(request, SECONDS)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    inputs = signatures.signature_def["serving_default"].inputs
    assert {name: (info.dtype, [dim.size for dim in info.tensor_shape.dim]) for name, info in inputs.items()} == {
        "x": (tf.float32.as_datatype_enum, [-1, 2]),
        "name": (tf.string.as_datatype_enum, [-1]),
    }
    assert (response.model_spec.name, response.model_spec.version.value) == ("tiny", 2)
    with pytest.raises(grpc.RpcError, match="must specify at least one metadata_field"):
        stub.GetModelMetadata(get_model_metadata_pb2.GetModelMetadataRequest(model_spec=request.model_spec), SECONDS)


def test_status_lists_versions_newest_first(channel):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "tiny"
    found = ModelServiceStub(channel).GetModelStatus(request, SECONDS).model_version_status
    assert [(v.version, v.state, v.status.error_code) for v in found] == [(2, 30, 0), (1, 30, 0)]
    request.model_spec.version.value = 9
    with pytest.raises(grpc.RpcError, match="Could not find version 9 of model tiny") as raised:
        ModelServiceStub(channel).GetModelStatus(request, SECONDS)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_what_is_not_served_says_so(stub, protocol_server):
    if not protocol_server.process:
        pytest.skip("the official server does classify")
    with pytest.raises(grpc.RpcError, match="use Predict") as raised:
        stub.Classify(classification_pb2.ClassificationRequest(), SECONDS)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def rest(protocol_server, path, body=None):
    if not protocol_server.rest:
        pytest.skip("TF_SERVING_TARGET is set, and TF_SERVING_REST_TARGET is not")
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f"http://{protocol_server.rest}{path}", data, timeout=SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


ROWS = {"instances": [{"x": [1.0, 2.0], "name": "ann"}, {"x": [0.1, 0.1], "name": {"b64": "Ym8="}}]}


def test_rest_answers_rows_and_columns(protocol_server):
    expected = [{"y": 6.0, "greeting": "hello ann"}, {"y": 0.4, "greeting": "hello bo"}]
    assert rest(protocol_server, "/v1/models/tiny:predict", ROWS) == (200, {"predictions": expected})
    columns = {"inputs": {"x": [[1, 2], [3, 4]], "name": ["ann", "bo"]}}
    status, answer = rest(protocol_server, "/v1/models/tiny/versions/1:predict", columns)
    assert (status, answer) == (200, {"outputs": {"y": [3.0, 7.0], "greeting": ["hello ann", "hello bo"]}})
    assert rest(protocol_server, "/v1/models/tiny/labels/stable:predict", columns)[1] == answer


def test_rest_status_and_metadata(protocol_server):
    status, answer = rest(protocol_server, "/v1/models/tiny/versions/1")
    assert status == 200
    assert answer["model_version_status"] == [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]
    status, answer = rest(protocol_server, "/v1/models/tiny/metadata")
    assert answer["model_spec"]["name"] == "tiny"
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["x"]["tensor_shape"]["dim"][1]["size"] == "2"


@pytest.mark.parametrize(
    ("path", "body", "code", "words"),
    [
        ("/v1/models/nobody:predict", ROWS, 404, "Servable not found for request: Latest(nobody)"),
        ("/v1/models/tiny/versions/9:predict", ROWS, 404, "Specific(tiny, 9)"),
        ("/v1/models/tiny/labels/beta:predict", ROWS, 400, "Unrecognized servable version label: beta"),
        ("/v1/models/tiny:explain", ROWS, 400, "Malformed request: POST /v1/models/tiny:explain"),
        ("/v1/models/tiny:predict", b"{", 400, "JSON Parse error"),
        ("/v1/models/tiny:predict", [1], 400, "Is not object"),
        ("/v1/models/tiny:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("/v1/models/tiny:predict", {"instances": [1]}, 400, "instances is a plain list, but expecting list of objects"),
        ("/v1/models/tiny:predict", {"instances": [{"x": [1, 2]}]}, 400, "keys must be equal to: name,x"),
        ("/v1/models/tiny:predict", {"inputs": {"x": [[1, 2]]}}, 400, "Missing named input: name in 'inputs' object."),
        ("/v1/models/tiny:predict", {"inputs": {"x": [["a", "b"]], "name": ["a"]}}, 400, "is not of expected type: float"),
        ("/v1/models/tiny:predict", {"inputs": {"x": [[1, 2], [3]], "name": ["a"]}}, 400, "list at unexpected size"),
        ("/v1/models/tiny:predict", {"signature_name": 100}, 400, "'signature_name' key must be a string value."),
    ],
)
def test_rest_refuses_with_tensorflow_servings_codes(protocol_server, path, body, code, words):
    status, answer = rest(protocol_server, path, body)
    assert status == code
    assert words in answer["error"]
