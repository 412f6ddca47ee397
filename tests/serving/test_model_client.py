"""The light client against a real server, and its messages against TensorFlow's own.

The real one is the official server where TF_SERVING_TARGET names one (see tiny_models.py).
"""

import asyncio
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import pytest

from serving.model_client import (
    AsyncModelClient,
    DeadlineExceeded,
    InvalidRequest,
    ModelClient,
    ModelError,
    ModelNotFound,
    ModelUnavailable,
    Overloaded,
    TensorSpec,
)
from serving.portrait_client import SIGNATURE, wire, wire_pb2
from settings import ROOT
from training import signatures


@pytest.fixture(scope="module")
def client(protocol_server):
    with ModelClient(protocol_server.target) as client:
        yield client


def test_importing_the_client_imports_no_tensorflow():
    heavy = (
        "import serving.model_client, serving.publish, sys; print(sorted({'tensorflow', 'pandas', 'grpc_tools.protoc'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", heavy], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3), np.float32),
        np.array(5, np.int32),
        np.array([[1.5, -np.inf], [np.nan, 0]], np.float64),
        np.arange(6, dtype=np.int64).reshape(1, 2, 3) - (1 << 62),
        np.array([0, 255], np.uint8),
        np.array([1 << 63], np.uint64),
        np.array([True, False]),
        np.array([[b"a"], [b"\xff\x00"]], object),
    ],
)
def test_arrays_survive_the_wire(array):
    tensor = wire.TensorProto()
    wire.write_array(array, tensor)
    again = wire.read_array(wire.TensorProto.FromString(tensor.SerializeToString()))
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(again, array)


def test_missing_values_repeat_the_last_one_and_too_many_are_refused():
    tensor = wire.TensorProto(dtype=1, float_val=[1, 2])
    tensor.tensor_shape.dim.add().size = 4
    assert wire.read_array(tensor).tolist() == [1, 2, 2, 2]
    tensor.tensor_shape.dim[0].size = 1
    with pytest.raises(ValueError, match=r"float_val holds 2 values; a tensor of shape \[1\] has 1"):
        wire.read_array(tensor)
    tensor.tensor_shape.dim[0].size = 1 << 40
    with pytest.raises(ValueError, match="holds 2 values"):
        wire.read_array(tensor)
    with pytest.raises(ValueError, match=r"dtype must be one of .* Received DataType 8"):
        wire.read_array(wire.TensorProto(dtype=8))


@pytest.mark.slow
def test_every_field_has_tensorflows_number_and_type():
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2, status_pb2

    modules = (
        tensor_pb2,
        tensor_shape_pb2,
        meta_graph_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_pb2,
        predict_pb2,
        status_pb2,
    )
    for name, ours in wire_pb2.DESCRIPTOR.message_types_by_name.items():
        theirs = next(found for module in modules if (found := module.DESCRIPTOR.message_types_by_name.get(name)))
        for field in ours.fields:
            their_field = theirs.fields_by_name[field.name]
            enum_as_int = their_field.type == their_field.TYPE_ENUM and field.type == field.TYPE_INT32
            assert field.number == their_field.number, (name, field.name)
            assert field.type == their_field.type or enum_as_int, (name, field.name)
            assert field.is_repeated == their_field.is_repeated, (name, field.name)


