"""Versions come and go without a failed request, and a broken one hurts nobody: against a real server."""

import shutil
import threading
import time

import grpc
import numpy as np
import pytest

from serving.model_client import InvalidRequest, ModelClient, ModelNotFound
from serving.publish import published_versions

pytestmark = pytest.mark.slow

INPUTS = {"x": np.array([[1, 2]], np.float32), "name": np.array(["ann"])}


@pytest.fixture(scope="module")
def client(server):
    with ModelClient(server.target) as client:
        yield client


def put(exported, folder, number, damage=None):
    """A whole version appears at once, as a publisher's rename makes it."""
    staged = folder / f".{number}.tmp-test"
    shutil.copytree(exported, staged)
    if damage:
        damage(staged)
    staged.rename(folder / str(number))


def wait_for(seen, seconds=30):
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def states(client, model):
    try:
        return {number: status.state for number, status in client.status(model).items()}
    except ModelNotFound:
        return {}


def truncate(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


DAMAGES = {
    "no variables": lambda folder: shutil.rmtree(folder / "variables"),
    "truncated saved_model.pb": lambda folder: truncate(folder / "saved_model.pb", 1000),
    "bit-flipped saved_model.pb": lambda folder: flip_bit(folder / "saved_model.pb"),
    "truncated variables": lambda folder: truncate(folder / "variables" / "variables.data-00000-of-00001", 2),
    "bit-flipped variables": lambda folder: flip_bit(folder / "variables" / "variables.data-00000-of-00001"),
    "empty folder": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


def test_versions_swap_under_load_without_a_failed_request(server, client, exported):
    folder = server.folder / "swap"
    put(exported[1], folder, 1)
    client.wait_available("swap", 1)
    failures, answers, stop = [], [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                answer = client.predict("swap", INPUTS, timeout_s=20)
                answers.append((answer.version, float(answer["y"][0])))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in (2, 3):
        put(exported[number], folder, number)
        client.wait_available("swap", number)
        wait_for(lambda gone=number - 1: states(client, "swap")[gone] == "END")
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(answers) == {(1, 3.0), (2, 6.0), (3, 9.0)}
    assert [version for version, _ in answers[-4:]] == [3] * 4


def test_a_broken_version_leaves_the_old_one_answering_and_shows_its_error(server, client, exported):
    folder = server.folder / "shelf"
    put(exported[1], folder, 1)
    client.wait_available("shelf", 1)
    for number, (what, damage) in enumerate(DAMAGES.items(), 2):
        put(exported[2], folder, number, damage)
        wait_for(lambda number=number: states(client, "shelf").get(number) == "END")
        assert client.status("shelf", version=number)[number].error, what
        answer = client.predict("shelf", INPUTS)
        assert (answer.version, answer["y"].tolist()) == (1, [3.0]), what
        shutil.rmtree(folder / str(number))


def test_a_failing_warmup_request_fails_the_version(server, client, exported):
    from tensorflow_serving.apis import predict_pb2

    from tests.serving.tiny_models import write_warmup

    put(exported[2], server.folder / "shelf", 20, lambda folder: write_warmup(folder, predict_pb2.PredictRequest()))
    wait_for(lambda: states(client, "shelf").get(20) == "END")
    assert "input size does not match signature" in client.status("shelf")[20].error
    shutil.rmtree(server.folder / "shelf" / "20")


def test_a_missing_folder_of_one_model_does_not_stop_the_others(server, client):
    assert "Could not find base path" in server.log()
    with pytest.raises(ModelNotFound, match="Could not find any versions of model gone"):
        client.status("gone")
    assert client.predict("tiny", INPUTS).version == 2


def test_names_that_are_no_integers_are_ignored(server, client, exported):
    before = states(client, "tiny")
    shutil.copytree(exported[3], server.folder / "tiny" / "3-backup")
    (server.folder / "tiny" / "12").write_text("a file, not a version")
    time.sleep(0.6)
    assert states(client, "tiny") == before
    assert published_versions("tiny", models_dir=server.folder) == [1, 2]


def reload_request(text):
    from google.protobuf import text_format
    from tensorflow_serving.apis import model_management_pb2

    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, request.config)
    return request


def test_labels_move_only_to_loaded_versions_and_a_reload_replaces_the_whole_list(server, client, exported):
    from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub

    original = server.config.read_text()
    with grpc.insecure_channel(server.target) as channel:
        stub = ModelServiceStub(channel)
        to_unloaded = original.replace('key: "stable" value: 1', 'key: "stable" value: 7')
        with pytest.raises(grpc.RpcError, match="Request to assign label to version 7 of model tiny") as refused:
            stub.HandleReloadConfigRequest(reload_request(to_unloaded), timeout=30)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert client.predict("tiny", INPUTS, label="stable").version == 1
        with pytest.raises(grpc.RpcError, match="to have an absolute path or URI; got base_path\\(\\)=here"):
            bad = 'model_config_list { config { name: "a" base_path: "here" model_platform: "tensorflow" } }'
            stub.HandleReloadConfigRequest(reload_request(bad), timeout=30)
        with pytest.raises(grpc.RpcError, match="Only ModelConfigList is currently supported"):
            stub.HandleReloadConfigRequest(reload_request(""), timeout=30)

    moved = original.replace('key: "stable" value: 1', 'key: "stable" value: 2')
    server.config.write_text(moved)
    wait_for(lambda: client.predict("tiny", INPUTS, label="stable").version == 2)

    server.config.write_text(
        f'model_config_list {{ config {{ name: "other" base_path: "{server.folder}/tiny" model_platform: "tensorflow" }} }}'
    )
    wait_for(lambda: states(client, "other").get(2) == "AVAILABLE")
    wait_for(lambda: set(states(client, "tiny").values()) == {"END"})
    with pytest.raises(ModelNotFound, match=r"Latest\(tiny\)"):
        client.predict("tiny", INPUTS)
    with pytest.raises(InvalidRequest, match="Unrecognized servable version label: stable"):
        client.predict("tiny", INPUTS, label="stable")

    server.config.write_text("model_config_list { nonsense")
    time.sleep(0.6)
    assert client.predict("other", INPUTS).version == 2

    server.config.write_text(original)
    wait_for(lambda: states(client, "tiny") == {1: "AVAILABLE", 2: "AVAILABLE"})
    assert client.predict("tiny", INPUTS, label="stable").version == 1


def test_health_is_serving_while_every_model_with_versions_is_available(server, exported):
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(server.target) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        assert check(health_pb2.HealthCheckRequest(), timeout=10).status == health_pb2.HealthCheckResponse.SERVING
        folder = server.folder / "gone"
        folder.mkdir()
        put(exported[1], folder, 1, lambda staged: shutil.rmtree(staged / "variables"))
        wait_for(lambda: check(health_pb2.HealthCheckRequest(), timeout=10).status == health_pb2.HealthCheckResponse.NOT_SERVING)
        shutil.rmtree(folder / "1")
        wait_for(lambda: check(health_pb2.HealthCheckRequest(), timeout=10).status == health_pb2.HealthCheckResponse.SERVING)


def test_a_request_whose_caller_has_given_up_is_not_run():
    from serving.model_server.grpc_api import _method

    class Context:
        def time_remaining(self):
            return 0.0

        def is_active(self):
            return True

        def abort(self, code, message):
            raise RuntimeError(f"{code.name}: {message}")

    ran = []
    with pytest.raises(RuntimeError, match="DEADLINE_EXCEEDED: Deadline exceeded before the request was run"):
        _method(None, lambda *_: ran.append(1))(None, Context())
    assert ran == []
