"""SIGTERM: what runs is answered, what comes later is refused, and the server is not ready from then on."""

import threading
import time

import grpc
import pytest

pytestmark = pytest.mark.slow  # imports TensorFlow

pytest.importorskip("tensorflow")
from tensorflow_serving.apis import model_pb2, predict_pb2  # noqa: E402

from serving.model_server import grpc_api  # noqa: E402
from serving.model_server.core import Core  # noqa: E402
from serving.model_server.errors import ServingError  # noqa: E402
from serving.model_server.metrics import Metrics  # noqa: E402
from tests.serving.conftest import free_ports  # noqa: E402


class OneModel:
    """A catalogue of one servable that answers once the gate is open."""

    def __init__(self):
        self.gate, self.entered = threading.Event(), threading.Event()

    def __enter__(self):
        return 1, self

    def __exit__(self, *_):
        pass

    def borrow(self, _spec):
        return self

    def run(self, _name, _inputs, _filter):
        self.entered.set()
        self.gate.wait(10)
        return {}

    def lists(self, _name):
        return True

    def loaded(self):
        return []

    def ready(self):
        return True


def predict_of(channel):
    requests, responses = predict_pb2.PredictRequest.SerializeToString, predict_pb2.PredictResponse.FromString
    return channel.unary_unary("/tensorflow.serving.PredictionService/Predict", requests, responses)


def test_a_draining_server_waits_for_what_runs_and_refuses_what_comes():
    model = OneModel()
    core = Core(model, Metrics())
    found = []
    spec = model_pb2.ModelSpec(name="m")

    def predict():
        found.append(core.predict(spec, lambda _servable: ("s", {}), (), float("inf"), "REST"))

    running = threading.Thread(target=predict)
    running.start()
    assert model.entered.wait(10)
    assert core.ready()
    assert not core.drain(0.05)
    assert not core.ready()
    with pytest.raises(ServingError, match="The server is stopping") as refused:
        core.predict(spec, lambda _servable: ("s", {}), (), float("inf"), "REST")
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE
    model.gate.set()
    assert core.drain(10)
    running.join(10)
    assert found == [(1, {})]


def test_a_stopping_grpc_server_answers_what_runs_and_is_unavailable_to_the_rest():
    model, (port,) = OneModel(), free_ports(1)
    server, _ = grpc_api.build_server(Core(model, Metrics()), f"127.0.0.1:{port}", 4, 0)
    server.start()
    request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name="m"))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        predict = predict_of(channel)
        answer = predict.future(request, timeout=10)
        assert model.entered.wait(10)
        stopped = server.stop(10)
        time.sleep(0.1)
        with pytest.raises(grpc.RpcError) as refused:
            predict(request, timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        model.gate.set()
        assert answer.result(10).model_spec.version.value == 1
        assert stopped.wait(10)


def test_more_requests_than_may_wait_are_refused_at_once():
    model, (port,) = OneModel(), free_ports(1)
    server, _ = grpc_api.build_server(Core(model, Metrics()), f"127.0.0.1:{port}", 1, 1)
    server.start()
    request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name="m"))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        predict = predict_of(channel)
        answers = [predict.future(request, timeout=10)]
        assert model.entered.wait(10)
        answers.append(predict.future(request, timeout=10))
        time.sleep(0.1)
        with pytest.raises(grpc.RpcError) as refused:
            predict(request, timeout=5)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        model.gate.set()
        assert [answer.result(10).model_spec.version.value for answer in answers] == [1, 1]
    server.stop(None)