@pytest.mark.slow
class TestAgainstAServer:
    def test_lists_take_the_signatures_dtypes_and_text_comes_back_as_text(self, client):
        answer = client.predict("tiny", {"x": [[1, 2], [3, 4]], "name": ["ann", "bé"]})
        assert (answer.version, answer["y"].tolist(), answer["y"].dtype) == (2, [6.0, 14.0], np.float32)
        assert answer["greeting"].tolist() == ["hello ann", "hello bé"]

    def test_version_label_and_outputs_are_chosen(self, client):
        inputs = {"x": np.array([[1, 2]], np.float32), "name": np.array(["a"])}
        assert client.predict("tiny", inputs, version=1).version == 1
        assert list(client.predict("tiny", inputs, label="canary", outputs=["y"])) == ["y"]

    def test_metadata_and_status(self, client):
        metadata = client.metadata("tiny")
        assert metadata.version == 2
        assert metadata.inputs == {"name": TensorSpec("string", (-1,)), "x": TensorSpec("float32", (-1, 2))}
        assert metadata.outputs == {"greeting": TensorSpec("string", (-1,)), "y": TensorSpec("float32", (-1,))}
        assert {number: status.state for number, status in client.status("tiny").items()} == {2: "AVAILABLE", 1: "AVAILABLE"}
        client.wait_available("tiny", 1)

    def test_each_failure_has_its_error(self, client):
        inputs = {"x": np.array([[1, 2]], np.float32), "name": np.array(["a"])}
        with pytest.raises(ModelNotFound, match=r"nobody must be served at .* Latest\(nobody\)\. Publish the model"):
            client.predict("nobody", inputs)
        with pytest.raises(InvalidRequest, match=r"must fit its signature\. INVALID_ARGUMENT: .*to be float"):
            client.predict("tiny", inputs | {"x": np.array([[1, 2]], np.int64)})
        with pytest.raises(InvalidRequest, match="Input `x` of tiny must be a full list of float32"):
            client.predict("tiny", {"x": [[1, 2], [3]], "name": ["a"]})
        with pytest.raises(InvalidRequest, match=r"Input `x` of tiny must be an array of numbers or of text\. .*complex128"):
            client.predict("tiny", inputs | {"x": np.array([1j])})
        with pytest.raises(
            ModelUnavailable, match=r"tiny version 9 must become AVAILABLE within 0\.2 s\. Last seen: .*Could not find version 9"
        ):
            client.wait_available("tiny", 9, timeout_s=0.2)


def test_a_server_that_is_not_there_is_unavailable():
    with ModelClient("127.0.0.1:1") as client, pytest.raises(ModelUnavailable, match=r"must answer at 127\.0\.0\.1:1\..*Start it with"):
        client.predict("tiny", {"x": np.zeros((1, 2), np.float32)})


def test_a_server_that_does_not_answer_in_time_is_a_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with ModelClient(target) as client, pytest.raises(DeadlineExceeded, match=r"tiny must answer within 0\.2 s\."):
            client.predict("tiny", {"x": np.zeros((1, 2), np.float32)}, timeout_s=0.2)


