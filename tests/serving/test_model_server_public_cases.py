"""What TensorFlow Serving's public integration tests describe and the other files do not hold: a server started with few flags, over models
of one input and several signatures. `docs/serving-model-server.md` lists every case and where it is held."""

import base64
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from settings import ROOT
from tests.serving.conftest import ServerUnderTest, free_ports

pytestmark = pytest.mark.slow

tf = pytest.importorskip("tensorflow")
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub  # noqa: E402

SECONDS = 10
CONFIG = 'config {{ name: "{name}" base_path: "{folder}/{name}" model_platform: "tensorflow" {more} }}'


class Half(tf.Module):
    """`y = x / 2 + plus`; the signature `shouting` gives back bytes; `last` wants no batch."""

    def __init__(self, plus: float) -> None:
        super().__init__()
        self.plus = tf.Variable(plus)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def serve(self, x: Any) -> dict[str, Any]:
        return {"y": x / 2 + self.plus}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "raw")])
    def shouting(self, raw: Any) -> dict[str, Any]:
        return {"raw_bytes": raw, "text": tf.strings.upper(raw), "length": tf.strings.length(raw)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "x")])
    def last(self, x: Any) -> dict[str, Any]:
        return {"y": x * self.plus}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`two/00000123` and `three/4`; `cold/1`, whose warm-up request no signature takes."""
    folder = tmp_path_factory.mktemp("half")
    for place, plus in (("two/00000123", 2.0), ("three/4", 3.0), ("cold/1", 2.0)):
        model = Half(plus)
        signatures = {"serving_default": model.serve, "shouting": model.shouting, "last": model.last}
        tf.saved_model.save(model, str(folder / place), signatures=signatures)
    record = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=predict_pb2.PredictRequest()))
    extra = folder / "cold" / "1" / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        writer.write(record.SerializeToString())
    return folder


def listed(folder: Path, *names: str, more: str = "") -> str:
    return f"model_config_list {{ {' '.join(CONFIG.format(name=name, folder=folder, more=more) for name in names)} }}"


@pytest.fixture(scope="module")
def two_models(folder: Path) -> Iterator[ServerUnderTest]:
    """Two models by a config file that is read once, without batching and warm-up."""
    port, rest = free_ports(2)
    (folder / "models.config").write_text(listed(folder, "two", "three", "cold"))
    command = [sys.executable, "-m", "serving.model_server", f"--port={port}", f"--rest_api_port={rest}", "--enable_model_warmup=false"]
    command += [f"--model_config_file={folder / 'models.config'}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    server = ServerUnderTest(f"127.0.0.1:{port}", f"127.0.0.1:{rest}", folder, process)
    deadline = time.monotonic() + 180
    while "serving gRPC" not in server.log():
        assert process.poll() is None and time.monotonic() < deadline, server.log()
        time.sleep(0.2)
    yield server
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@pytest.fixture(scope="module")
def channel(two_models: ServerUnderTest) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(two_models.target) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def asked(model: str, signature: str = "", outputs: tuple[str, ...] = ()) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name, request.model_spec.signature_name = model, signature
    request.inputs["x"].dtype = 1
    if signature != "last":
        request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(2.0)
    return request


def rest(server: ServerUnderTest, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f"http://{server.rest}/v1/models/{path}", data, timeout=SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.parametrize("outputs", [(), ("y",)])
def test_two_models_of_one_config_answer_each_with_its_spec(stub: Any, outputs: tuple[str, ...]) -> None:
    for model, version, expected in (("two", 123, 3.0), ("three", 4, 4.0)):
        answer = stub.Predict(asked(model, outputs=outputs), SECONDS)
        assert (list(answer.outputs["y"].float_val), answer.outputs["y"].dtype) == ([expected], 1)
        assert (answer.model_spec.name, answer.model_spec.version.value, answer.model_spec.signature_name) == (
            model,
            version,
            "serving_default",
        )


def test_a_signature_is_chosen_by_its_name(stub: Any) -> None:
    answer = stub.Predict(asked("three", "last"), SECONDS)
    assert (list(answer.outputs["y"].float_val), answer.model_spec.signature_name) == ([6.0], "last")
    assert not answer.outputs["y"].tensor_shape.dim
    with pytest.raises(grpc.RpcError, match=r"input size does not match signature|not found in signature") as refused:
        stub.Predict(asked("three", "shouting"), SECONDS)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_one_input_is_given_by_row_and_column_without_its_name(two_models: ServerUnderTest) -> None:
    assert rest(two_models, "two:predict", {"instances": [2.0, 3.0, 4.0]}) == (200, {"predictions": [3.0, 3.5, 4.0]})
    assert rest(two_models, "two:predict", {"inputs": [2.0, 3.0, 4.0]}) == (200, {"outputs": [3.0, 3.5, 4.0]})
    assert rest(two_models, "two:predict", {"inputs": {"x": [2.0]}}) == (200, {"outputs": [3.0]})
    assert rest(two_models, "two/versions/123:predict", {"instances": [{"x": 2.0}]}) == (200, {"predictions": [3.0]})
    assert rest(two_models, "three:predict", {"signature_name": "last", "inputs": 2.0}) == (200, {"outputs": 6.0})


def test_bytes_are_base64_in_and_out_where_the_name_says_so(two_models: ServerUnderTest) -> None:
    raw, text = {"b64": base64.b64encode(b"\xff\x00").decode()}, "né"
    body = {"signature_name": "shouting", "instances": [raw, {"b64": base64.b64encode(text.encode()).decode()}, "plain"]}
    status, answer = rest(two_models, "two:predict", body)
    assert status == 200
    given = [base64.b64encode(value).decode() for value in (b"\xff\x00", text.encode(), b"plain")]
    assert [row["raw_bytes"]["b64"] for row in answer["predictions"]] == given
    assert [row["length"] for row in answer["predictions"]] == [2, 3, 5] and answer["predictions"][2]["text"] == "PLAIN"
    status, answer = rest(two_models, "two:predict", {"signature_name": "shouting", "instances": [{"b64": "***"}]})
    assert (status, answer["error"]) == (400, "Unable to base64 decode")


@pytest.mark.parametrize(
    ("path", "body", "code", "words"),
    [
        ("two:predict", {"signature_name": "other", "instances": [1]}, 400, 'Serving signature name: "other" not found in signature def'),
        ("two:predict", {"instances": [1], "inputs": [1]}, 400, "expecting only one of 'inputs' or 'instances' keys to exist"),
        ("two:predict", {"instances": []}, 400, "at least one value"),
        ("two:predict", {"instances": 1}, 400, "Expecting 'instances' to be a list/array"),
        ("two:predict", {"instances": [1, {"x": 1}]}, 400, "Expecting value/list but got object in 'instances' list"),
        ("two:predict", {"instances": [{"z": 1}]}, 400, "keys must be equal to: x"),
        ("two:predict", {"inputs": {"x": [1], "z": [1]}}, 400, "does not have named input: z"),
        ("two:predict", {"instances": [True]}, 400, "is not of expected type: float"),
        ("two:predict", {"signature_name": "last", "instances": [1.0, 2.0]}, 400, ""),
        ("two:classify", {"examples": [{"x": 2.0}]}, 501, "classify is not served here: use predict"),
        ("two:regress", {"examples": [{"x": 2.0}]}, 501, "regress is not served here: use predict"),
        ("nobody", None, 404, "Could not find any versions of model nobody"),
        ("two/versions/9", None, 404, "Could not find version 9 of model two"),
        ("two/labels/stable", None, 400, "Unrecognized servable version label: stable"),
        ("nobody/metadata", None, 404, "Servable not found for request: Latest(nobody)"),
    ],
)
def test_what_rest_refuses_names_the_fault(two_models: ServerUnderTest, path: str, body: Any, code: int, words: str) -> None:
    status, answer = rest(two_models, path, body)
    assert (status, words in answer["error"]) == (code, True), answer


def test_status_of_the_one_version_by_both_protocols(two_models: ServerUnderTest, channel: grpc.Channel) -> None:
    expected = {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert rest(two_models, "two") == (200, {"model_version_status": [expected]})
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "two"
    [found] = ModelServiceStub(channel).GetModelStatus(request, SECONDS).model_version_status
    assert (found.version, found.state, found.status.error_code) == (123, 30, 0)


def test_metadata_lists_every_signature(two_models: ServerUnderTest) -> None:
    status, answer = rest(two_models, "two/versions/123/metadata")
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert (status, answer["model_spec"]["version"]) == (200, "123")
    assert {"serving_default", "shouting", "last"} <= set(signatures)
    assert set(signatures["shouting"]["outputs"]) == {"raw_bytes", "text", "length"}
    assert signatures["last"]["inputs"]["x"]["tensor_shape"] == {"dim": [], "unknown_rank": False}


def test_classify_regress_and_multi_inference_say_that_they_are_not_done(stub: Any) -> None:
    tasks = inference_pb2.MultiInferenceRequest()
    tasks.tasks.add().model_spec.name = "two"
    calls = ((stub.Classify, classification_pb2.ClassificationRequest()), (stub.Regress, regression_pb2.RegressionRequest()))
    for call, request in (*calls, (stub.MultiInference, tasks)):
        with pytest.raises(grpc.RpcError, match="use Predict") as refused:
            call(request, SECONDS)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_version_whose_warm_up_would_fail_is_served_where_warm_up_is_off(stub: Any) -> None:
    assert stub.Predict(asked("cold"), SECONDS).model_spec.version.value == 1


def test_without_a_poll_period_the_config_file_is_read_once_and_a_request_replaces_it(
    two_models: ServerUnderTest, stub: Any, channel: grpc.Channel
) -> None:
    from tests.serving.test_model_server_versions import reload_request

    (two_models.folder / "models.config").write_text(listed(two_models.folder, "three"))
    time.sleep(1.5)
    assert stub.Predict(asked("two"), SECONDS).model_spec.version.value == 123
    service = ModelServiceStub(channel)
    labelled = listed(two_models.folder, "two", more='version_labels { key: "beta" value: 7 }')
    with pytest.raises(grpc.RpcError, match="assign label to version 7 of model two, which is not currently available") as refused:
        service.HandleReloadConfigRequest(reload_request(labelled), timeout=30)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    both = listed(two_models.folder, "two", more='version_labels { key: "beta" value: 123 }')
    assert service.HandleReloadConfigRequest(reload_request(both), timeout=30).status.error_code == 0
    assert rest(two_models, "two/labels/beta:predict", {"instances": [2.0]}) == (200, {"predictions": [3.0]})
    with pytest.raises(grpc.RpcError, match=r"Servable not found for request: Latest\(three\)") as gone:
        stub.Predict(asked("three"), SECONDS)
    assert gone.value.code() is grpc.StatusCode.NOT_FOUND
    service.HandleReloadConfigRequest(reload_request(listed(two_models.folder, "two", "three", "cold")), timeout=30)
    assert stub.Predict(asked("three"), SECONDS).model_spec.version.value == 4


def test_a_bad_config_file_ends_the_start_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "bad.config").write_text("improperly formatted file")
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "serving.model_server", f"--port={port}", f"--model_config_file={tmp_path / 'bad.config'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and f"Failed to start server. Invalid protobuf file: '{tmp_path / 'bad.config'}'" in done.stderr