class Counting(grpc.GenericRpcHandler):
    """A model server that fails with `codes` one after the other, and then answers; `asked` counts the requests."""

    def __init__(self, *codes):
        self.codes, self.asked = list(codes), 0

    def service(self, _details):
        def answer(_request, context):
            self.asked += 1
            if self.codes:
                context.abort(self.codes.pop(0), "for now")
            return wire.PredictResponse(model_spec=wire.PredictRequest().model_spec).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def failing():
    """Starts a server that fails as told; yields (target, handler) for given codes."""
    servers = []

    def start(*codes):
        handler, server = Counting(*codes), grpc.server(ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers([handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}", handler

    yield start
    for server in servers:
        server.stop(None)


X = {"x": np.zeros((1, 2), np.float32)}


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_what_was_refused_before_it_ran_is_asked_again_within_the_deadline(failing, code):
    target, handler = failing(code, code)
    with ModelClient(target) as client:
        assert client.predict("tiny", X) == {}
    assert handler.asked == 3


@pytest.mark.slow
def test_a_server_that_was_away_for_long_is_found_again_within_two_seconds():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with ModelClient(f"127.0.0.1:{port}") as client:
        until = time.monotonic() + 11  # gRPC would by default wait some six seconds for its next attempt then
        while time.monotonic() < until:
            with pytest.raises(ModelUnavailable):
                client.predict("tiny", X, timeout_s=1)
            time.sleep(0.2)
        server = grpc.server(ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers([Counting()])
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        until, answer = time.monotonic() + 2, None
        while answer is None and time.monotonic() < until:
            with suppress(ModelUnavailable):
                answer = client.predict("tiny", X, timeout_s=1)
        server.stop(None)
    assert answer == {}


def test_three_refusals_are_the_answer_and_nothing_else_is_asked_again(failing):
    target, handler = failing(*[grpc.StatusCode.RESOURCE_EXHAUSTED] * 9)
    with (
        ModelClient(target) as client,
        pytest.raises(Overloaded, match=r"must have room for a request to tiny\. RESOURCE_EXHAUSTED: for now"),
    ):
        client.predict("tiny", X)
    assert handler.asked == 3
    for code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED):
        target, handler = failing(code)
        with ModelClient(target) as client, pytest.raises(ModelError):
            client.predict("tiny", X)
        assert handler.asked == 1, code


def test_waiting_for_a_retry_ends_with_the_deadline(failing):
    target, handler = failing(*[grpc.StatusCode.UNAVAILABLE] * 9)
    started = time.monotonic()
    with ModelClient(target) as client, pytest.raises(ModelError):
        client.predict("tiny", X, timeout_s=0.03)
    assert time.monotonic() - started < 1
    assert handler.asked < 3


def test_the_asyncio_form_answers_and_fails_as_the_other_does(failing):
    async def ask(target):
        async with AsyncModelClient(target) as client:
            return await client.predict("tiny", X, timeout_s=2)

    target, handler = failing(grpc.StatusCode.UNAVAILABLE)
    assert asyncio.run(ask(target)) == {}
    assert handler.asked == 2
    with pytest.raises(ModelUnavailable, match="must answer at 127"):
        asyncio.run(ask("127.0.0.1:1"))


@pytest.mark.slow
def test_the_asyncio_form_asks_a_real_server(protocol_server):
    async def ask():
        async with AsyncModelClient(protocol_server.target) as client:
            one, metadata, status = await asyncio.gather(
                client.predict("tiny", {"x": [[1, 2]], "name": ["ann"]}, label="stable"), client.metadata("tiny"), client.status("tiny")
            )
            return one, metadata, status

    one, metadata, status = asyncio.run(ask())
    assert (one.version, one["y"].tolist(), one["greeting"].tolist()) == (1, [3.0], ["hello ann"])
    assert metadata.inputs["x"] == TensorSpec("float32", (-1, 2))
    assert {number: found.state for number, found in status.items()} == {1: "AVAILABLE", 2: "AVAILABLE"}


def test_the_package_says_what_the_contract_says():
    assert SIGNATURE == signatures.SIGNATURE


@pytest.mark.slow
def test_the_wheel_installs_alone_and_imports_no_tensorflow(protocol_server, tmp_path):
    """Built and installed into an empty environment, with the packages of this one for its three dependencies."""
    left_out = shutil.ignore_patterns("*_pb2.py", "__pycache__")
    source = shutil.copytree(ROOT / "serving" / "portrait_client", tmp_path / "source", ignore=left_out)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        pytest.skip("pip is not installed here: the wheel cannot be built")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("portrait_client-*.whl")
    empty = tmp_path / "empty"
    with zipfile.ZipFile(wheel) as content:
        assert {"portrait_client/wire_pb2.py", "portrait_client/py.typed"} <= set(content.namelist())
        content.extractall(empty)
    site = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs", "grpc", "google", "typing_extensions.py"):
        if (site / name).exists():
            (empty / name).symlink_to(site / name)
    code = (
        "import sys; from portrait_client import ModelClient\n"
        f"answer = ModelClient({protocol_server.target!r}).predict('tiny', {{'x': [[1, 2]], 'name': ['ann']}})\n"
        "assert answer['y'].tolist() == [6.0]\n"
        "heavy = ('tensorflow', 'tensorflow_serving', 'serving', 'training')\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in heavy))"
    )
    alone = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(empty)!r})\n{code}"]
    ran = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")
